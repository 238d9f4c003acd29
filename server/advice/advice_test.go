package advice

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"maildird/maildir/delivery"
	"maildird/maildir/dirfd"
	"maildird/maildir/watch"
)

func TestHandler(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{&fs.PathError{Op: "create", Path: "/mail/x", Err: unix.ENOSPC}, "free space"},
		{fmt.Errorf("open: %w", &fs.PathError{Op: "open", Path: "/mail/x", Err: unix.EMFILE}), "LimitNOFILE"},
		{fmt.Errorf("%w: %w", watch.ErrUnavailable, unix.ENOSPC), "max_user_watches"},
		{fmt.Errorf("%w: %w", watch.ErrUnavailable, unix.EMFILE), "max_user_instances"},
		{fmt.Errorf("%w: /mail has 1 byte", delivery.ErrReserve), "mail.reserve"},
		{unix.EROFS, "remount"},
		{unix.EROFS, "ReadWritePaths="},
		{fmt.Errorf("/mail/x: %w", dirfd.ErrForeignLink), "chown"},
		{fmt.Errorf("/mail/x: %w", dirfd.ErrNotRegular), "remove it"},
		{unix.EACCES, "must be able to read it, and in a Maildir also to write"},
		{unix.EDQUOT, "quota"},
		{unix.EIO, "dmesg"},
		{errors.New("no such user"), ""},
		{nil, ""},
	} {
		var out strings.Builder
		log := slog.New(Handler(slog.NewTextHandler(&out, nil))).With("session", "1").WithGroup("g")
		log.Error("it failed", "user", "alice", "error", c.err)
		line := out.String()
		if !strings.Contains(line, "session=1") || !strings.Contains(line, "g.user=alice") {
			t.Errorf("%v: the line lost something: %s", c.err, line)
		}
		if strings.Contains(line, "advice=") != (c.want != "") || !strings.Contains(line, c.want) {
			t.Errorf("%v: %s", c.err, line)
		}
	}
}
