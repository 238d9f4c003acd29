package main

import (
	"context"
	"time"
)

// selectWatched measures SELECT of a mailbox that another session has open, right after another
// program has changed a file. The other session had no time to update an index that both use.
var selectWatched = &workload{
	name: "select watched",
	rows: []row{{name: "SELECT after one file changed, open in another session", unit: millis, target: 0.3}},
	run: func(_ context.Context, b *bench, s *server) ([]float64, *answer, error) {
		open, name, path, err := b.selected(s)
		if err != nil {
			return nil, nil, err
		}
		defer open.close()
		if err := open.idle(); err != nil {
			return nil, nil, err
		}
		c, err := dialIMAP(s)
		if err != nil {
			return nil, nil, err
		}
		defer c.close()
		var total float64
		const times = 5
		for i := range times {
			if err := flip(path, i); err != nil {
				return nil, nil, err
			}
			ms, _, err := c.timed("SELECT %s", name)
			if err != nil {
				return nil, nil, err
			}
			total += ms
			if _, err := c.do("UNSELECT"); err != nil {
				return nil, nil, err
			}
		}
		// Dovecot may miss a file that is renamed while it reads the directory, and give it a
		// new UID when it sees it again. Only the final state is therefore compared.
		time.Sleep(quiet)
		data, err := c.do("STATUS %s (MESSAGES)", name)
		if err != nil {
			return nil, nil, err
		}
		a, err := counted(data, name)
		return []float64{total / times}, a, err
	},
}

// quiet is longer than either server waits before it looks at a change.
const quiet = 2 * time.Second
