package torture

import (
	"fmt"
	"strings"
	"time"

	"maildird/scripts/rig"
)

// patience is the maximum time that the program may take for an answer.
const patience = 60 * time.Second

// from is the sender of all mail.
const from = "sender@example.net"

// dialSender connects to the program's smtp or lmtp service.
func dialSender(m *rig.Maildird, service string) (*rig.Sender, error) {
	return rig.DialSender(m.Address(service), service == "lmtp", patience)
}

// mailText returns a message with an identity, with LF line endings.
func mailText(id string, size int) string {
	text := fmt.Sprintf("Message-ID: <%s>\nFrom: sender@example.net\nSubject: mail %s\n\nThis is %s.\n", id, id, id)
	line := strings.Repeat("0123456789abcdef ", 4) + "\n"
	for n := 0; len(text) < size; n++ {
		text += fmt.Sprintf("%06d %s", n, line)
	}
	return text + "The end of " + id + ".\n"
}
