package smtp

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"maildird/auth"
	"maildird/auth/aliases"
	"maildird/maildir"
	"maildird/maildir/delivery"
	"maildird/maildir/folder"
	"maildird/server/sasl"
	"maildird/server/servertest"
)

// testServer is a server for the users alice, bob and carol of example.org and erika of
// müller.example, who all have the password "secret" and real Maildirs.
type testServer struct {
	*Server
	t        testing.TB
	listener net.Listener
	addr     string // of it
	home     string // contains one Maildir per user
	log      *servertest.Log
}

type serverOption func(*Config)

// startServer starts a server that ends with the test.
func startServer(t testing.TB, kind Kind, options ...serverOption) *testServer {
	t.Helper()
	ts := &testServer{t: t, home: t.TempDir(), log: &servertest.Log{}}
	logger := slog.New(slog.NewTextHandler(ts.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	known := openTestUsers(t, logger)
	store := maildir.NewStore(maildir.Options{Host: "test", Log: logger})
	cfg := Config{
		Log: logger, Hostname: "mail.example.org", Domains: []string{"example.org", "müller.example"},
		Postmaster: "carol@example.org", Users: known, Logins: sasl.Logins{Passwords: known}, Delivery: store.Delivery(),
		PlaintextFrom: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		Timeouts:      Timeouts{Tarpit: time.Millisecond},
		Now:           func() time.Time { return time.Date(2024, 2, 3, 4, 5, 6, 0, time.UTC) },
	}
	cfg.Open = func(ctx context.Context, u auth.User) (delivery.Dirs, func(), error) {
		account, err := store.Account(ctx, maildir.AccountOptions{
			Root:   filepath.Join(ts.home, strings.TrimSuffix(u.Name, "@example.org")),
			Folder: folder.Options{Layout: folder.LayoutMaildirPP, Separator: '/'},
		})
		if err != nil {
			return delivery.Dirs{}, nil, err
		}
		dirs, release, err := account.Inbox()
		if err != nil {
			account.Release()
			return delivery.Dirs{}, nil, err
		}
		return dirs, func() { release(); account.Release() }, nil
	}
	for _, o := range options {
		o(&cfg)
	}
	ts.Server = New(kind, cfg)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ts.listener, ts.addr = l, l.Addr().String()
	ended := make(chan error, 1)
	go func() { ended <- ts.Serve(l, false) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if err := ts.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-ended; !errors.Is(err, ErrServerClosed) {
			t.Errorf("serve: %v", err)
		}
		if err := store.Close(); err != nil {
			t.Errorf("store: %v", err)
		}
		if t.Failed() && len(ts.log.String()) < 20000 {
			t.Log(ts.log.String())
		}
	})
	return ts
}

// openTestUsers creates a users file and opens it.
func openTestUsers(t testing.TB, log *slog.Logger) *auth.Users {
	t.Helper()
	file := filepath.Join(t.TempDir(), "users")
	var lines strings.Builder
	for _, name := range []string{"alice", "bob", "carol"} {
		lines.WriteString(name + "@example.org:{PLAIN}secret:::::\n")
	}
	lines.WriteString("erika@müller.example:{PLAIN}secret:::::\n")
	lines.WriteString("dave@example.org:{PLAIN}secret::::::proxy=y\n") // is ignored
	if err := os.WriteFile(file, []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	users, err := auth.OpenUsers(file, []string{"example.org"}, log)
	if err != nil {
		t.Fatal(err)
	}
	return users
}

// withAliases gives the server an aliases file.
func withAliases(t testing.TB, text string) serverOption {
	path := filepath.Join(t.TempDir(), "aliases")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return aliasesOf(t, path)
}

func aliasesOf(t testing.TB, path string) serverOption {
	return func(c *Config) {
		var err error
		if c.Aliases, err = aliases.Open(path, c.Domains, c.Users.(*auth.Users), c.Postmaster, c.Log); err != nil {
			t.Fatal(err)
		}
	}
}

// listen serves another listener until the test ends.
func (ts *testServer) listen(l net.Listener, implicitTLS bool) {
	go func() { _ = ts.Serve(l, implicitTLS) }()
}

// mail returns the messages in a user's new/, sorted by name, without their trace header.
func (ts *testServer) mail(user string) []string {
	ts.t.Helper()
	paths, _ := filepath.Glob(filepath.Join(ts.home, user, "new", "*"))
	sort.Strings(paths)
	var out []string
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			ts.t.Fatal(err)
		}
		out = append(out, string(text))
	}
	return out
}

// untraced removes the trace header that the server added to a message.
func untraced(t testing.TB, text string) string {
	t.Helper()
	_, after, ok := strings.Cut(text, "\n\tfor <")
	if ok {
		_, after, ok = strings.Cut(after, "\n")
	}
	if !ok {
		t.Fatalf("no trace header in %q", text)
	}
	return after
}

// noTemp checks that nothing is left in tmp/ after the sessions have ended.
func (ts *testServer) noTemp() {
	ts.t.Helper()
	eventually(ts.t, "tmp/ is empty", func() bool {
		left, _ := filepath.Glob(filepath.Join(ts.home, "*", "tmp", "*"))
		return len(left) == 0
	})
}

// withTLS gives the server a certificate.
func withTLS(cert tls.Certificate) serverOption {
	return func(cfg *Config) { cfg.TLS = &tls.Config{Certificates: []tls.Certificate{cert}} }
}
