package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"maildird/server/config"
)

// streamOf returns the JOURNAL_STREAM of f.
func streamOf(t *testing.T, f *os.File) string {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}

// TestJournal: log records for the journal have a priority according to their level, and one
// line per record; others have no priority.
func TestJournal(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	written := func(format string) string {
		t.Helper()
		if err := errors.Join(file.Truncate(0), func() error { _, err := file.Seek(0, io.SeekStart); return err }()); err != nil {
			t.Fatal(err)
		}
		cfg := &config.Config{}
		cfg.Log.Format = format
		log := logger(cfg, slog.LevelDebug, file).With("session", "1")
		log.Debug("d")
		log.Info("two\nlines", "x", "a\n<0>b")
		log.Warn("w")
		log.WithGroup("g").Error("e", "error", errors.New("one\ntwo"))
		printError(file, os.Getenv("JOURNAL_STREAM"), errors.New("first\nsecond"))
		text, err := os.ReadFile(file.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for _, format := range []string{"text", "json"} {
		t.Setenv("JOURNAL_STREAM", streamOf(t, file))
		lines := strings.Split(written(format), "\n")
		want := []string{"<7>", "<6>", "<4>", "<3>", "<3>maildird: first", "<3>maildird: second", ""}
		if len(lines) != len(want) {
			t.Fatalf("%s: %d lines for %d\n%s", format, len(lines), len(want), lines)
		}
		for i, line := range lines {
			if rest, ok := strings.CutPrefix(line, want[i]); !ok || i < 4 && (!strings.Contains(rest, "session") || strings.ContainsAny(rest[:1], "<")) {
				t.Errorf("%s: %q does not begin with %q", format, line, want[i])
			}
		}
		for _, other := range []string{"", "1:2"} {
			t.Setenv("JOURNAL_STREAM", other)
			if text := written(format); strings.HasPrefix(text, "<") || strings.Contains(text, "\n<") || !strings.HasSuffix(text, "\nmaildird: first\nmaildird: second\n") {
				t.Errorf("%s, JOURNAL_STREAM=%q:\n%s", format, other, text)
			}
		}
	}
}

// TestJournalWhole: lines of concurrent sessions keep their own priority and stay complete.
func TestJournalWhole(t *testing.T) {
	var out strings.Builder
	log := slog.New(newJournalHandler(&out, func(to io.Writer) slog.Handler { return slog.NewTextHandler(to, nil) }))
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			level := slog.LevelInfo
			if i%2 == 1 {
				level = slog.LevelError
			}
			for range 100 {
				log.With("session", i).Log(t.Context(), level, "x")
			}
		})
	}
	all.Wait()
	n := 0
	for line := range strings.Lines(out.String()) {
		n++
		if strings.HasPrefix(line, "<6>time=") != strings.Contains(line, "level=INFO") || strings.HasPrefix(line, "<3>time=") != strings.Contains(line, "level=ERROR") {
			t.Fatalf("line %q", line)
		}
	}
	if n != 800 {
		t.Errorf("%d lines of 800", n)
	}
}
