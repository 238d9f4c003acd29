package faults

import (
	"fmt"

	"maildird/scripts/coexist"
	"maildird/scripts/rig"
)

// neighbourhood is another user, on an intact file system.
type neighbourhood struct {
	user   string
	sender *sender
	client *coexist.Client
	sent   int
}

func newNeighbour(m *rig.Maildird) (*neighbourhood, error) {
	n := &neighbourhood{user: "bob@example.org"}
	var err error
	if n.sender, err = dialSender(m, "lmtp", ""); err != nil {
		return nil, err
	}
	if n.client, err = coexist.Dial("maildird", m.Address("imap"), n.user, "secret"); err != nil {
		n.sender.Close()
		return nil, err
	}
	return n, nil
}

func (n *neighbourhood) close() {
	n.sender.Close()
	n.client.Close()
}

// served delivers a message and fetches it.
func (n *neighbourhood) served() error {
	n.sent++
	id := fmt.Sprintf("neighbour-%d", n.sent)
	if answer, words := n.sender.deliver(mailText(id, 3), n.user); answer != "250" {
		return fmt.Errorf("LMTP: %s %s", answer, words)
	}
	mail, _, _, err := fetchAll(n.client, "SELECT", "INBOX")
	if err != nil {
		return err
	}
	if _, ok := mail[id]; !ok {
		return fmt.Errorf("%s was delivered and is not shown", id)
	}
	return nil
}
