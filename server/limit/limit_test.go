package limit

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"
)

var (
	noon  = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	a1    = netip.MustParseAddr("192.0.2.1")
	a2    = netip.MustParseAddr("192.0.2.2")
	local = netip.MustParseAddr("127.0.0.1")
)

func TestConnections(t *testing.T) {
	c := New(Limits{Total: 8, PerIP: 2})
	for _, step := range []struct {
		service string
		from    netip.Addr
		want    error
	}{
		{"imap", a1, nil},
		{"smtp", a1, nil},
		{"submission", a1, ErrAddress}, // all services count together
		{"imap", netip.MustParseAddr("::ffff:192.0.2.1"), ErrAddress},
		{"imap", netip.MustParseAddr("2001:db8::1"), nil},
		{"imap", netip.MustParseAddr("2001:db8::2"), nil},
		{"imap", netip.MustParseAddr("2001:db8:0:0:ffff::"), ErrAddress}, // in the same /64
		{"imap", netip.MustParseAddr("2001:db8:0:1::"), nil},
		{"lmtp", netip.Addr{}, nil},
		{"lmtp", netip.Addr{}, nil},
		{"lmtp", netip.Addr{}, nil}, // not counted by address
		{"lmtp", a2, ErrFull},       // there are eight
	} {
		if err := c.Admit(step.service, step.from, noon); !errors.Is(err, step.want) {
			t.Errorf("%s from %s: %v, want %v", step.service, step.from, err, step.want)
		}
	}
	c.Leave("imap", netip.MustParseAddr("2001:db8::1"))
	if err := c.Admit("imap", netip.MustParseAddr("2001:db8::9"), noon); err != nil {
		t.Errorf("after one left: %v", err)
	}
}

// TestShare: a flood of connections to one service leaves a quarter of them to
// the other services.
func TestShare(t *testing.T) {
	c := New(Limits{Total: 100, PerIP: 1000})
	n := 0
	for c.Admit("smtp", a1, noon) == nil {
		n++
	}
	if n != 75 {
		t.Errorf("one service got %d of 100", n)
	}
	for i := range 25 {
		if err := c.Admit("imap", a2, noon); err != nil {
			t.Fatalf("connection %d of another: %v", i, err)
		}
	}
	for range 75 {
		c.Leave("smtp", a1)
	}
	for range 25 {
		c.Leave("imap", a2)
	}
	if c.total+len(c.services)+len(c.perIP) != 0 {
		t.Errorf("something stays counted when all have left: %d %v %v", c.total, c.services, c.perIP)
	}
}

func TestRate(t *testing.T) {
	c := New(Limits{PerMinute: 3})
	open := func(from netip.Addr, now time.Time) error {
		err := c.Admit("smtp", from, now)
		if err == nil {
			c.Leave("smtp", from)
		}
		return err
	}
	for i := range 5 {
		want := error(nil)
		if i >= 3 {
			want = ErrRate
		}
		if err := open(a1, noon); !errors.Is(err, want) {
			t.Errorf("connection %d: %v, want %v", i, err, want)
		}
		if err := open(local, noon); err != nil {
			t.Errorf("from this machine: %v", err)
		}
	}
	if err := open(a2, noon.Add(59*time.Second)); err != nil {
		t.Errorf("another address: %v", err)
	}
	if err := open(a1, noon.Add(time.Minute)); err != nil {
		t.Errorf("a minute later: %v", err)
	}
	if err := open(a1, noon); err != nil {
		t.Errorf("the clock went back: %v", err)
	}
	for i := range maxCountedAddresses + 10 {
		_ = open(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), noon)
	}
	if len(c.opened) > maxCountedAddresses {
		t.Errorf("%d addresses are kept", len(c.opened))
	}
}

