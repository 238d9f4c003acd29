package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"maildird/auth"
	"maildird/auth/aliases"
	"maildird/maildir"
	"maildird/server/config"
	"maildird/server/imap"
	"maildird/server/limit"
	"maildird/server/relay"
	"maildird/server/sasl"
	"maildird/server/smtp"
)

// Server is a running server.
type Server struct {
	cfg     *config.Config
	log     *slog.Logger
	users   *auth.Users
	aliases *aliases.Aliases
	cert    *certificate
	tokens  sasl.Tokens  // nil if none are accepted
	relay   *relay.Relay // nil if none is configured
	store   *maildir.Store

	bound    []bound
	services []service
	running  sync.WaitGroup
	unwatch  context.CancelFunc // stops watching files
	failed   chan error
}

// service is a protocol server. Serve returns after Shutdown was called.
type service interface {
	Serve(l net.Listener, implicitTLS bool) error
	Shutdown(ctx context.Context) error
}

// Start binds all addresses and serves on them. It logs "ready" once every listener accepts
// connections. After an error nothing is left running. Start confines the process to what it
// needs, irreversibly, and so must be called only once.
func Start(cfg *config.Config, log *slog.Logger) (*Server, error) {
	s, err := open(cfg, log)
	if err != nil {
		return nil, err
	}
	if s.bound, err = s.bind(); err != nil {
		return nil, errors.Join(err, s.store.Close())
	}
	confineProcess(cfg, s.users.All(), log)
	var ready []any
	for _, b := range s.bound {
		ready = append(ready, b.name, b.shown)
		s.running.Go(func() { s.serve(b) })
	}
	watching, unwatch := context.WithCancel(context.Background())
	s.unwatch = unwatch
	seen := s.users.Revision()
	s.running.Go(func() { s.watchUsers(watching, seen) })
	s.running.Go(func() { s.watchAliases(watching) })
	log.Info("ready", ready...)
	return s, nil
}

// open reads the files that the configuration names, and returns a server without listeners.
func open(cfg *config.Config, log *slog.Logger) (*Server, error) {
	s := &Server{cfg: cfg, log: log, failed: make(chan error, 1)}
	if err := checkCache(cfg.CacheDir); err != nil {
		return nil, err
	}
	var err error
	if s.users, err = auth.OpenUsers(cfg.Auth.Users, cfg.Domains, log); err != nil {
		return nil, err
	}
	if _, ok := s.users.Lookup(cfg.Postmaster); !ok {
		log.Warn("mail for postmaster and abuse is refused: no such user; add it with \"maildird user add\"",
			"postmaster", cfg.Postmaster)
	}
	if s.aliases, err = aliases.Open(cfg.Auth.Aliases, cfg.Domains, s.users, cfg.Postmaster, log); err != nil {
		return nil, err
	}
	if s.cert, err = loadCertificate(cfg.TLS); err != nil {
		return nil, err
	}
	s.warnOfCertificate()
	verifier, err := newTokens(cfg.Auth.OAuth, log)
	if err != nil {
		return nil, err
	}
	if verifier != nil {
		s.tokens = verifier
	}
	if s.relay, err = newRelay(cfg); err != nil {
		return nil, err
	}
	s.store = maildir.NewStore(maildir.Options{
		Host: cfg.Hostname, Fsync: cfg.Mail.Fsync, Compress: cfg.Mail.Compress, Reserve: uint64(cfg.Mail.Reserve),
		CacheDir: cfg.CacheDir, Log: log,
	})
	return s, nil
}

// serve serves on one listener until Stop. Any other end is a failure of the server.
func (s *Server) serve(b bound) {
	if err := b.service.Serve(b.l, b.tls); err != nil && !errors.Is(err, b.closed) {
		select {
		case s.failed <- fmt.Errorf("%s on %s: %w", b.name, b.shown, err):
		default:
		}
	}
}

// bound is a listener and its service.
type bound struct {
	name    string
	shown   string // the address, for the log
	l       net.Listener
	tls     bool
	service service
	closed  error // what Serve returns after Shutdown
}

// connectionsInAll returns the configured limit, or less if the system allows the
// program too few file descriptors: connections must not take the last ones, which are
// needed to deliver mail.
func (s *Server) connectionsInAll() int {
	set := s.cfg.Limits.Connections
	var files unix.Rlimit // Go raises the soft limit to the hard one
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		s.log.Warn("cannot determine how many files may be open", "error", err)
		return set
	}
	n := limit.Within(files.Cur, set)
	if n < set {
		s.log.Warn("connections are limited to half of the files that this program may have open, which is less than limits.connections",
			"connections", n, "files", files.Cur, "advice", "raise LimitNOFILE (ulimit -n), or lower limits.connections")
	}
	return n
}

