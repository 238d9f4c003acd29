package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"maildird/scripts/mailgen"
	"maildird/scripts/rig"
)

// drops is the number of files in a measurement of push.
const drops = 20

var push = &workload{
	name: "push",
	rows: []row{
		{name: "file in new/ to EXISTS in IDLE, p50", unit: millis, limit: 10},
		{name: "file in new/ to EXISTS in IDLE, p99", unit: millis, limit: 50},
	},
	run: func(_ context.Context, b *bench, s *server) ([]float64, *answer, error) {
		c, _, path, err := b.selected(s)
		if err != nil {
			return nil, nil, err
		}
		defer c.close()
		if err := c.idle(); err != nil {
			return nil, nil, err
		}
		var waits []float64
		for i := range drops {
			// Let the effects of the last change settle, as in real use.
			time.Sleep(100 * time.Millisecond)
			wait, err := timed(func() error {
				if err := drop(path, fmt.Sprintf("%d.M%dP1.drop", time.Now().Unix(), i), mailgen.Letter(i, letterSize)); err != nil {
					return err
				}
				return c.awaitExists(b.opt.n + i + 1)
			})
			if err != nil {
				return nil, nil, err
			}
			waits = append(waits, wait)
		}
		return []float64{percentile(waits, 50), percentile(waits, 99)}, nil, nil
	},
}

// drop puts a file into new/ as a delivery program does, but not durably.
func drop(folder, name string, data []byte) error {
	tmp := filepath.Join(folder, "tmp", name)
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return err
	}
	if err := rig.Own(tmp); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(folder, "new", name))
}

// idle enters IDLE and waits for the continuation request.
func (c *imapClient) idle() error {
	c.tag++
	if err := c.conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(c.conn, "t%d IDLE\r\n", c.tag); err != nil {
		return err
	}
	for {
		c.forget()
		line, err := c.line()
		if err != nil {
			return err
		}
		if line[0] == '+' {
			return nil
		}
	}
}

// awaitExists reads until the server reports n messages.
func (c *imapClient) awaitExists(n int) error {
	if err := c.conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	want := fmt.Appendf(nil, "* %d EXISTS\r\n", n)
	for {
		c.forget()
		line, err := c.line()
		if err != nil {
			return err
		}
		if bytes.Equal(line, want) {
			return nil
		}
	}
}