func TestUsers(t *testing.T) {
	c := New(Limits{PerUser: 2})
	for i, want := range []error{nil, nil, ErrUser, ErrUser} {
		if err := c.AdmitUser("alice"); !errors.Is(err, want) {
			t.Errorf("login %d: %v, want %v", i, err, want)
		}
	}
	if err := c.AdmitUser("bob"); err != nil {
		t.Errorf("another user: %v", err)
	}
	c.LeaveUser("alice")
	if err := c.AdmitUser("alice"); err != nil {
		t.Errorf("after one left: %v", err)
	}
	c = New(Limits{})
	n := 0
	for c.AdmitUser("alice") == nil {
		n++
	}
	if n != 50 { // as in README
		t.Errorf("%d logins without a setting", n)
	}
}

// TestMail: an hour's worth is allowed at once, and is replenished evenly.
func TestMail(t *testing.T) {
	m := NewMail(60, 120)
	send := func(user string, now time.Time) (n int) {
		for m.Message(user, now) {
			n++
		}
		return n
	}
	for _, step := range []struct {
		user  string
		after time.Duration
		want  int
	}{
		{"alice", 0, 60}, {"alice", 0, 0}, {"bob", 0, 60},
		{"alice", 10 * time.Minute, 10}, {"alice", 5 * time.Minute, 0}, // the clock was set back
		{"alice", 26 * time.Hour, 60},
	} {
		t.Run(fmt.Sprint(step.user, step.after), func(t *testing.T) {
			if n := send(step.user, noon.Add(step.after)); n != step.want {
				t.Errorf("%d messages went, want %d", n, step.want)
			}
		})
	}
	n := 0
	for m.Recipient("alice", noon) {
		n++
	}
	if n != 120 {
		t.Errorf("%d recipients went, want 120", n)
	}
}

// TestPace: the number of connections that begin at the same time is limited, and each
// returns its place once.
func TestPace(t *testing.T) {
	c := New(Limits{})
	var begun []func()
	for range cap(c.pace) {
		begun = append(begun, c.Begin(t.Context()))
	}
	waiting := make(chan func())
	go func() { waiting <- c.Begin(t.Context()) }()
	select {
	case <-waiting:
		t.Fatal("one more began")
	case <-time.After(20 * time.Millisecond):
	}
	begun[0]()
	begun[0]()
	next := <-waiting
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	c.Begin(ended)() // does not wait
	for _, f := range append(begun[1:], next) {
		f()
	}
	if len(c.pace) != 0 {
		t.Errorf("%d places are taken when all have begun", len(c.pace))
	}
}

func TestWithin(t *testing.T) {
	for _, c := range []struct {
		files             uint64
		connections, want int
	}{{64, 10_000, 32}, {20_000, 10_000, 10_000}, {65_536, 10_000, 10_000}, {1 << 63, 10_000, 10_000}, {1, 10_000, 1}, {65_536, 20, 20}} {
		if got := Within(c.files, c.connections); got != c.want {
			t.Errorf("%d files, %d connections: %d, want %d", c.files, c.connections, got, c.want)
		}
	}
}

// TestTell: for each address and service, one refusal per minute is logged.
func TestTell(t *testing.T) {
	c := New(Limits{})
	now := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("127.0.0.1")
	for _, step := range []struct {
		from  netip.Addr
		after time.Duration
		want  bool
	}{{a, 0, true}, {a, time.Second, false}, {b, time.Second, true}, {b, time.Second, false}, {netip.Addr{}, 0, true},
		{a, time.Minute, true}, {a, 0, false}, {a, -time.Hour, true}} {
		now = now.Add(step.after)
		if got := c.Tell("smtp", step.from, now); got != step.want {
			t.Errorf("%v at %v: %t", step.from, now, got)
		}
	}
	if !c.Tell("imap", a, now) {
		t.Error("a refusal at another service is not told")
	}
}

// TestShares: no user takes more than a share, or the share of another.
func TestShares(t *testing.T) {
	s := NewShares(10)
	if !s.Take("a", 4) || !s.Take("a", 6) || s.Take("a", 1) || !s.Take("b", 10) || s.Take("c", 11) {
		t.Error("not what a share has room for was taken")
	}
	s.Give("a", 6)
	if s.Take("a", 7) || !s.Take("a", 6) {
		t.Error("not what was given back was taken")
	}
	s.Give("a", 10)
	s.Give("b", 10)
	if len(s.taken) > 0 {
		t.Errorf("left: %v", s.taken)
	}
}
