package imap

import (
	"bytes"
	"io/fs"
	"log/slog"
	"strings"
	"testing"

	"maildird/maildir/dirfd"
	"maildird/maildir/mailbox"
)

// TestOmissionsOfDisk: a FETCH of many messages fills no log if the disk does not respond.
func TestOmissionsOfDisk(t *testing.T) {
	var log bytes.Buffer
	s := &session{log: slog.New(slog.NewTextHandler(&log, nil)), sel: &selection{name: "INBOX"}}
	var l omissions
	for range 1000 {
		s.noteOmission(&l, mailbox.Message{}, &fs.PathError{Op: "open", Path: "file", Err: dirfd.ErrNoAnswer})
	}
	if n := strings.Count(log.String(), "\n"); n != 1 || l.result() == nil {
		t.Errorf("%d lines are logged; the result is %v", n, l.result())
	}
}