// bind creates the services that have addresses, and their listeners.
func (s *Server) bind() ([]bound, error) {
	a := &accounts{mail: s.cfg.Mail, store: s.store}
	l := &s.cfg.Limits
	connections := limit.New(limit.Limits{
		Total: s.connectionsInAll(), PerIP: l.ConnectionsPerIP, PerUser: l.ConnectionsPerUser, PerMinute: l.ConnectionsPerMinute,
	})
	in, out := s.smtpConfig(a, connections), s.imapConfig(a, connections)
	listen := &s.cfg.Listen
	var mx, submission, lmtp, mail, debug service
	if len(listen.SMTP) > 0 {
		mx = s.add(smtp.New(smtp.MX, in))
	}
	if len(listen.Submission)+len(listen.Submissions) > 0 {
		submission = s.add(smtp.New(smtp.Submission, in))
	}
	if len(listen.LMTP) > 0 {
		lmtp = s.add(smtp.New(smtp.LMTP, in))
	}
	if len(listen.IMAP)+len(listen.IMAPS) > 0 {
		mail = s.add(imap.New(out))
	}
	if len(s.cfg.Debug.Pprof) > 0 {
		debug = s.add(newProfiles())
	}
	var plan []bound
	for _, p := range []struct {
		name      string
		addresses []config.Address
		tls       bool
		service   service
		closed    error
	}{
		{"smtp", listen.SMTP, false, mx, smtp.ErrServerClosed},
		{"submission", listen.Submission, false, submission, smtp.ErrServerClosed},
		{"submissions", listen.Submissions, true, submission, smtp.ErrServerClosed},
		{"lmtp", listen.LMTP, false, lmtp, smtp.ErrServerClosed},
		{"imap", listen.IMAP, false, mail, imap.ErrServerClosed},
		{"imaps", listen.IMAPS, true, mail, imap.ErrServerClosed},
		{"pprof", s.cfg.Debug.Pprof, false, debug, http.ErrServerClosed},
	} {
		for _, address := range p.addresses {
			l, err := listenOn(address)
			if err != nil {
				for _, b := range plan {
					_ = b.l.Close()
				}
				return nil, fmt.Errorf("%s: %w", p.name, err)
			}
			plan = append(plan, bound{p.name, shown(address, l), l, p.tls, p.service, p.closed})
		}
	}
	return plan, nil
}

func (s *Server) add(v service) service {
	s.services = append(s.services, v)
	return v
}

func (s *Server) logins() sasl.Logins {
	return sasl.Logins{Passwords: s.users, Users: s.users, Tokens: s.tokens}
}

func (s *Server) smtpConfig(a *accounts, connections *limit.Connections) smtp.Config {
	cfg := s.cfg
	bare := smtp.Normalize
	if cfg.SMTP.BareNewline == "reject" {
		bare = smtp.Reject
	}
	var freeSpace func() (uint64, error)
	if cfg.Mail.Location.Fixed() != "" {
		freeSpace = a.freeSpace
	}
	return smtp.Config{
		Log: s.log, Hostname: cfg.Hostname, Domains: cfg.Domains, Postmaster: cfg.Postmaster,
		Users: s.users, Aliases: s.aliases, Logins: s.logins(), Revoked: s.users.Revoked,
		Open: a.inbox, Room: a.room, Delivery: s.store.Delivery(), Reserve: uint64(cfg.Mail.Reserve), FreeSpace: freeSpace,
		TLS: s.cert.config(), PlaintextFrom: cfg.Auth.PlaintextFrom, BareNewline: bare, Relay: s.relay,
		Timeouts:    smtp.Timeouts{Greet: cfg.SMTP.GreetDelay},
		Connections: connections,
		Mail:        limit.NewMail(cfg.Limits.MessagesPerHour, cfg.Limits.RecipientsPerHour),
		Limits:      smtp.Limits{Message: cfg.Limits.MessageSize, Recipients: cfg.Limits.Recipients},
	}
}

func (s *Server) imapConfig(a *accounts, connections *limit.Connections) imap.Config {
	cfg := s.cfg
	return imap.Config{
		Log: s.log, Logins: s.logins(), Revoked: s.users.Revoked, OpenAccount: a.open,
		TLS: s.cert.config(), PlaintextFrom: cfg.Auth.PlaintextFrom,
		NoRev2: !cfg.IMAP.Rev2, NoUnauthenticate: !cfg.IMAP.Unauthenticate, UIDOnly: cfg.IMAP.UIDOnly, Postmaster: cfg.Postmaster, AppendLimit: cfg.Limits.MessageSize,
		Connections: connections,
		Hostname:    cfg.Hostname, Lookup: s.users.Lookup, OpenExisting: a.existing, Submitters: cfg.IMAP.SubmitUsers,
	}
}

// Addresses returns the addresses that a service in [listen] is bound to.
func (s *Server) Addresses(service string) []string {
	var out []string
	for _, b := range s.bound {
		if b.name == service {
			out = append(out, b.l.Addr().String())
		}
	}
	return out
}

// Failed returns a channel for an error that ends the server: a listener has failed.
func (s *Server) Failed() <-chan error { return s.failed }

// ReloadUsers rereads the users file. After an error the users remain unchanged.
func (s *Server) ReloadUsers() error { return s.users.Reload() }

// ReloadAliases rereads the aliases file, if there is one. After an error the
// aliases remain unchanged.
func (s *Server) ReloadAliases() error { return s.aliases.Reload() }

// ReloadCertificate rereads the certificate, if there is one. Connections stay open. After an
// error the certificate remains unchanged.
func (s *Server) ReloadCertificate() error {
	if s.cert == nil {
		return nil
	}
	err := s.cert.reload()
	s.warnOfCertificate()
	return err
}

func (s *Server) warnOfCertificate() {
	if err := s.cert.valid(time.Now()); err != nil {
		s.log.Warn("certificate is not valid", "error", err)
	}
}

// Stop closes the listeners, lets deliveries finish, sends BYE to IMAP clients, and returns
// when everything has ended. It cuts the remaining connections when ctx ends.
func (s *Server) Stop(ctx context.Context) error {
	s.unwatch()
	var wg sync.WaitGroup
	for _, v := range s.services {
		wg.Go(func() {
			if err := v.Shutdown(ctx); err != nil {
				s.log.Warn("connections were cut off while stopping", "error", err)
			}
		})
	}
	wg.Wait()
	s.running.Wait()
	err := s.store.Close()
	s.log.Info("stopped")
	return err
}
