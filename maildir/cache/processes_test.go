package cache

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
)

const (
	crowdRows = 2000
	crowdEnv  = "MAILDIRD_CACHE_CROWD"
)

// TestProcessesShareFiles lets processes add to the same files, read them, release them and
// compact them, all at once. Each checks everything that it reads.
func TestProcessesShareFiles(t *testing.T) {
	if seed, err := strconv.Atoi(os.Getenv(crowdEnv)); err == nil {
		crowdMember(t, seed)
		return
	}
	dir := t.TempDir()
	var crowd []*exec.Cmd
	for i := range 3 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestProcessesShareFiles$")
		cmd.Env = append(os.Environ(), crowdEnv+"="+strconv.Itoa(i+1), crowdEnv+"_DIR="+dir)
		crowd = append(crowd, cmd)
	}
	failed := make(chan error, len(crowd))
	for _, cmd := range crowd {
		go func() {
			out, err := cmd.CombinedOutput()
			if err != nil {
				err = fmt.Errorf("%w\n%s", err, out)
			}
			failed <- err
		}()
	}
	for range crowd {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
	sh := openShelf(t, newStore(t, Options{Dir: dir}), crowdRows)
	if n := sh.count(); n == 0 {
		t.Error("nothing was kept")
	}
	sh.fill(upTo(crowdRows)...)
	next := openShelf(t, newStore(t, Options{Dir: dir}), crowdRows)
	if n := next.count(); n != crowdRows {
		t.Errorf("%d messages are there, not %d", n, crowdRows)
	}
}

// crowdMember is one of the processes.
func crowdMember(t *testing.T, seed int) {
	rnd := rand.New(rand.NewPCG(uint64(seed), 2))
	s := newStore(t, Options{Dir: os.Getenv(crowdEnv + "_DIR")})
	for range 5 {
		sh := openShelf(t, s, crowdRows)
		for range 20 {
			for range 1 + rnd.IntN(60) {
				row := rnd.Uint32N(crowdRows)
				sh.add(row, sample(row))
			}
			sh.b.Flush()
			sh.open() // what others added
			for range 30 {
				sh.check(rnd.Uint32N(crowdRows))
			}
		}
		for range crowdRows * 2 / 3 {
			sh.b.Forget(rnd.Uint32N(crowdRows)) // so that the files are compacted
		}
		sh.b.Close()
	}
}
