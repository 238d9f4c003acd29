package maildir

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"maildird/maildir/dirfd"
)

// TestOpeningIsStuck: whoever waits for another caller that is opening the account, and cannot
// because of the disk, gets an error in time, and the log says so.
func TestOpeningIsStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := &Store{accounts: map[string]*Account{}}
		s.env.Log, s.env.Now = slog.New(slog.NewTextHandler(&log, nil)), time.Now
		s.accounts["/mail"] = &Account{store: s, path: "/mail", refs: 1, done: make(chan struct{})}
		for range 2 {
			start := time.Now()
			if _, err := s.Account(t.Context(), AccountOptions{Root: "/mail"}); !errors.Is(err, dirfd.ErrNoAnswer) || time.Since(start) != dirfd.Patience {
				t.Errorf("%v after %s", err, time.Since(start))
			}
		}
		if n := strings.Count(log.String(), "users of this disk are refused"); n != 1 {
			t.Errorf("logged %d times:\n%s", n, log.String())
		}
	})
}
