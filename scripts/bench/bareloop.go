package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"maildird/scripts/mailgen"
)

// bareLoop measures the limit that the machine sets for durable delivery: write a file in tmp/,
// fsync, rename, fsync of the directory, and nothing else.
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
			spent, err := b.bareTime(b.dir, "", threads, lettersOver(threads))
			if err != nil {
				return nil, nil, err
			}
			rates = append(rates, float64(lettersOver(threads))/spent.Seconds())
		}
		return rates, nil, nil
	},
}

// bareTime returns how long the bare loop takes for n messages on some threads. It writes them
// in tmp, or in a new directory if that is "", and renames them to a new directory below
// beside. The files are kept until the run ends, because a file system may have to revisit what
// was removed recently, which would slow down the next measurement.
func (b *bench) bareTime(beside, tmp string, threads, n int) (time.Duration, error) {
	b.folders++
	dir := filepath.Join(beside, fmt.Sprintf("bare%d", b.folders))
	if tmp == "" {
		tmp = filepath.Join(dir, "tmp")
	}
	for _, dir := range []string{tmp, filepath.Join(dir, "new")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return 0, err
		}
	}
	into, err := os.Open(filepath.Join(dir, "new"))
	if err != nil {
		return 0, err
	}
	defer into.Close()
	data := mailgen.Letter(0, letterSize)
	rate, err := parallel(threads, n/threads, func() (func(int) error, func(), error) {
		return func(i int) error { return place(tmp, into, uniqueName(i), data) }, func() {}, nil
	})
	return time.Duration(float64(n/threads*threads) / rate * float64(time.Second)), err
}

// uniqueName returns a name as long as those of mail servers, since the length determines how
// much an fsync of the directory writes.
func uniqueName(i int) string {
	return fmt.Sprintf("%d.M%06dP%dVfe00Idc2388.mail.example.org,S=%d,W=%d", time.Now().Unix(), i, os.Getpid(), letterSize, letterSize)
}

// place puts a message into a directory durably.
func place(tmp string, into *os.File, name string, data []byte) error {
	path := filepath.Join(tmp, name)
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	// os.Rename would look up the new name first.
	if err := unix.Rename(path, filepath.Join(into.Name(), name)); err != nil {
		return err
	}
	return into.Sync()
}
