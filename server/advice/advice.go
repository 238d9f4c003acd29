// Package advice adds to log lines what the operator can do about an error of the operating
// system, of the relay, or of a TLS handshake.
package advice

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"golang.org/x/sys/unix"

	"maildird/maildir/delivery"
	"maildird/maildir/dirfd"
	"maildird/maildir/dotlock"
	"maildird/maildir/mailbox"
	"maildird/maildir/watch"
	"maildird/server/relay"
)

// Handler returns a handler that adds the attribute "advice" to records with an attribute
// "error" for which there is advice, and passes all records to next.
func Handler(next slog.Handler) slog.Handler { return handler{next} }

// handler adds advice to records that have an error.
type handler struct{ slog.Handler }

func (h handler) Handle(ctx context.Context, r slog.Record) error {
	text := ""
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "error" { // Any would allocate for other values
			if err, ok := a.Value.Any().(error); ok {
				text = about(err)
			}
		}
		return text == ""
	})
	if text != "" {
		r = r.Clone()
		r.AddAttrs(slog.String("advice", text))
	}
	return h.Handler.Handle(ctx, r)
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.Handler.WithAttrs(attrs)}
}
func (h handler) WithGroup(name string) slog.Handler { return handler{h.Handler.WithGroup(name)} }

// Error returns err with the advice appended, if there is some.
func Error(err error) error {
	if text := about(err); text != "" {
		return fmt.Errorf("%w; %s", err, text)
	}
	return err
}

// about returns the advice for err, "" if there is none.
func about(err error) string {
	if relay.IsTrouble(err) {
		return aboutRelay(err)
	}
	switch {
	case errors.Is(err, watch.ErrUnavailable) && errors.Is(err, unix.ENOSPC):
		return "raise fs.inotify.max_user_watches (sysctl); no restart is needed"
	case errors.Is(err, watch.ErrUnavailable) && errors.Is(err, unix.EMFILE):
		return "raise fs.inotify.max_user_instances (sysctl) and restart"
	case errors.Is(err, delivery.ErrReserve):
		return "free space on this file system, which needs no restart, or lower mail.reserve"
	case errors.Is(err, unix.ENOSPC):
		return "free space or inodes on this file system (df, df -i); no restart is needed, and what was refused will be sent again"
	case errors.Is(err, unix.EDQUOT):
		return "raise the disk quota of the owner of the files (repquota), or remove mail; no restart is needed"
	case errors.Is(err, unix.EROFS):
		return "find out why the file system is read-only (an I/O error in dmesg?) and remount it read-write, no restart is needed; or, if it is so for the systemd service only, add the directory to its ReadWritePaths="
	case errors.Is(err, unix.EIO), errors.Is(err, unix.EUCLEAN), errors.Is(err, unix.ESTALE), errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENODEV):
		return "the disk or the connection to it is failing: look at dmesg, and check the disk and the file system"
	case errors.Is(err, dirfd.ErrNoAnswer):
		return "find out why (dmesg; for network files, their server): system calls there do not return; the program resumes by itself when they do"
	case errors.Is(err, unix.EMFILE):
		return "the program has too many files and connections open: raise LimitNOFILE (ulimit -n), or lower [limits] connections"
	case errors.Is(err, unix.ENFILE):
		return "the system has too many files open: raise fs.file-max (sysctl)"
	case errors.Is(err, unix.ENOMEM):
		return "the system has no memory left: give it more, or lower [limits] connections"
	case errors.Is(err, dirfd.ErrForeignLink):
		return "find its other names (find -samefile): if they are in snapshots of this Maildir, it is mail, so give it to the Maildir's owner (chown); otherwise remove this name"
	case errors.Is(err, dirfd.ErrNotRegular):
		return "remove it: it does not belong in a Maildir"
	case errors.Is(err, fs.ErrPermission):
		return "correct the owner and mode of the file and of its directories: the program must be able to read it, and in a Maildir also to write; for the home directory of a new user, a restart may be needed"
	case errors.Is(err, mailbox.ErrNoUID):
		return "move its messages to a new folder; or stop the server, remove dovecot-uidlist from this one, and restart: clients will then download all its messages again"
	case errors.Is(err, dotlock.ErrLocked):
		return "if the program that holds the lock no longer exists, remove the lock file"
	}
	return aboutTLS(err)
}
