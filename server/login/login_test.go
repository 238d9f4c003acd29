package login

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"maildird/auth"
	"maildird/server/sasl"
	"maildird/server/servertest"
)

func TestPasswordsAllowed(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("::1/128")}
	for _, c := range []struct {
		tls  bool
		from netip.Addr
		want bool
	}{
		{false, netip.MustParseAddr("192.0.2.7"), true},
		{false, netip.MustParseAddr("::1"), true},
		{false, netip.MustParseAddr("198.51.100.1"), false},
		{true, netip.MustParseAddr("198.51.100.1"), true},
		{false, netip.Addr{}, true}, // a Unix socket
	} {
		if got := PasswordsAllowed(c.tls, c.from, trusted); got != c.want {
			t.Errorf("TLS %v, from %v: %v", c.tls, c.from, got)
		}
	}
}

// TestRefused checks for each error what is logged, and whether the refusal counts towards the
// limit that ends a session.
func TestRefused(t *testing.T) {
	for _, c := range []struct {
		err    error
		want   Refusal
		counts bool
		log    string // "" means nothing
	}{
		{auth.ErrInvalid, Failed, true, "WARN login failed"},
		{auth.ErrNotAllowed, Failed, true, "WARN login failed"},
		{sasl.ErrProof, Failed, true, "WARN login failed"},
		{fmt.Errorf("%w: expired", sasl.ErrToken), Failed, true, "WARN login failed"},
		{sasl.ErrOther, OtherUser, true, "WARN login failed"},
		{auth.ErrThrottled, Throttled, true, "WARN login refused"},
		{auth.ErrThrottledAgain, Throttled, true, ""},
		{errors.New("the issuer does not answer"), Unavailable, false, "ERROR login cannot be checked"},
	} {
		log := &servertest.Log{}
		got := Refused(slog.New(slog.NewTextHandler(log, nil)), "PLAIN", strings.Repeat("x", maxLoggedName+1), c.err)
		if got != c.want || got.Counts() != c.counts {
			t.Errorf("%v: %v, counts %v", c.err, got, got.Counts())
		}
		level, msg, _ := strings.Cut(c.log, " ")
		line := fmt.Sprintf("level=%s msg=%q method=PLAIN user=%s error=%q", level, msg, strings.Repeat("x", maxLoggedName), c.err.Error())
		if c.log == "" && log.String() != "" || c.log != "" && !strings.Contains(log.String(), line) {
			t.Errorf("%v: logged %s", c.err, log.String())
		}
	}
}

// TestRecheck: a session is woken once, and cut if it does not end.
func TestRecheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Granted
		woken, holds := 0, false
		var cut atomic.Int32
		recheck := func() {
			g.Recheck(netip.MustParseAddr("192.0.2.7"), func(from netip.Addr, u auth.User) bool {
				return u.Name == "alice" && from.IsValid() && !holds
			}, func() { woken++ }, func() { cut.Add(1) })
		}
		recheck() // of no user
		g.To(&auth.User{Name: "alice"})
		holds = true
		recheck()
		if woken != 0 || g.Revoked() {
			t.Fatal("a login that holds was revoked")
		}
		holds = false
		g.To(nil) // logged out
		recheck()
		g.To(&auth.User{Name: "alice"})
		g.Recheck(netip.Addr{}, nil, func() { woken++ }, nil) // all logins are still valid
		if woken != 0 || g.Revoked() {
			t.Fatal("nobody's login was revoked")
		}
		for range 2 {
			recheck()
			if woken != 1 || !g.Revoked() {
				t.Errorf("woken %d times, revoked: %v", woken, g.Revoked())
			}
		}
		time.Sleep(patience - time.Nanosecond)
		synctest.Wait()
		if cut.Load() != 0 {
			t.Error("cut at once")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if cut.Load() != 1 {
			t.Errorf("cut %d times", cut.Load())
		}
	})
}
