package imap

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"maildird/auth"
	"maildird/maildir"
	"maildird/maildir/folder"
	"maildird/server/sasl"
	"maildird/server/servertest"
)

// testServer is a server with its own Maildirs, for the users alice and bob, who both
// have the password "secret".
type testServer struct {
	*Server
	t        testing.TB
	listener net.Listener
	addr     string // of it
	home     string // contains one Maildir per user
	store    *maildir.Store
	log      *servertest.Log
	ended    chan error
	once     sync.Once
}

// testUsers are the users of test servers.
type testUsers struct{}

func (testUsers) Authenticate(_ context.Context, _ netip.Addr, name, password string) (auth.User, error) {
	if user, ok := lookupTestUser(name); ok && password == "secret" {
		return user, nil
	}
	return auth.User{}, auth.ErrInvalid
}

func lookupTestUser(name string) (auth.User, bool) {
	name, _, _ = strings.Cut(strings.ToLower(name), "@")
	return auth.User{Name: name + "@example.org"}, name == "alice" || name == "bob"
}

// serverOption changes the configuration of a test server.
type serverOption func(*Config, *maildir.AccountOptions)

// startServer starts a server that ends with the test.
func startServer(t testing.TB, options ...serverOption) *testServer {
	t.Helper()
	return startServerOn(t, t.TempDir(), "", options...)
}

// startServerOn is like startServer, with the Maildirs in home and with a cache.
func startServerOn(t testing.TB, home, cacheDir string, options ...serverOption) *testServer {
	t.Helper()
	ts := &testServer{t: t, home: home, log: &servertest.Log{}}
	store := maildir.NewStore(maildir.Options{Host: "test", CacheDir: cacheDir, Log: slog.New(slog.DiscardHandler)})
	ts.store = store
	account := maildir.AccountOptions{
		Folder: folder.Options{Layout: folder.LayoutMaildirPP, Separator: '/'},
		Defaults: []folder.Default{
			{Name: "Drafts", SpecialUse: `\Drafts`}, {Name: "Sent", SpecialUse: `\Sent`}, {Name: "Junk", SpecialUse: `\Junk`},
			{Name: "Trash", SpecialUse: `\Trash`}, {Name: "Archive", SpecialUse: `\Archive`},
		},
	}
	cfg := Config{
		Log:           slog.New(slog.NewTextHandler(ts.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Logins:        sasl.Logins{Passwords: testUsers{}},
		PlaintextFrom: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		Postmaster:    "alice@example.org",
		// Tests that compare all responses must not see progress reports on a slow machine.
		Timeouts: Timeouts{Progress: time.Hour},
	}
	for _, o := range options {
		o(&cfg, &account)
	}
	cfg.OpenAccount = func(ctx context.Context, user auth.User) (*maildir.Account, error) {
		own := account
		own.Root = ts.root(strings.TrimSuffix(user.Name, "@example.org"))
		return store.Account(ctx, own)
	}
	cfg.Hostname = "mail.example.org"
	cfg.Lookup = lookupTestUser
	cfg.OpenExisting = func(ctx context.Context, user auth.User) (*maildir.Account, error) {
		if _, err := os.Stat(ts.root(strings.TrimSuffix(user.Name, "@example.org"))); err != nil {
			return nil, err
		}
		return cfg.OpenAccount(ctx, user)
	}
	ts.Server = New(cfg)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ts.listener, ts.addr = l, l.Addr().String()
	ended := make(chan error, 1)
	go func() { ended <- ts.Serve(l, false) }()
	t.Cleanup(ts.stop)
	ts.ended = ended
	return ts
}

// stop stops the server; the end of the test does it otherwise.
func (ts *testServer) stop() {
	ts.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if err := ts.Shutdown(ctx); err != nil {
			ts.t.Errorf("shutdown: %v", err)
		}
		if err := <-ts.ended; !errors.Is(err, ErrServerClosed) {
			ts.t.Errorf("serve: %v", err)
		}
		if err := ts.store.Close(); err != nil {
			ts.t.Errorf("store: %v", err)
		}
	})
}

// provision creates the Maildir of a user, as a first login or delivery does.
func (ts *testServer) provision(user string) error {
	a, err := ts.cfg.OpenAccount(context.Background(), auth.User{Name: user + "@example.org"})
	if err == nil {
		a.Release()
	}
	return err
}

// root returns the Maildir of a user.
func (ts *testServer) root(user string) string { return filepath.Join(ts.home, user) }

// dial opens a connection that is closed at the end of the test.
func (ts *testServer) dial() *testClient {
	ts.t.Helper()
	conn, err := net.Dial("tcp", ts.addr)
	if err != nil {
		ts.t.Fatal(err)
	}
	ts.t.Cleanup(func() { _ = conn.Close() })
	return newTestClient(ts.t, conn)
}

// login opens a connection and logs in as alice.
func (ts *testServer) login() *testClient {
	ts.t.Helper()
	c := ts.dial()
	c.line()
	c.ok("LOGIN alice secret")
	return c
}

// withTLS gives the server a certificate.
func withTLS(cert tls.Certificate) serverOption {
	return func(cfg *Config, _ *maildir.AccountOptions) {
		cfg.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	}
}

func withTimeouts(t Timeouts) serverOption {
	return func(cfg *Config, _ *maildir.AccountOptions) { cfg.Timeouts = t }
}
