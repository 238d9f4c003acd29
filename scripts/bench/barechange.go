package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// bareChange measures the limit that the file system sets for commands on many messages: a
// system call for each, an fsync of the directory, and nothing else.
var bareChange = &workload{
	name: "bare change",
	bare: true,
	rows: []row{
		{name: "bare loop: rename of all, fsync (STORE)", unit: millis},
		{name: "bare loop: 1k links, fsync (COPY)", unit: millis},
		{name: "bare loop: 1k links, fsync, 1k unlinks, fsync (MOVE)", unit: millis},
		{name: "bare loop: 1k unlinks, fsync (EXPUNGE)", unit: millis},
	},
	run: func(_ context.Context, b *bench, _ *server) ([]float64, *answer, error) {
		b.folders++
		path := filepath.Join(b.dir, fmt.Sprintf("bare%d", b.folders))
		if err := link(b.corpus, path); err != nil {
			return nil, nil, err
		}
		cur, err := os.Open(filepath.Join(path, "cur"))
		if err != nil {
			return nil, nil, err
		}
		defer cur.Close()
		to, err := os.Open(filepath.Join(path, "new"))
		if err != nil {
			return nil, nil, err
		}
		defer to.Close()
		names, err := cur.Readdirnames(-1)
		if err != nil {
			return nil, nil, err
		}
		return bareChanges(cur, to, names)
	},
}

// bareChanges performs the rows of bareChange with names in cur.
func bareChanges(cur, to *os.File, names []string) ([]float64, *answer, error) {
	from, into := int(cur.Fd()), int(to.Fd())
	each := func(names []string, sync *os.File, call func(name string) error) (float64, error) {
		return timed(func() error {
			for _, name := range names {
				if err := call(name); err != nil {
					return err
				}
			}
			return sync.Sync()
		})
	}
	renames, err := each(names, cur, func(name string) error {
		return unix.Renameat2(from, name, from, name+"T", unix.RENAME_NOREPLACE)
	})
	if err != nil {
		return nil, nil, err
	}
	names = names[:min(some, len(names))]
	links, err := each(names, to, func(name string) error { return unix.Linkat(from, name+"T", into, name, 0) })
	if err != nil {
		return nil, nil, err
	}
	unlinks, err := each(names, cur, func(name string) error { return unix.Unlinkat(from, name+"T", 0) })
	return []float64{renames, links, links + unlinks, unlinks}, nil, err
}
