package coexist

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"maildird/scripts/rig"
)

var (
	flagFor  = flag.Duration("for", 0, "how long the random operations go on (default 2m, with two maildirds 45s)")
	flagSeed = flag.Uint64("seed", 0, "seed of the random operations (default: from the clock)")
	flagKeep = flag.Bool("keep", false, "leave the Maildirs of failed tests in place")
)

// binary is the path of maildird.
var binary string

func TestMain(m *testing.M) { os.Exit(rig.Main(m, &binary, true)) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newSite prepares a site that is removed when the test ends.
func newSite(t *testing.T, opt Options) *Site {
	t.Helper()
	opt.Binary = binary
	s, err := NewSite(opt)
	must(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("maildird's log:\n%s", tailOf(s.MaildirdLog(), 6000))
			t.Logf("Dovecot's log:\n%s", tailOf(s.DovecotLog(), 6000))
			if *flagKeep {
				t.Logf("the site is left in %s", s.Dir())
				return
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func start(t *testing.T, f func(context.Context) (*Server, error)) *Server {
	t.Helper()
	s, err := f(context.Background())
	must(t, err)
	return s
}

func startMaildird(t *testing.T, s *Site, n int) *Server {
	t.Helper()
	return start(t, func(ctx context.Context) (*Server, error) { return s.StartMaildird(ctx, n) })
}

func startDovecot(t *testing.T, s *Site) *Server {
	t.Helper()
	return start(t, s.StartDovecot)
}

func dial(t *testing.T, s *Server) *Client {
	t.Helper()
	c, err := s.Dial()
	must(t, err)
	t.Cleanup(c.Close)
	return c
}

// agree waits until new connections to all servers report the same state. Dovecot rereads a
// folder that changed within its last second.
func agree(t *testing.T, what What, examine bool, servers ...*Server) State {
	t.Helper()
	end := time.Now().Add(2 * time.Minute)
	for try := 1; ; try++ {
		states := make([]State, len(servers))
		var diff error
		for i, s := range servers {
			before := s.HangUps()
			var err error
			states[i], err = s.ReadFrom(examine, "notmuch")
			if s.HungUp(err, before) {
				diff = err // it has forgotten the size now
				continue
			}
			must(t, err)
			if i > 0 && diff == nil {
				diff = Differences(servers[0].Name, states[0], s.Name, states[i], what)
			}
		}
		if diff == nil {
			return states[0]
		}
		if try >= 5 && time.Now().After(end) {
			t.Fatalf("the servers do not agree:\n%v", diff)
		}
		time.Sleep(time.Second)
	}
}

func sprintf(format string, args ...any) string { return fmt.Sprintf(format, args...) }
