package coexist

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"maildird/scripts/rig"
)

// Options determine how a Site is set up.
type Options struct {
	Binary    string // maildird
	Layout    string // "maildir++" (default) or "fs"
	Separator string // "/" (default) or "."
	Prefix    string
	// Maildirds is the number of maildird processes that serve the tree; 0 means one.
	Maildirds int
}

// Site is a tree of Maildirs that maildird and Dovecot serve to the user alice
// at the same time.
type Site struct {
	Account rig.Account
	Root    string // alice's Maildir, which may not exist yet

	opt     Options
	ours    []*rig.Maildird
	dovecot *rig.Dovecot
}

// Server is a program that serves the site.
type Server struct {
	Name       string
	IMAP, LMTP string // addresses; "" if it does not speak the protocol
	Account    rig.Account
	Prefix     string

	log string // path of Dovecot's log
}

// hangUps are what Dovecot 2.3 logs when it ends a session because a file does not have the
// size that it remembers or that S= specifies (a file that cp has not finished), and when one
// of its processes crashes, which its LMTP sometimes does.
var hangUps = []string{"Cached message size", "killed with signal"}

// HangUps counts the events that may have ended sessions of the server early. Only Dovecot is
// allowed to do so.
func (s *Server) HangUps() int {
	if s.log == "" {
		return 0
	}
	text, _ := os.ReadFile(s.log)
	n := 0
	for _, why := range hangUps {
		n += strings.Count(string(text), why)
	}
	return n
}

// HungUp reports whether err is such an early end, if there were before hang-ups so far. The
// log may be written after the end of the session.
func (s *Server) HungUp(err error, before int) bool {
	ended := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
	if !ended || s.log == "" {
		return false
	}
	for range 100 {
		if s.HangUps() > before {
			return true
		}
		time.Sleep(100 * time.Millisecond)
	}
	return false
}

// NewSite prepares a site. It starts nothing yet.
func NewSite(opt Options) (*Site, error) {
	if opt.Layout == "" {
		opt.Layout = "maildir++"
	}
	if opt.Separator == "" {
		opt.Separator = "/"
	}
	s := &Site{opt: opt, Account: rig.Account{Address: "alice@example.org", Password: "secret"}}
	for range max(1, opt.Maildirds) {
		m, err := rig.InitMaildird(opt.Binary, []rig.Account{s.Account})
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		s.ours = append(s.ours, m)
		settings := map[string]string{
			"layout": strconv.Quote(opt.Layout), "separator": strconv.Quote(opt.Separator), "prefix": strconv.Quote(opt.Prefix),
			"location": strconv.Quote(filepath.Join(s.ours[0].Dir, "mail/%d/%n")),
			"smtp":     "[]", "submission": "[]", "submissions": "[]", // not needed here
			"lmtp": `["127.0.0.1:0"]`,
		}
		if err := configure(m.Config, settings); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	s.Root = s.ours[0].Home(s.Account.Address)
	return s, nil
}

// configure changes settings in a maildird.toml to values in TOML syntax.
func configure(file string, settings map[string]string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for key, value := range settings {
		line := regexp.MustCompile(`(?m)^` + key + ` *=[^#\n]*`)
		if !line.Match(text) {
			return fmt.Errorf("%s has no setting %q", file, key)
		}
		text = line.ReplaceAllLiteral(text, fmt.Appendf(nil, "%s = %s ", key, value))
	}
	return os.WriteFile(file, text, 0o600)
}

// Dir returns a directory of the site that callers can use for their own files.
func (s *Site) Dir() string { return s.ours[0].Dir }

// MakeMaildir creates an empty Maildir for alice.
func (s *Site) MakeMaildir() error {
	if err := os.MkdirAll(s.Root, 0o700); err != nil {
		return err
	}
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.Mkdir(filepath.Join(s.Root, sub), 0o700); err != nil {
			return err
		}
	}
	return s.Own()
}

// Own gives the files of the Maildir to the servers' user.
func (s *Site) Own() error { return rig.Own(filepath.Join(s.ours[0].Dir, "mail")) }

// StartMaildird starts maildird number n, counted from 0.
func (s *Site) StartMaildird(ctx context.Context, n int) (*Server, error) {
	m := s.ours[n]
	if err := m.Start(ctx); err != nil {
		return nil, err
	}
	name := "maildird"
	if len(s.ours) > 1 {
		name = fmt.Sprintf("maildird %d", n+1)
	}
	return &Server{Name: name, IMAP: m.Address("imap"), LMTP: m.Address("lmtp"), Account: s.Account, Prefix: s.opt.Prefix}, nil
}

// StartDovecot starts Dovecot on the same tree. It does not create mailboxes by itself.
func (s *Site) StartDovecot(ctx context.Context) (*Server, error) {
	var extra strings.Builder
	fmt.Fprintf(&extra, "namespace inbox {\n  separator = %s\n  prefix = %s\n", s.opt.Separator, s.opt.Prefix)
	for _, name := range []string{"Drafts", "Sent", "Junk", "Trash", "Archive"} {
		fmt.Fprintf(&extra, "  mailbox %s {\n    auto = no\n  }\n", name)
	}
	extra.WriteString("}\n")
	location := ""
	if s.opt.Layout == "fs" {
		location = ":LAYOUT=fs"
	}
	d, err := rig.StartDovecot(ctx, rig.DovecotOptions{
		Root: s.ours[0].Dir, Location: location, Accounts: []rig.Account{s.Account}, Extra: extra.String(),
	})
	if err != nil {
		return nil, err
	}
	s.dovecot = d
	return &Server{Name: "Dovecot", IMAP: d.IMAP, LMTP: d.LMTP, Account: s.Account, Prefix: s.opt.Prefix, log: d.Log}, nil
}

// Dial connects and logs in.
func (s *Server) Dial() (*Client, error) {
	return Dial(s.Name, s.IMAP, s.Account.Address, s.Account.Password)
}

// DovecotLog returns Dovecot's log so far.
func (s *Site) DovecotLog() string {
	if s.dovecot == nil {
		return ""
	}
	text, _ := os.ReadFile(s.dovecot.Log)
	return string(text)
}

// StopDovecot stops Dovecot.
func (s *Site) StopDovecot() error {
	if s.dovecot == nil {
		return nil
	}
	err := s.dovecot.Close()
	s.dovecot = nil
	return err
}

// StopMaildird stops a maildird as an operator would.
func (s *Site) StopMaildird(n int) error {
	m := s.ours[n]
	if m.Process == nil {
		return nil
	}
	err := m.Stop(stopLimit)
	m.Process = nil
	if err != nil {
		return fmt.Errorf("maildird did not stop cleanly: %w\n%s", err, m.Log())
	}
	return nil
}

// MaildirdLog returns the logs of all maildird processes so far.
func (s *Site) MaildirdLog() string {
	var text strings.Builder
	for _, m := range s.ours {
		text.WriteString(m.Log())
	}
	return text.String()
}

// Complaints returns the lines of maildird's log that report an error, a panic, or a data race.
func (s *Site) Complaints() []string {
	var lines []string
	for line := range strings.Lines(s.MaildirdLog()) {
		if strings.Contains(line, "level=ERROR") || strings.Contains(line, "DATA RACE") || strings.Contains(line, "panic") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// Close stops everything and removes the files.
func (s *Site) Close() error {
	err := s.StopDovecot()
	for n, m := range s.ours {
		err = errors.Join(err, s.StopMaildird(n), rig.RemoveAll(m.Dir))
	}
	return err
}

// stopLimit is generous, because the program may run under the race detector on a busy machine.
const stopLimit = 2 * time.Minute
