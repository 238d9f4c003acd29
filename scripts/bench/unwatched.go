package main

import (
	"context"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// These workloads use a mailbox that the server knows but does not watch: changes by another
// program are only seen when the next SELECT reads the directory. maildird drops its watches
// after ten minutes without a session in the mailbox, or when many other mailboxes were used
// since, and has none while it is stopped. The limit is the time that the file system alone
// takes to list the directory.

var selectUnwatched = &workload{
	name: "select unwatched",
	rows: unwatchedRows("SELECT after one file changed, not watched"),
	run: func(_ context.Context, b *bench, s *server) ([]float64, *answer, error) {
		c, name, path, err := b.fresh(s)
		if err != nil {
			return nil, nil, err
		}
		defer c.close()
		if err := manyFolders(path, manyOthers, 1); err != nil {
			return nil, nil, err
		}
		forget := steps(c, "SELECT %s", "UNSELECT", `LIST "" "%s/*" RETURN (STATUS (MESSAGES))`)
		var took, bare float64
		var a *answer
		for i := range 5 {
			if err := forget(name); err != nil {
				return nil, nil, err
			}
			if err := flip(path, i); err != nil {
				return nil, nil, err
			}
			ms, listed, got, err := c.selectBeside(name, path)
			if err != nil {
				return nil, nil, err
			}
			took, bare, a = took+ms/5, bare+listed/5, got
		}
		return []float64{took, took / bare}, a, nil
	},
}

var selectStopped = &workload{
	name: "select stopped",
	rows: unwatchedRows("SELECT after one file changed during a stop"),
	run: func(ctx context.Context, b *bench, s *server) ([]float64, *answer, error) {
		c, name, path, err := b.selected(s)
		if err != nil {
			return nil, nil, err
		}
		c.close()
		if err := s.halt(); err != nil {
			return nil, nil, err
		}
		if err := flip(path, 0); err != nil {
			return nil, nil, err
		}
		if c, err = restarted(ctx, s); err != nil {
			return nil, nil, err
		}
		defer c.close()
		took, bare, a, err := c.selectBeside(name, path)
		return []float64{took, took / bare}, a, err
	},
}

func unwatchedRows(title string) []row {
	return []row{
		{name: title, unit: millis},
		{name: title + ", by a bare getdents", unit: timesBare, limit: 1.5},
	}
}

// manyOthers is more than the number of unselected mailboxes that maildird keeps ready.
const manyOthers = 300

// selectBeside returns the duration of SELECT of the folder at path, and of a listing of its
// directories after that, both in milliseconds.
func (c *imapClient) selectBeside(name, path string) (took, listed float64, a *answer, err error) {
	took, data, err := c.timed("SELECT %s", name)
	if err != nil {
		return 0, 0, nil, err
	}
	a = selected(data)
	listed, err = timed(func() error { return bareList(path) })
	return took, listed, a, err
}

// bareList lists new/ and cur/ of a folder with a large buffer and ignores the names.
func bareList(path string) error {
	buf := make([]byte, 1<<20)
	for _, sub := range []string{"new", "cur"} {
		fd, err := unix.Open(filepath.Join(path, sub), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		for n := 1; n > 0 && err == nil; {
			n, err = unix.Getdents(fd, buf)
		}
		unix.Close(fd)
		if err != nil {
			return err
		}
	}
	return nil
}
