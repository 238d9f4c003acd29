package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"maildird/scripts/mailgen"
	"maildird/scripts/rig"
)

const (
	reader   = "alice@example.org" // whose mailboxes are read
	receiver = "bob@example.org"   // whose inbox gets deliveries
	password = "bench"
)

const (
	oursName    = "maildird"
	dovecotName = "dovecot"
)

var accounts = []rig.Account{{Address: reader, Password: password}, {Address: receiver, Password: password}}

// bench is a run.
type bench struct {
	opt     options
	dir     string
	corpus  string // the generated folder, which is never served itself
	octets  int64
	servers []*server // maildird first
	relays  []*server // servers that measure SMTP only
	results []*result
	wrong   []error
	folders int
}

// server is a program that is compared.
type server struct {
	name             string
	imap, lmtp, smtp string
	root             string       // contains mail/<domain>/<user>
	relay            bool         // accepts messages before they are in new/
	processes        func() []int // roots of its process trees
	halt             func() error
	restart          func(context.Context) error // stops it first if it is running
	stop             func() error
}

// start starts the servers that were requested and are installed.
func (b *bench) start(ctx context.Context) error {
	for _, name := range splitList(b.opt.against) {
		var s *server
		var err error
		switch name {
		case oursName:
			s, err = b.startMaildird(ctx)
		case dovecotName:
			if _, missing := rig.FindDovecot(); missing != nil {
				note("%v: there is nothing to compare with", missing)
				continue
			}
			s, err = startDovecot(ctx, b.opt.optimized)
		case "postfix":
			if missing := rig.FindPostfix(); missing != nil {
				note("%v: SMTP is measured without a rival", missing)
				continue
			}
			if err := b.startPostfixes(ctx); err != nil {
				return err
			}
			continue
		default:
			err = fmt.Errorf("there is no server %q to measure", name)
		}
		if err != nil {
			return err
		}
		b.servers = append(b.servers, s)
	}
	if len(b.servers) == 0 {
		return errors.New("no server to measure")
	}
	return nil
}

func (b *bench) stop() error {
	err := b.stopRelays()
	for _, s := range b.servers {
		err = errors.Join(err, s.stop())
	}
	return err
}

func (b *bench) startMaildird(ctx context.Context) (*server, error) {
	note("building maildird")
	binary, err := rig.Build(b.dir, false)
	if err != nil {
		return nil, err
	}
	m, err := rig.InitMaildird(binary, accounts, manyConnections...)
	if err != nil {
		return nil, err
	}
	s := &server{name: oursName, root: m.Dir, stop: m.Close, processes: func() []int { return []int{m.Process.Process.Pid} }}
	serve := func() error {
		if err := m.Start(ctx); err != nil {
			return err
		}
		s.imap, s.lmtp, s.smtp = m.Address("imap"), m.Address("lmtp"), m.Address("smtp")
		return nil
	}
	s.halt = func() error { return m.Stop(stopTime) }
	s.restart = func(context.Context) error {
		if err := s.halt(); err != nil {
			return err
		}
		return serve()
	}
	if err := serve(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(m.Dir))
	}
	return s, nil
}

func startDovecot(ctx context.Context, optimized bool) (*server, error) {
	extra := dovecotLimits
	if optimized {
		extra += "mail_fsync = optimized\n"
	}
	d, err := rig.StartDovecot(ctx, rig.DovecotOptions{Accounts: accounts, Extra: extra})
	if err != nil {
		return nil, err
	}
	return &server{
		name: dovecotName, imap: d.IMAP, lmtp: d.LMTP, root: d.Dir, stop: d.Close,
		processes: func() []int { return []int{d.Process.Process.Pid} },
		halt:      func() error { _ = d.Stop(stopTime); return nil }, // the signal is reported as an error
		restart:   func(ctx context.Context) error { return d.Restart(ctx) },
	}, nil
}

// home returns the Maildir of a user.
func (s *server) home(user string) string {
	return filepath.Join(s.root, "mail", "example.org", localPart(user))
}

// fresh creates a folder of the reader that no server has seen, with hard links to the corpus.
// It returns a logged-in client, and the name and path of the folder.
func (b *bench) fresh(s *server) (c *imapClient, name, path string, err error) {
	if c, err = dialIMAP(s); err != nil { // creates the Maildir
		return nil, "", "", err
	}
	b.folders++
	name = fmt.Sprintf("F%d", b.folders)
	// A server may create the Maildir only at the first SELECT.
	if _, err := c.do("STATUS INBOX (MESSAGES)"); err != nil {
		c.close()
		return nil, "", "", err
	}
	path = filepath.Join(s.home(reader), "."+name)
	if err := link(b.corpus, path); err != nil {
		c.close()
		return nil, "", "", err
	}
	return c, name, path, nil
}

// selected is fresh, with the folder selected.
func (b *bench) selected(s *server) (c *imapClient, name, path string, err error) {
	if c, name, path, err = b.fresh(s); err != nil {
		return nil, "", "", err
	}
	if _, err = c.do("SELECT %s", name); err != nil {
		c.close()
		return nil, "", "", err
	}
	return c, name, path, nil
}

// link creates a Maildir folder at path with the messages of corpus.
func link(corpus, path string) error { return linkSome(corpus, path, -1) }

// linkSome is link for the first n messages, or all if n is negative.
func linkSome(corpus, path string, n int) error {
	for _, sub := range []string{"", "cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(path, sub), 0o700); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(path, "maildirfolder"), nil, 0o600); err != nil {
		return err
	}
	entries, err := os.ReadDir(filepath.Join(corpus, "cur"))
	if err != nil {
		return err
	}
	if n >= 0 {
		entries = entries[:min(n, len(entries))]
	}
	for _, e := range entries {
		if err := os.Link(filepath.Join(corpus, "cur", e.Name()), filepath.Join(path, "cur", e.Name())); err != nil {
			return err
		}
	}
	if err := rig.OwnDirs(path); err != nil {
		return err
	}
	// Make it look like a mailbox whose messages arrived a while ago. A server such as Dovecot,
	// which rereads a directory until its time lies some seconds in the past, would otherwise
	// be measured in this unusual state.
	for _, sub := range []string{"cur", "new"} {
		if err := os.Chtimes(filepath.Join(path, sub), settled, settled); err != nil {
			return err
		}
	}
	return nil
}

// settled is the time of the last change of the mailboxes' directories.
var settled = mailgen.Epoch
