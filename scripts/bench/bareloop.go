package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"maildird/scripts/mailgen"
)

// bareLoop is the bound that the machine sets for durable delivery: write a
// file in tmp/, fsync, rename, fsync of the directory, and nothing else.
var bareLoop = &workload{
	name: "bare delivery loop",
	bare: true,
	rows: []row{
		{name: "bare loop, 4 KiB, 1 thread", unit: perSecond},
		{name: "bare loop, 4 KiB, 8 threads", unit: perSecond},
		{name: "bare loop, 4 KiB, 32 threads", unit: perSecond},
	},
	run: func(_ context.Context, b *bench, _ *server) ([]float64, *answer, error) {
		var rates []float64
		for _, threads := range deliveries {
			rate, err := b.bareRate(threads)
			if err != nil {
				return nil, nil, err
			}
			rates = append(rates, rate)
		}
		return rates, nil, nil
	},
}

// bareRate runs the bare loop on some threads in a directory that is new, and
// returns messages a second.
func (b *bench) bareRate(threads int) (rate float64, err error) {
	b.folders++
	dir := filepath.Join(b.dir, fmt.Sprintf("bare%d", b.folders))
	for _, sub := range []string{"tmp", "new"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return 0, err
		}
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	data := mailgen.Letter(0, letterSize)
	return parallel(threads, letters/threads, func() (func(int) error, func(), error) {
		return func(i int) error { return place(dir, fmt.Sprintf("%d.%d", threads, i), data) }, func() {}, nil
	})
}

// place puts a message into dir/new so that a power failure cannot lose it.
func place(dir, name string, data []byte) error {
	tmp, final := filepath.Join(dir, "tmp", name), filepath.Join(dir, "new", name)
	f, err := os.Create(tmp)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, final); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(final))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
