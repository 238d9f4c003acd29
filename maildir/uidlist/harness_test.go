package uidlist

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"maildird/maildir/dirfd"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func openDir(t testing.TB) *dirfd.Dir {
	t.Helper()
	d, err := dirfd.Open(t.TempDir())
	must(t, err)
	t.Cleanup(func() { d.Close() })
	return d
}

func put(t testing.TB, d *dirfd.Dir, text string) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(d.Path(), Name), []byte(text), 0o600))
}

// add appends text in place, as a program without a lock would.
func add(t testing.TB, d *dirfd.Dir, text string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(d.Path(), Name), os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	defer f.Close()
	_, err = f.WriteString(text)
	must(t, err)
}

func content(t testing.TB, d *dirfd.Dir) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(d.Path(), Name))
	must(t, err)
	return string(text)
}

// reading is a File together with what it logged.
type reading struct {
	*File
	log bytes.Buffer
}

func open(d *dirfd.Dir) *reading {
	r := &reading{}
	r.File = New(d, Options{Log: slog.New(slog.NewTextHandler(&r.log, nil))})
	return r
}

func (c Change) String() string {
	return [...]string{"unchanged", "appended", "replaced", "missing"}[c]
}

// refresh returns the change, and the records as text: "7 S12 :base".
func (r *reading) refresh(t testing.TB) (Change, []string) {
	t.Helper()
	var got []string
	change, err := r.Refresh(func(rec Record) { got = append(got, text(rec)) })
	must(t, err)
	return change, got
}

func text(r Record) string { return strings.TrimSuffix(string(appendRecord(nil, r)), "\n") }

func (h Header) String() string {
	return fmt.Sprintf("V%d N%d G%s %s", h.UIDValidity, h.NextUID, h.GUID, strings.Join(h.Extra, " "))
}
