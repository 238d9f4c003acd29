package imap

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"maildird/auth"
	"maildird/maildir"
	"maildird/maildir/mailbox"
)

// TestRevoked: when the login is revoked, a session ends with BYE whatever it is doing, and a
// command that the client has only begun has no effect.
func TestRevoked(t *testing.T) {
	var revoked atomic.Bool
	ts := startServer(t, func(c *Config, _ *maildir.AccountOptions) {
		c.Revoked = func(from netip.Addr, u auth.User) bool {
			return u.Name == "alice@example.org" && from.IsLoopback() && revoked.Load()
		}
	})
	const saves = "APPEND INBOX {20}\r\nSubject: x\r\n\r\n"
	sessions := map[string]*testClient{}
	for name, c := range map[string]struct{ text, answer string }{
		"waits":              {"", ""},
		"in IDLE":            {"i IDLE\r\n", "+ idling"},
		"in a literal":       {"a " + saves, "+ OK"},
		"in a command":       {"b CREATE Wo", ""},
		"in AUTHENTICATE":    {"u UNAUTHENTICATE\r\n", "u OK"},
		"in a started login": {"u UNAUTHENTICATE\r\nv LOGIN {5}\r\n", "+ OK"},
	} {
		s := ts.login()
		s.ok("SELECT INBOX")
		s.send(c.text)
		for c.answer != "" && !strings.HasPrefix(s.line(), c.answer) {
		}
		sessions[name] = s
	}
	other := ts.dial()
	other.line()
	other.ok("LOGIN bob secret")
	ts.Recheck() // nothing is revoked
	sessions["waits"].ok("NOOP")
	ts.log.Take()

	revoked.Store(true)
	ts.Recheck()
	for _, name := range []string{"waits", "in IDLE", "in a literal", "in a command"} {
		sessions[name].ends("Your account has changed, please log in again.")
	}
	other.ok("NOOP")
	sessions["in AUTHENTICATE"].ok("NOOP")
	sessions["in AUTHENTICATE"].ok("LOGIN bob secret")
	sessions["in a started login"].send("alice {6}\r\n")
	sessions["in a started login"].line()
	sessions["in a started login"].send("secret\r\n") // as if its password had been verified already
	if line := sessions["in a started login"].line(); !strings.HasPrefix(line, "v OK") {
		t.Error(line)
	}
	sessions["in a started login"].ends("Your account has changed")
	log := ts.log.Take()
	if n := strings.Count(log, "login revoked"); n != 5 {
		t.Errorf("%d lines in the log", n)
	}
	if n := strings.Count(log, `msg="logged out"`); n != 5 || !strings.Contains(log, ` user=alice@example.org reason=`) {
		t.Errorf("%d logins ended in the log:\n%s", n, log)
	}
	if found, err := filepath.Glob(filepath.Join(ts.root("alice"), "*", "*.*")); err != nil || len(found) != 0 {
		t.Errorf("saved %q, %v", found, err)
	}
	if found, err := filepath.Glob(filepath.Join(ts.root("alice"), ".Wo*")); err != nil || len(found) != 0 {
		t.Errorf("made %q, %v", found, err)
	}
}

// TestLoggedOut: the log contains the end of each login, and nothing about clients that
// did not log in.
func TestLoggedOut(t *testing.T) {
	ts := startServer(t)
	stranger := ts.dial()
	stranger.line()
	stranger.ok("LOGOUT")
	if log := ts.log.Take(); strings.Contains(log, "logged out") {
		t.Error(log)
	}
	c := ts.login()
	c.ok("UNAUTHENTICATE")
	if log := ts.log.Take(); strings.Count(log, "logged out") != 1 || !strings.Contains(log, ` user=alice@example.org reason=UNAUTHENTICATE`) {
		t.Error(log)
	}
	c.ok("LOGIN bob secret")
	c.ok("LOGOUT")
	if log := ts.log.Take(); strings.Count(log, "logged out") != 1 || !strings.Contains(log, ` user=bob@example.org reason=logout`) {
		t.Error(log)
	}
}

// TestRevokedInESearch: a search of several mailboxes ends when the login is revoked, and the
// remaining ones are not reported as mailboxes that cannot be searched.
func TestRevokedInESearch(t *testing.T) {
	var ts *testServer
	var revoked atomic.Bool
	ts = startServer(t, func(c *Config, _ *maildir.AccountOptions) {
		c.Revoked = func(netip.Addr, auth.User) bool { return revoked.Load() }
		c.Log = slog.New(afterLog{c.Log.Handler(), func(r slog.Record) {
			if r.Message == "mailbox cannot be searched" && !revoked.Swap(true) {
				ts.Recheck()
			}
		}})
	})
	c := ts.login()
	c.ok("CREATE Broken")
	c.ok("CREATE Other")
	list := filepath.Join(ts.root("alice"), ".Broken", "dovecot-uidlist")
	if err := errors.Join(os.Remove(list), os.Mkdir(list, 0o700)); err != nil {
		t.Fatal(err)
	}
	ts.log.Take()
	c.send("t ESEARCH IN (mailboxes (Broken Other)) ALL\r\n")
	c.ends("Your account has changed, please log in again.")
	if log := ts.log.Take(); strings.Count(log, "cannot be searched") != 1 {
		t.Error(log)
	}
}

// TestRevokedWhileRead: a message whose reading ends because the login is revoked does
// not count as unreadable.
func TestRevokedWhileRead(t *testing.T) {
	var l omissions
	new(session).noteOmission(&l, mailbox.Message{}, errRevoked()) // would panic if it logged
	if l != (omissions{}) {
		t.Errorf("%+v", l)
	}
}

// afterLog calls f after each record.
type afterLog struct {
	slog.Handler
	f func(slog.Record)
}

func (h afterLog) Handle(ctx context.Context, r slog.Record) error {
	defer h.f(r)
	return h.Handler.Handle(ctx, r)
}

func (h afterLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return afterLog{h.Handler.WithAttrs(attrs), h.f}
}
