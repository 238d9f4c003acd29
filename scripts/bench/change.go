package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"maildird/scripts/rig"
)

// some is the number of messages that a bulk command affects, or all if there are fewer.
const some = 1000

var changeMessages = &workload{
	name: "change",
	rows: []row{
		{name: "STORE +FLAGS on 1", unit: millis, target: 0.7, operation: storing},
		{name: "STORE +FLAGS on all", unit: millis, target: 0.5},
		{name: "COPY of 1k", unit: millis, target: 0.5, operation: copying},
		{name: "MOVE of 1k", unit: millis, target: 0.5, operation: moving},
		{name: "EXPUNGE of 1k", unit: millis, target: 0.5, operation: expunging},
	},
	run: func(_ context.Context, b *bench, s *server) ([]float64, *answer, error) {
		c, name, _, err := b.fresh(s)
		if err != nil {
			return nil, nil, err
		}
		defer c.close()
		if _, err := c.do("CREATE %s-to", name); err != nil {
			return nil, nil, err
		}
		if _, err := c.do("SELECT %s", name); err != nil {
			return nil, nil, err
		}
		n := min(some, b.opt.n)
		const times = 20
		one := 0.0
		for i := range times {
			ms, _, err := c.timed(`UID STORE %d +FLAGS.SILENT (\Flagged)`, 1+i*b.opt.n/times)
			if err != nil {
				return nil, nil, err
			}
			one += ms / times
		}
		values := []float64{one}
		for _, command := range []string{
			`UID STORE 1:* +FLAGS.SILENT (\Draft)`,
			fmt.Sprintf("UID COPY 1:%d %s-to", n, name),
			fmt.Sprintf("UID MOVE 1:%d %s-to", n, name),
		} {
			ms, _, err := c.timed("%s", command)
			if err != nil {
				return nil, nil, err
			}
			values = append(values, ms)
		}
		last, err := b.doomed(s, c, n)
		if err != nil {
			return nil, nil, err
		}
		defer last.close()
		ms, _, err := last.timed("EXPUNGE")
		if err != nil {
			return nil, nil, err
		}
		data, err := c.do("STATUS %s-to (MESSAGES UIDNEXT UNSEEN)", name)
		if err != nil {
			return nil, nil, err
		}
		a, err := counted(data, name)
		return append(values, ms), a, err
	},
}

// doomed marks n messages as deleted for an EXPUNGE, after the first n of the mailbox that c
// has selected were moved: the next ones, or those of a new mailbox if too few are left.
func (b *bench) doomed(s *server, c *imapClient, n int) (*imapClient, error) {
	first := n + 1
	if 2*n > b.opt.n {
		fresh, _, _, err := b.selected(s)
		if err != nil {
			return nil, err
		}
		c, first = fresh, 1
	}
	_, err := c.do(`UID STORE %d:%d +FLAGS.SILENT (\Deleted)`, first, first+n-1)
	return c, err
}

var statusNumbers = regexp.MustCompile(`(?:MESSAGES|UNSEEN|UIDNEXT) [0-9]+`)

// counted keeps what must be equal of STATUS responses.
func counted(data []byte, name string) (*answer, error) {
	if len(data) == 0 {
		return nil, fmt.Errorf("no STATUS of %s", name)
	}
	return &answer{lines: statusNumbers.FindAllString(string(data), -1)}, nil
}

const (
	manyMailboxes = 200
	fewMessages   = 20
)

var statusOfMany = &workload{
	name: "status",
	rows: []row{
		{name: "STATUS of 200 mailboxes, second", unit: millis, target: 0.5},
		{name: "LIST-STATUS of 200 mailboxes", unit: millis, target: 0.5},
	},
	run: func(_ context.Context, b *bench, s *server) ([]float64, *answer, error) {
		c, name, path, err := b.fresh(s)
		if err != nil {
			return nil, nil, err
		}
		defer c.close()
		if err := manyFolders(path, manyMailboxes, fewMessages); err != nil {
			return nil, nil, err
		}
		all := func() error {
			for i := range manyMailboxes {
				if _, err := c.do("STATUS %s/M%d (MESSAGES UNSEEN UIDNEXT)", name, i); err != nil {
					return err
				}
			}
			return nil
		}
		if err := all(); err != nil {
			return nil, nil, err
		}
		second, err := timed(all)
		if err != nil {
			return nil, nil, err
		}
		listed, data, err := c.timed(`LIST "" "%s/*" RETURN (STATUS (MESSAGES UNSEEN UIDNEXT))`, name)
		if err != nil {
			return nil, nil, err
		}
		a, err := counted(data, name)
		return []float64{second, listed}, a, err
	},
}

// manyFolders creates mailboxes M0, M1, ... below the one at path, with its first
// few messages in each.
func manyFolders(path string, mailboxes, messages int) error {
	entries, err := os.ReadDir(filepath.Join(path, "cur"))
	if err != nil {
		return err
	}
	entries = entries[:min(len(entries), messages)]
	for i := range mailboxes {
		to := fmt.Sprintf("%s.M%d", path, i)
		for _, sub := range []string{"cur", "new", "tmp"} {
			if err := os.MkdirAll(filepath.Join(to, sub), 0o700); err != nil {
				return err
			}
		}
		for _, e := range entries {
			if err := os.Link(filepath.Join(path, "cur", e.Name()), filepath.Join(to, "cur", e.Name())); err != nil {
				return err
			}
		}
		if err := rig.OwnDirs(to); err != nil {
			return err
		}
	}
	return nil
}
