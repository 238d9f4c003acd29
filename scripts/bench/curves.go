package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"maildird/scripts/mailgen"
	"maildird/scripts/rig"
)

// sizes are the numbers of messages in a mailbox for the curves. million takes much time and
// disk space, and is optional.
var sizes = []int{1_000, 10_000, 100_000}

const million = 1_000_000

// curved are the workloads that are measured for each size.
var curved = []*workload{selectNeverSeen, selectWatched, changeMessages, deliverIntoFull}

// curvedRows are the rows of these that are drawn, in the order of the plots.
var curvedRows = []string{
	selectNeverSeen.rows[0].name,
	selectWatched.rows[0].name,
	deliverIntoFull.rows[0].name,
	changeMessages.rows[0].name,
	"COPY of 1k",
	"MOVE of 1k",
	"EXPUNGE of 1k",
}

// deliverIntoFull measures delivery into an INBOX with as many messages as the other mailboxes.
var deliverIntoFull = &workload{
	name: "delivery into a full mailbox",
	rows: []row{{name: "LMTP delivery, 1 connection", unit: millis, target: 0.5}},
	run: func(_ context.Context, b *bench, s *server) ([]float64, *answer, error) {
		inbox := s.home(receiver)
		have, err := messagesIn(inbox)
		if err != nil {
			return nil, nil, err
		}
		c, err := dialLMTP(s)
		if err != nil {
			return nil, nil, err
		}
		defer c.close()
		if have == 0 {
			// The first message creates the Maildir.
			if err := c.deliver(newLetter(mailgen.Letter(0, letterSize))); err != nil {
				return nil, nil, err
			}
			if err := fill(b.corpus, inbox); err != nil {
				return nil, nil, err
			}
		}
		const times = 100
		ms, err := timed(func() error {
			for i := range times {
				if err := c.deliver(newLetter(mailgen.Letter(i, letterSize))); err != nil {
					return err
				}
			}
			return nil
		})
		return []float64{ms / times}, nil, err
	},
}

// fill adds the messages of corpus to an existing mailbox.
func fill(corpus, mailbox string) error {
	entries, err := os.ReadDir(filepath.Join(corpus, "cur"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.Link(filepath.Join(corpus, "cur", e.Name()), filepath.Join(mailbox, "cur", e.Name())); err != nil {
			return err
		}
	}
	return rig.OwnDirs(mailbox)
}

// curve is a row for all sizes: medians in ms by server.
type curve struct {
	row    string
	sizes  map[string][]int
	values map[string][]float64
	late   map[string]int // the size for which a rival did not answer
}

// runCurves measures some workloads for several mailbox sizes, prints the
// medians and draws them.
func runCurves(ctx context.Context, opt options) error {
	start := time.Now()
	all := sizes
	if opt.million {
		all = append(all[:len(all):len(all)], million)
	}
	curves := make([]*curve, len(curvedRows))
	for i, name := range curvedRows {
		curves[i] = &curve{row: name, sizes: map[string][]int{}, values: map[string][]float64{}, late: map[string]int{}}
	}
	var wrong []error
	for _, n := range all {
		at := opt
		at.n = n
		if n == million {
			at.rounds = 1 // three take half an hour
		}
		err := withBench(ctx, at, func(b *bench) error {
			for _, w := range curved {
				if err := b.measure(ctx, w); err != nil {
					return err
				}
			}
			for _, c := range curves {
				c.take(n, b.results)
			}
			b.print(os.Stdout)
			fmt.Printf("\n%s\n\n", b.size())
			wrong = append(wrong, b.wrong...)
			return nil
		})
		if err != nil {
			return fmt.Errorf("mailboxes of %d messages: %w", n, err)
		}
	}
	if err := drawCurves(curves, opt.curves); err != nil {
		return fmt.Errorf("draw %s: %w", opt.curves, err)
	}
	fmt.Printf("%s\n\nDrawn into %s. Repeat it: %s (%s)\n", surroundings(os.TempDir()), opt.curves, invocation(),
		time.Since(start).Round(time.Second))
	return errors.Join(wrong...)
}

// take adds the measurements for size n.
func (c *curve) take(n int, results []*result) {
	for _, r := range results {
		if r.row.name != c.row {
			continue
		}
		for _, name := range []string{oursName, dovecotName} {
			if values := r.values[name]; len(values) > 0 {
				c.sizes[name] = append(c.sizes[name], n)
				c.values[name] = append(c.values[name], median(values))
			}
		}
		if r.late && c.late[dovecotName] == 0 {
			c.late[dovecotName] = n
		}
	}
}
