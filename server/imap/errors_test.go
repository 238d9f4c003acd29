package imap

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/emersion/go-imap/v2"

	"maildird/maildir/compress"
	"maildird/maildir/delivery"
	"maildird/maildir/dirfd"
	"maildird/maildir/dotlock"
	"maildird/maildir/folder"
	"maildird/maildir/mailbox"
	"maildird/maildir/quota"
)

// TestStatusOf: every kind of error has its response code, which clients evaluate. Details that
// are meant for the log only, such as file paths, are not sent to the client.
func TestStatusOf(t *testing.T) {
	const path = "/srv/mail/alice/cur/1.secret"
	system := func(errno syscall.Errno) error { return &fs.PathError{Op: "rename", Path: path, Err: errno} }
	for _, c := range []struct {
		err   error
		code  imap.ResponseCode
		known bool
	}{
		{mailbox.ErrGone, codeExpungeIssued, true},
		{mailbox.ErrBusy, imap.ResponseCodeInUse, true},
		{mailbox.ErrKeywords, imap.ResponseCodeLimit, true},
		{mailbox.ErrNoUID, imap.ResponseCodeLimit, true},
		{compress.ErrScratch, imap.ResponseCodeLimit, true},
		{delivery.ErrCompressed, imap.ResponseCodeCannot, true},
		{quota.ErrOver, imap.ResponseCodeOverQuota, true},
		{quota.ErrNever, imap.ResponseCodeOverQuota, true},
		{fmt.Errorf("%w: %w", mailbox.ErrReadOnly, system(syscall.EROFS)), imap.ResponseCodeNoPerm, true},
		{folder.ErrNotFound, imap.ResponseCodeNonExistent, true},
		{folder.ErrExists, imap.ResponseCodeAlreadyExists, true},
		{folder.ErrHasChildren, imap.ResponseCodeHasChildren, true},
		{folder.ErrInbox, imap.ResponseCodeCannot, true},
		{folder.ErrName, imap.ResponseCodeCannot, true},
		{folder.ErrSpecialUse, codeUseAttr, true},
		{system(syscall.ENOSPC), imap.ResponseCodeOverQuota, false},
		{system(syscall.EDQUOT), imap.ResponseCodeOverQuota, false},
		{delivery.ErrReserve, imap.ResponseCodeOverQuota, false},
		{fmt.Errorf("%s: %w", path, dotlock.ErrLocked), imap.ResponseCodeInUse, false},
		{fmt.Errorf("%s: %w", path, folder.ErrLocked), imap.ResponseCodeInUse, false},
		{fmt.Errorf("%s: %w", path, dirfd.ErrNotRegular), imap.ResponseCodeContactAdmin, false},
		{system(syscall.EACCES), imap.ResponseCodeNoPerm, false},
		{system(syscall.EROFS), imap.ResponseCodeNoPerm, false},
		{system(syscall.EIO), imap.ResponseCodeUnavailable, false},
		{system(syscall.EMFILE), imap.ResponseCodeUnavailable, false},
		{context.Canceled, imap.ResponseCodeUnavailable, false},
		{context.DeadlineExceeded, imap.ResponseCodeUnavailable, false},
		{errors.New("index out of range, " + path), imap.ResponseCodeServerBug, false},
	} {
		err := fmt.Errorf("command: %w", c.err)
		status, known := statusOf(err)
		if status.Type != imap.StatusResponseTypeNo || status.Code != c.code || known != c.known {
			t.Errorf("%v: %v, known %v; want NO [%s], known %v", err, status, known, c.code, c.known)
		}
		if strings.Contains(status.Text, path) {
			t.Errorf("%v: the client is told %q", err, status.Text)
		}
	}
	if status, known := statusOf(fmt.Errorf("look: %w", mailbox.ErrReplaced)); status.Type != imap.StatusResponseTypeBye || !known {
		t.Errorf("a mailbox that was replaced: %v", status)
	}
}
