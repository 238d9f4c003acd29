package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"maildird/scripts/coexist"
	"maildird/scripts/rig"
)

// TestCallsOfCache has each system call on a file of cache_dir fail once while mail is read
// for the first time and again. Nothing depends on the cache: all is answered, and is true,
// also for who reads later, and after a restart.
func TestCallsOfCache(t *testing.T) {
	needed(t)
	trap, m := newTrapped(t, 300)
	cache := filepath.Join(m.Dir, "cache")
	must(t, unix.Mount("", cache, "", unix.MS_REMOUNT, "size=64m,mode=0700"))
	n := 0
	var cells []*cell
	t.Cleanup(func() {
		for _, c := range cells {
			_ = c.unmount()
		}
	})
	try := func(f *failing) {
		t.Helper()
		trap.Below(cache, f.decide)
		c, err := newCell(m, userName(n)) // reads all for the first time
		n++
		if c != nil {
			cells = append(cells, c)
			defer c.close()
		}
		must(t, err)
		for again := range 2 {
			if err := c.readAll(c.client); err != nil {
				t.Errorf("%s fails, %v, half %v: reading %d: %v", f.failed, f.errno, f.half, again, err)
			}
			if _, err := c.client.Do("UNSELECT"); err != nil {
				t.Error(err)
			}
		}
		trap.Below(cache, nil)
		c.readAnew(t, f)
	}
	probe := &failing{at: -1}
	try(probe)
	for at, line := range probe.log {
		name := strings.Fields(line)[1]
		for k, f := range waysToFail(at, name) {
			if !*flagCalls && (at%12 != 0 || k != (at/12)%3) {
				continue
			}
			try(f)
		}
	}
	must(t, m.Stop(patience))
	must(t, m.Start(context.Background()))
	// Now what was kept is read, of as many mailboxes as there are.
	for at, c := range cells {
		f := &failing{at: at, errno: []unix.Errno{unix.EIO, unix.ESTALE}[at%2]}
		trap.Below(cache, f.decide)
		err := c.readIn(c.m)
		trap.Below(cache, nil)
		// A session may end when the table of its mailbox cannot be read to its end.
		if err != nil && !(errors.Is(err, io.EOF) && strings.HasSuffix(f.failed.Path, ".whole")) {
			t.Errorf("%s fails, %v: %v", f.failed, f.errno, err)
		}
		c.readAnew(t, f)
	}
}

// readAnew reads in a new session.
func (c *cell) readAnew(t *testing.T, f *failing) {
	t.Helper()
	if err := c.readIn(c.m); err != nil {
		t.Errorf("%s failed, %v, half %v: reading later: %v", f.failed, f.errno, f.half, err)
	}
}

func (c *cell) readIn(m *rig.Maildird) error {
	client, err := coexist.Dial("maildird", m.Address("imap"), c.user, "secret")
	if err != nil {
		return err
	}
	defer client.Close()
	return c.readAll(client)
}

// readAll has the server tell what it remembers of all messages of INBOX, and compares
// that with their text.
func (c *cell) readAll(client *coexist.Client) error {
	if _, err := client.Do("SELECT INBOX"); err != nil {
		return err
	}
	known, err := client.Do("UID FETCH 1:* (UID RFC822.SIZE ENVELOPE BODYSTRUCTURE PREVIEW BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")
	if err != nil {
		return err
	}
	if len(known) != len(c.mail["INBOX"]) {
		return fmt.Errorf("%d messages are told of, there are %d", len(known), len(c.mail["INBOX"]))
	}
	texts, err := client.Do("UID FETCH 1:* (UID BODY.PEEK[])")
	if err != nil {
		return err
	}
	if len(known) != len(texts) || len(texts) != len(c.mail["INBOX"]) {
		return fmt.Errorf("%d responses, %d texts", len(known), len(texts))
	}
	for i, r := range texts {
		text := r.Args[0].List[3].Text
		id := idOf(text)
		size, lines := len(text), strings.Count(text, "\n")-3
		for _, want := range []string{
			fmt.Sprintf("RFC822.SIZE %d ", size), fmt.Sprintf("ENVELOPE (NIL %q", "mail "+id), fmt.Sprintf("\"7bit\" %d %d", size-strings.Index(text, "\r\n\r\n")-4, lines),
			fmt.Sprintf("This is %s.", id), fmt.Sprintf("Message-ID: <%s>\r\n", id),
		} {
			if id == "" || !strings.Contains(known[i].Text, want) {
				return fmt.Errorf("%q has no %q; the message is %q", known[i].Text, want, text)
			}
		}
		found, err := client.Do("UID SEARCH SUBJECT %q", "mail "+id)
		if err != nil || len(found) == 0 || !slices.Contains(strings.Fields(found[0].Text), r.Args[0].List[1].Text) {
			return fmt.Errorf("SEARCH finds %v instead of %s, %w", found, r.Args[0].List[1].Text, err)
		}
	}
	return nil
}
