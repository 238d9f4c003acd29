package faults

import (
	"context"
	"strings"
	"testing"
)

// TestFullAtStart starts the program on a full file system: mail with UIDs must be served, and
// a removal must make room.
func TestFullAtStart(t *testing.T) {
	needed(t)
	for n, name := range []string{"disk full", "inode table full"} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			m := newMaildird(t, 2)
			c, err := newCell(m, userName(n))
			if c != nil {
				defer func() {
					c.close()
					_ = c.unmount()
				}()
			}
			must(t, err)
			must(t, m.Stop(patience))
			end, err := faultNamed(name).begin(c)
			must(t, err)
			must(t, m.Start(context.Background()))
			must(t, c.connect())
			for _, command := range []string{"SELECT Known", "UID FETCH 1:* BODY.PEEK[]", "SELECT INBOX"} {
				if answer, words := c.command("%s", command); answer != "OK" {
					t.Errorf("%s: %s %s", command, answer, words)
				}
			}
			if answer, words := c.lmtp(); answer != "452 4.3.1" {
				t.Errorf("LMTP: %s %s", answer, words)
			}
			op := operationNamed("EXPUNGE")
			if answer, words := op.do(c); answer != "OK" {
				t.Errorf("EXPUNGE: %s %s", answer, words)
			}
			op.done(c.mail)
			must(t, end())
			must(t, c.everything())
			must(t, until(c.compare))
		})
	}
}

// TestReserve sends messages that would leave less free space than mail.reserve, with and
// without a declared size, and smaller ones.
func TestReserve(t *testing.T) {
	needed(t)
	m := newMaildird(t, 1, `reserve = "1B"`, `reserve = "1MiB"`)
	c, err := newCell(m, userName(0)) // with 2 MiB
	if c != nil {
		defer func() {
			c.close()
			_ = c.unmount()
		}()
	}
	must(t, err)
	for _, operation := range []string{"LMTP", "SMTP", "submission", "APPEND"} {
		op := operationNamed(operation)
		c.lines = 60_000 // 1.8 MB
		log := len(m.Log())
		if answer, words := op.do(c); answer != "452 4.3.1" && answer != "NO [OVERQUOTA]" {
			t.Errorf("%s of too much: %s %s", operation, answer, words)
		}
		c.checkLog(t, &fault{errors: full, advice: "mail.reserve"}, log)
		c.lines = 300
		if answer, words := op.do(c); answer != "250" && answer != "OK" {
			t.Errorf("%s: %s %s", operation, answer, words)
		}
		op.done(c.mail)
	}
	if answer, words := c.command("APPEND Box {1500000}"); answer != "NO [OVERQUOTA]" {
		t.Errorf("APPEND of a literal that is not sent: %s %s", answer, words)
	}
	must(t, until(c.compare))
	must(t, c.onDisk(c.mail))
}
