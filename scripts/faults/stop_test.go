package faults

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"maildird/scripts/coexist"
)

// stopDuring sends SIGTERM during the fault while clients work, and restarts the program.
// Everything that was acknowledged must exist, also in all earlier cells.
func stopDuring(t *testing.T, f *fault, c *cell, all []*cell) {
	end, err := f.begin(c)
	if end != nil {
		defer func() { _ = end() }()
	}
	must(t, err)
	var clients sync.WaitGroup
	for _, service := range []string{"lmtp", "smtp", "submission"} {
		clients.Go(func() { c.sendOn(service) })
	}
	clients.Go(c.appendOn)
	clients.Go(c.storeOn)
	time.Sleep(100 * time.Millisecond) // any moment will do
	if err := c.m.Stop(patience); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	clients.Wait()
	must(t, end())
	must(t, c.m.Start(context.Background()))
	for _, c := range append(all, c) {
		if err := until(c.compare); err != nil {
			t.Errorf("%s, after a stop and a start: %v", c.user, err)
		}
	}
}

// acknowledged records an answer: a message that was refused or not answered may exist all the
// same if the connection broke.
func (c *cell) acknowledged(folder, id string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ok {
		c.mail[folder][id] = ""
	} else {
		c.unsure[folder+" "+id] = true
	}
}

// With a pause after each message, clients work until the program stops, but do not fill the
// file system of the cell, which has 400 inodes: that would be another fault.
const (
	mostSent = 60 // by each of the four
	pause    = 3 * time.Millisecond
)

// sendOn sends messages until an answer is missing.
func (c *cell) sendOn(service string) {
	for n := range mostSent {
		id := fmt.Sprintf("stop-%s-%d", service, n)
		answer, _ := c.senders[service].deliver(mailText(id, 3), c.user)
		c.acknowledged("INBOX", id, answer == "250")
		if answer == "no answer" || strings.HasPrefix(answer, "421") {
			return
		}
		time.Sleep(pause)
	}
}

func (c *cell) appendOn() {
	for n := range mostSent {
		id := fmt.Sprintf("stop-append-%d", n)
		text := strings.ReplaceAll(mailText(id, 3), "\n", "\r\n")
		answer, _ := c.command("APPEND Box {%d+}\r\n%s", len(text), text)
		c.acknowledged("Box", id, strings.HasPrefix(answer, "OK"))
		if answer == "no answer" {
			return
		}
		time.Sleep(pause)
	}
}

// storeOn sets and clears a flag in a separate session.
func (c *cell) storeOn() {
	client, err := coexist.Dial("maildird", c.m.Address("imap"), c.user, "secret")
	if err != nil {
		return // no descriptors are left, or the program is stopping already
	}
	defer client.Close()
	other := &cell{m: c.m, client: client}
	if answer, _ := other.command("SELECT INBOX"); !strings.HasPrefix(answer, "OK") {
		return
	}
	for {
		for _, how := range []string{"+", "-"} {
			// Also if the answer to the first one is lost.
			c.mu.Lock()
			c.unsureFlags = "flagged"
			c.mu.Unlock()
			if answer, _ := other.command(`UID STORE %d %sFLAGS (\Answered)`, c.uids["INBOX"]["flagged"], how); answer == "no answer" {
				return
			}
		}
	}
}
