package imap

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/emersion/go-imap/v2"

	"maildird/maildir/compress"
	"maildird/maildir/delivery"
	"maildird/maildir/dirfd"
	"maildird/maildir/dotlock"
	"maildird/maildir/folder"
	"maildird/maildir/mailbox"
	"maildird/maildir/quota"
)

// Response codes that go-imap has no name for.
const (
	codeBadURL        = imap.ResponseCode("BADURL")        // RFC 4469
	codeExpungeIssued = imap.ResponseCode("EXPUNGEISSUED") // RFC 5530
)

// no returns an error that answers the command with "tag NO [code] text". code may be empty.
// The client sees the text.
func no(code imap.ResponseCode, format string, args ...any) error {
	return &imap.Error{Type: imap.StatusResponseTypeNo, Code: code, Text: fmt.Sprintf(format, args...)}
}

// bad returns an error that answers a malformed command with "tag BAD text". The
// client sees the text.
func bad(format string, args ...any) error {
	return &imap.Error{Type: imap.StatusResponseTypeBad, Text: fmt.Sprintf(format, args...)}
}

// bye returns an error that ends the connection with "* BYE [code] text".
func bye(code imap.ResponseCode, text string) error {
	return &imap.Error{Type: imap.StatusResponseTypeBye, Code: code, Text: text}
}

// connError is an error of the connection itself, after which nothing can be
// sent to the client.
type connError struct{ err error }

func (e *connError) Error() string { return e.err.Error() }
func (e *connError) Unwrap() error { return e.err }

// endsSession reports whether an error ends the session, not only the command.
func endsSession(err error) bool {
	var status *imap.Error
	return isConnError(err) || errors.As(err, &status) && status.Type == imap.StatusResponseTypeBye
}

// statusOf returns the response for an error of a handler. known is false if the text of the
// error must not be shown to the client, only logged.
func statusOf(err error) (status *imap.Error, known bool) {
	if errors.As(err, &status) {
		return status, true
	}
	reply := func(code imap.ResponseCode, text string) (*imap.Error, bool) {
		return &imap.Error{Type: imap.StatusResponseTypeNo, Code: code, Text: text}, true
	}
	switch {
	case errors.Is(err, mailbox.ErrReplaced):
		return &imap.Error{Type: imap.StatusResponseTypeBye, Text: "Mailbox was removed or replaced, please reconnect."}, true
	case errors.Is(err, mailbox.ErrGone):
		return reply(codeExpungeIssued, "Some of the messages no longer exist.")
	case errors.Is(err, mailbox.ErrBusy):
		return reply(imap.ResponseCodeInUse, "Other programs are working on these messages, try again.")
	case errors.Is(err, dirfd.ErrNoAnswer):
		return errNoAnswer, true
	case errors.Is(err, mailbox.ErrKeywords):
		return reply(imap.ResponseCodeLimit, "No room for another keyword in this mailbox.")
	case errors.Is(err, mailbox.ErrNoUID):
		return reply(imap.ResponseCodeLimit, "No UID is left in this mailbox, move its messages to a new one.")
	case errors.Is(err, delivery.ErrCompressed):
		return reply(imap.ResponseCodeCannot, "Compressed data cannot be saved as a message.")
	case errors.Is(err, compress.ErrScratch):
		return reply(imap.ResponseCodeLimit, "Too many long compressed messages are open at once, try again.")
	case errors.Is(err, quota.ErrNever):
		return reply(imap.ResponseCodeOverQuota, "That is more than your entire quota.")
	case errors.Is(err, quota.ErrOver):
		return reply(imap.ResponseCodeOverQuota, "Your mailboxes are full: delete messages, or ask for more room.")
	case errors.Is(err, mailbox.ErrReadOnly):
		return reply(imap.ResponseCodeNoPerm, "Mailbox is read-only.")
	case errors.Is(err, folder.ErrNotFound):
		return reply(imap.ResponseCodeNonExistent, "No such mailbox.")
	case errors.Is(err, folder.ErrExists):
		return reply(imap.ResponseCodeAlreadyExists, "Mailbox already exists.")
	case errors.Is(err, folder.ErrHasChildren):
		return reply(imap.ResponseCodeHasChildren, "Mailbox has children, delete them first.")
	case errors.Is(err, folder.ErrInbox):
		return reply(imap.ResponseCodeCannot, "Not allowed for INBOX.")
	case errors.Is(err, folder.ErrSpecialUse):
		return reply(codeUseAttr, err.Error())
	case errors.Is(err, folder.ErrName):
		return reply(imap.ResponseCodeCannot, err.Error())
	}
	return hidden(err), false
}

// errNoAnswer answers commands of users whose disk does not respond. They are not logged one by one.
var errNoAnswer = &imap.Error{Type: imap.StatusResponseTypeNo, Code: imap.ResponseCodeUnavailable, Text: "The disk does not respond, try again later."}

// fromSystem reports whether an error must be logged although the client is told about it: the
// file system itself does not allow the mailbox to be changed.
func fromSystem(err error) bool {
	var errno syscall.Errno
	return errors.Is(err, mailbox.ErrReadOnly) && errors.As(err, &errno)
}

// hidden returns the response for an error that means something only to the operator.
func hidden(err error) *imap.Error {
	status := &imap.Error{Type: imap.StatusResponseTypeNo, Code: imap.ResponseCodeServerBug, Text: "Internal error; see the server log."}
	var errno syscall.Errno
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, delivery.ErrReserve):
		status.Code, status.Text = imap.ResponseCodeOverQuota, "No space left."
	case errors.Is(err, dotlock.ErrLocked), errors.Is(err, folder.ErrLocked):
		status.Code, status.Text = imap.ResponseCodeInUse, "Mailbox is locked by another program, try again."
	case errors.Is(err, dirfd.ErrNotRegular):
		status.Code, status.Text = imap.ResponseCodeContactAdmin, "A mailbox file is not a regular file; see the server log."
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		status.Code, status.Text = imap.ResponseCodeNoPerm, "The server has no permission to do that."
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.As(err, &errno):
		status.Code, status.Text = imap.ResponseCodeUnavailable, "Temporarily unavailable, try again later."
	}
	return status
}
