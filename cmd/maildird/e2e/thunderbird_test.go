package e2e

import (
	"context"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"maildird/scripts/rig"
)

// TestThunderbird does what a person does with two accounts in Thunderbird, with STARTTLS and
// the self-signed certificate, and checks the files.
func TestThunderbird(t *testing.T) {
	tool(t, "thunderbird")
	tool(t, "Xvfb")
	m := start(t)
	deliver(t, m, alice, "Welcome", "The first message.\r\n")
	deliver(t, m, bob, "Hello Bob", "Another one.\r\n")

	ctx, cancel := context.WithTimeout(context.Background(), 12*time.Minute)
	defer cancel()
	box := func(address, name string) rig.Mailbox {
		return rig.Mailbox{
			Account: rig.Account{Address: address, Password: password}, Name: name,
			IMAP: m.Address("imap"), Security: rig.StartTLS,
			SMTP: m.Address("submission"), SMTPSecure: rig.StartTLS,
		}
	}
	tb, err := rig.StartThunderbird(ctx, []rig.Mailbox{box(alice, "Alice"), box(bob, "Bob")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tb.Close()
	do := func(step string, result any, args ...any) {
		t.Helper()
		const limit = 2 * time.Minute
		switch step {
		case "trust", "folders", "star", "tag":
		default:
			args = append(args, limit.Milliseconds())
		}
		if err := tb.Do(step, result, limit+10*time.Second, args...); err != nil {
			t.Fatalf("%v\n%s\n%s", err, picture(tb), m.Log())
		}
	}
	for _, service := range []string{"imap", "submission"} {
		host, port, err := net.SplitHostPort(m.Address(service))
		if err != nil {
			t.Fatal(err)
		}
		n, _ := strconv.Atoi(port)
		do("trust", nil, host, n, certificate(t, m))
	}

	do("connect", nil, alice)
	do("connect", nil, bob)
	var folders map[string][]string
	do("folders", &folders, alice)
	for name, use := range map[string]string{"Inbox": "Inbox", "Drafts": "Drafts", "Sent": "Sent", "Junk": "Junk", "Trash": "Trash", "Archive": "Archive"} {
		found := false
		for path, uses := range folders {
			found = found || strings.EqualFold(path, name) && len(uses) == 1 && uses[0] == use
		}
		if !found {
			t.Errorf("Thunderbird shows the folders %v, want %s as %s", folders, name, use)
		}
	}
	var text string
	do("read", &text, alice, "INBOX", "Welcome")
	if !strings.Contains(text, "The first message.") {
		t.Errorf("Thunderbird shows %q", text)
	}
	flagged(t, m, alice, "Welcome", "S")

	// Thunderbird watches Bob's inbox with IDLE, without polling.
	do("open", nil, bob, "INBOX")
	do("send", nil, alice, bob, "From Alice", "Written in Thunderbird.\nSecond line, with ümläuts.")
	do("arrives", nil, bob, "INBOX", "From Alice")
	do("read", &text, bob, "INBOX", "From Alice")
	if !strings.Contains(text, "Written in Thunderbird.") || !strings.Contains(text, "ümläuts") {
		t.Errorf("Thunderbird shows %q", text)
	}
	eventually(t, func() error {
		for _, sent := range mailIn(t, m, alice, ".Sent") {
			if strings.Contains(string(sent), "Subject: From Alice\n") {
				return nil
			}
		}
		return errors.New("alice's Sent has no copy")
	})
	dropFile(t, m, bob, "Dropped by hand")
	do("arrives", nil, bob, "INBOX", "Dropped by hand")

	do("star", nil, bob, "INBOX", "Hello Bob", true)
	do("tag", nil, bob, "INBOX", "Hello Bob", "$label1")
	flagged(t, m, bob, "Hello Bob", "F")
	eventually(t, func() error {
		words, err := os.ReadFile(filepath.Join(m.Home(bob), "dovecot-keywords"))
		if err == nil && !strings.Contains(string(words), "$label1") {
			err = fmt.Errorf("dovecot-keywords holds %q", words)
		}
		return err
	})
	do("createFolder", nil, bob, "Büro & Co")
	do("move", nil, bob, "INBOX", "Büro & Co", "Hello Bob")
	eventually(t, func() error { // a listing may miss a name while the directory changes
		if got := mailIn(t, m, bob, ".B&APw-ro &- Co"); len(got) != 1 {
			return fmt.Errorf("the new folder holds %d files", len(got))
		}
		return nil
	})
}

// certificate returns the server's certificate in base64, as Thunderbird stores it.
func certificate(t testing.TB, m *rig.Maildird) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(m.Dir, "cert.pem"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	return base64.StdEncoding.EncodeToString(block.Bytes)
}

// picture saves a screenshot of Thunderbird, to help find the cause of a failure.
func picture(tb *rig.Thunderbird) string {
	png, err := tb.Screenshot()
	if err != nil {
		return err.Error()
	}
	f, err := os.CreateTemp("", "thunderbird-*.png")
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if _, err := f.Write(png); err != nil {
		return err.Error()
	}
	return "a screenshot is in " + f.Name()
}

// flagged waits until the file name of a message has a flag.
func flagged(t testing.TB, m *rig.Maildird, user, subject, flag string) {
	t.Helper()
	eventually(t, func() error {
		name, _ := find(t, m, user, subject)
		if _, flags, _ := strings.Cut(name, ":2,"); !strings.Contains(flags, flag) {
			return fmt.Errorf("%s has no flag %s", name, flag)
		}
		return nil
	})
}

// dropFile writes a message to new/ as cp does, without a server.
func dropFile(t testing.TB, m *rig.Maildird, user, subject string) {
	t.Helper()
	tmp := filepath.Join(m.Home(user), "tmp", "dropped")
	text := "From: Carol <carol@example.net>\nTo: " + user + "\nSubject: " + subject + "\n\ntext\n"
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := rig.Own(tmp); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tmp, filepath.Join(m.Home(user), "new", strconv.FormatInt(time.Now().Unix(), 10)+".dropped.host")); err != nil {
		t.Fatal(err)
	}
}
