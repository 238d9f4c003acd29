package main

import "context"

// selectWatched is SELECT of a mailbox that another session has open, right
// after another program changed one file. The other session has had no time to
// bring it into an index that both use.
var selectWatched = &workload{
	name: "select watched",
	rows: []row{{name: "SELECT after one file changed, open in another session", unit: millis, target: 0.3}},
	run: func(_ context.Context, b *bench, s *server) ([]float64, *answer, error) {
		open, name, path, err := b.fresh(s)
		if err != nil {
			return nil, nil, err
		}
		defer open.close()
		if _, err := open.do("SELECT %s", name); err != nil {
			return nil, nil, err
		}
		if err := open.idle(); err != nil {
			return nil, nil, err
		}
		c, err := dialIMAP(s, reader)
		if err != nil {
			return nil, nil, err
		}
		defer c.close()
		var total float64
		var a *answer
		const times = 5
		for i := range times {
			if err := flip(path, i); err != nil {
				return nil, nil, err
			}
			ms, data, err := c.timed("SELECT %s", name)
			if err != nil {
				return nil, nil, err
			}
			total += ms
			a = selected(data)
			if _, err := c.do("UNSELECT"); err != nil {
				return nil, nil, err
			}
		}
		return []float64{total / times}, a, nil
	},
}
