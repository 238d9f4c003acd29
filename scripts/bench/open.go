package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

var selectNeverSeen = &workload{
	name: "select",
	rows: []row{
		{name: "SELECT, never seen", unit: millis, target: 0.5},
		{name: "SELECT, warm", unit: millis, target: 1},
	},
	run: func(_ context.Context, b *bench, s *server) ([]float64, *answer, error) {
		c, name, _, err := b.fresh(s)
		if err != nil {
			return nil, nil, err
		}
		defer c.close()
		first, data, err := c.timed("SELECT %s", name)
		if err != nil {
			return nil, nil, err
		}
		a := selected(data)
		if _, err := c.do("UNSELECT"); err != nil {
			return nil, nil, err
		}
		// In the session that saw the mailbox first, Dovecot reads the directory again at each
		// SELECT. For other sessions it is warm from their second SELECT on.
		other, err := dialIMAP(s)
		if err != nil {
			return nil, nil, err
		}
		defer other.close()
		if err := steps(other, "SELECT %s", "UNSELECT")(name); err != nil {
			return nil, nil, err
		}
		warm, data, err := other.timed("SELECT %s", name)
		if err != nil {
			return nil, nil, err
		}
		if d := a.difference(selected(data)); d != "" {
			err = fmt.Errorf("a warm SELECT says otherwise: %s", d)
		}
		return []float64{first, warm}, a, err
	},
}

var selectAfterChange = &workload{
	name: "select after change",
	rows: []row{{name: "SELECT after one file changed", unit: millis, target: 0.3}},
	run: func(_ context.Context, b *bench, s *server) ([]float64, *answer, error) {
		c, name, path, err := b.fresh(s)
		if err != nil {
			return nil, nil, err
		}
		defer c.close()
		var total float64
		var a *answer
		const times = 5
		for i := range times + 1 {
			if i > 0 { // the first one only makes the folder known
				if err := flip(path, i); err != nil {
					return nil, nil, err
				}
			}
			ms, data, err := c.timed("SELECT %s", name)
			if err != nil {
				return nil, nil, err
			}
			if i > 0 {
				total += ms
			}
			a = selected(data)
			if _, err := c.do("UNSELECT"); err != nil {
				return nil, nil, err
			}
		}
		return []float64{total / times}, a, nil
	},
}

// flip toggles the flag F of the n-th message as another mail program would.
func flip(folder string, n int) error {
	cur := filepath.Join(folder, "cur")
	names, err := os.ReadDir(cur)
	if err != nil {
		return err
	}
	old := names[n*len(names)/20].Name()
	base, flags, _ := strings.Cut(old, ":2,")
	if rest, on := strings.CutPrefix(flags, "F"); on {
		flags = rest
	} else {
		flags = "F" + flags
	}
	return os.Rename(filepath.Join(cur, old), filepath.Join(cur, base+":2,"+flags))
}

var selectAfterRestart = &workload{
	name: "select after restart",
	rows: []row{{name: "SELECT, warm, after a restart", unit: millis, target: 1}},
	run: func(ctx context.Context, b *bench, s *server) ([]float64, *answer, error) {
		c, name, _, err := b.selected(s)
		if err != nil {
			return nil, nil, err
		}
		c.close()
		if c, err = restarted(ctx, s); err != nil {
			return nil, nil, err
		}
		defer c.close()
		ms, data, err := c.timed("SELECT %s", name)
		if err != nil {
			return nil, nil, err
		}
		return []float64{ms}, selected(data), nil
	},
}

// selectMillion measures SELECT of a mailbox with more messages than a server may be designed
// for. It has few files under many names, because SELECT opens none.
var selectMillion = &workload{
	name:    "select million",
	once:    true,
	million: true,
	rows: []row{
		{name: "SELECT of 1,000,000 files, never seen", unit: millis, limit: 10_000},
		{name: "PSS of the server after that", unit: mebibytes},
	},
	run: func(_ context.Context, b *bench, s *server) ([]float64, *answer, error) {
		c, name, path, err := b.fresh(s)
		if err != nil {
			return nil, nil, err
		}
		defer c.close()
		names, err := os.ReadDir(filepath.Join(b.corpus, "cur"))
		if err != nil {
			return nil, nil, err
		}
		for i := range million - len(names) {
			from := filepath.Join(b.corpus, "cur", names[i%len(names)].Name())
			if err := os.Link(from, filepath.Join(path, "cur", fmt.Sprintf("%d.M%dP2.mailgen:2,S", settled.Unix(), i))); err != nil {
				return nil, nil, err
			}
		}
		if err := os.Chtimes(filepath.Join(path, "cur"), settled, settled); err != nil {
			return nil, nil, err
		}
		ms, data, err := c.timed("SELECT %s", name)
		if err != nil {
			return nil, nil, err
		}
		size, err := s.proportionalSize()
		return []float64{ms, float64(size) / (1 << 20)}, selected(data), err
	},
}

var counts = regexp.MustCompile(`(?m)^\* (?:[0-9]+ EXISTS|OK \[(?:UNSEEN|UIDNEXT) [0-9]+\])`)

// selected returns what two servers must agree on about a mailbox: the number of messages, the
// first unseen one, and the next UID.
func selected(data []byte) *answer {
	lines := counts.FindAllString(string(data), -1)
	a := new(answer)
	for _, kind := range []string{"EXISTS", "UNSEEN", "UIDNEXT"} {
		for _, l := range lines {
			if strings.Contains(l, kind) {
				a.lines = append(a.lines, l)
			}
		}
	}
	return a
}

// restarted restarts the server and logs in the reader.
func restarted(ctx context.Context, s *server) (*imapClient, error) {
	if err := s.restart(ctx); err != nil {
		return nil, err
	}
	return dialIMAP(s)
}
