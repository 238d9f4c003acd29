package main

import (
	"os"
	"os/exec"
	"testing"
)

func TestParseStat(t *testing.T) {
	got, err := parseStat("42 (a) R 1 (b) S 7 42 42 0 -1 4194560 100 200 0 0 11 13 17 19 20 0 1 0 5 0 0\n")
	if want := (procStat{pid: 42, parent: 7, ticks: 60}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	for _, bad := range []string{"", "x (a) S 1", "42 (a) S 7 42", "42 a S 7 42 42 0 -1 4194560 100 200 0 0 11 13 17 19"} {
		if st, err := parseStat(bad); err == nil {
			t.Errorf("%q is %+v", bad, st)
		}
	}
}

func TestParsePSS(t *testing.T) {
	got, err := parsePSS([]byte("00400000-7ff ---p 00000000 00:00 0 [rollup]\nRss:   2000 kB\nPss:    1234 kB\nPss_Anon:  7 kB\n"))
	if err != nil || got != 1234<<10 {
		t.Errorf("got %d, %v", got, err)
	}
	if _, err := parsePSS([]byte("Rss: 1 kB\n")); err == nil {
		t.Error("no error without a Pss")
	}
}

// TestProcessTree checks the numbers of a tree of real processes.
func TestProcessTree(t *testing.T) {
	child := exec.CommandContext(t.Context(), "sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	}()
	tree, err := processTree(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, p := range tree {
		found = found || p.pid == child.Process.Pid && p.parent == os.Getpid()
	}
	if tree[0].pid != os.Getpid() || !found {
		t.Errorf("process %d with child %d: %+v", os.Getpid(), child.Process.Pid, tree)
	}
	s := &server{processes: func() []int { return []int{os.Getpid()} }}
	if n, err := s.proportionalSize(); err != nil || n < 1<<20 {
		t.Errorf("PSS %d, %v", n, err)
	}
	if _, err := s.processorTime(); err != nil {
		t.Error(err)
	}
}
