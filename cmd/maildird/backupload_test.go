package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-smtp"

	"maildird/maildir/filename"
	"maildird/scripts/rig"
)

// loadFolders are the folders of the load, as directories, in the order in which
// messages move through them.
var (
	loadFolders = []string{"", ".A", ".A.B", ".Z"}
	loadNames   = []string{"INBOX", "A", "A/B", "Z"}
)

var loadUser = rig.Account{Address: "alice@example.org", Password: "secret"}

// load is a maildird under load by real clients and by a program that changes
// files as mutt does.
type load struct {
	t      *testing.T
	server *rig.Maildird
	home   string
	ledger *ledger
	serial atomic.Int64
	// If metered is set, each action uses up one of a given number of turns, so that the amount
	// of work during a pass of rsync does not depend on the speed of the machine.
	metered atomic.Bool
	turns   chan struct{}
	stop    chan struct{}
	actors  sync.WaitGroup
}

// actorOf returns the actor who flags, moves and expunges a message: one of the two IMAP
// clients, or the program that works on the files.
func actorOf(id string) int {
	n := 0
	if _, err := fmt.Sscanf(id, "m%d@", &n); err != nil {
		return -1
	}
	return n % 3
}

const fileActor = 2

func startLoad(t *testing.T, binary string) *load {
	server, err := rig.InitMaildird(binary, []rig.Account{loadUser})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := server.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	l := &load{t: t, server: server, home: server.Home(loadUser.Address), ledger: newLedger(), turns: make(chan struct{}, 1000), stop: make(chan struct{})}
	l.deliverers(0, 100) // the first messages, before anything else
	c := l.login()
	for _, name := range loadNames[1:] {
		if err := c.Create(name, nil).Wait(); err != nil {
			t.Fatal(err)
		}
	}
	c.Close()
	l.drop(filepath.Join(l.home, loadFolders[1], "cur"), 600)
	l.start(func() { l.deliverers(50*time.Millisecond, 0) })
	l.start(func() { l.imap(0) })
	l.start(func() { l.imap(1) })
	l.start(l.files)
	return l
}

func (l *load) start(act func()) { l.actors.Go(act) }

func (l *load) end() {
	close(l.stop)
	l.actors.Wait()
}

// drop writes messages to a directory as cp does.
func (l *load) drop(dir string, count int) {
	for range count {
		n := l.serial.Add(1)
		id := fmt.Sprintf("m%d@example.org", n)
		path := filepath.Join(dir, fmt.Sprintf("1700000000.M%dP1.old:2,", n))
		if err := os.WriteFile(path, []byte(messageText(id, "\n")), 0o600); err != nil {
			l.t.Fatal(err)
		}
		l.ledger.acknowledged(id)
	}
	if err := rig.Own(dir); err != nil {
		l.t.Fatal(err)
	}
}

func messageText(id, end string) string {
	return strings.ReplaceAll("From: sender@example.com\nMessage-ID: <"+id+">\nSubject: "+id+"\n\nText.\n", "\n", end)
}

// pause waits a moment and reports whether to continue.
func (l *load) pause(d time.Duration) bool {
	select {
	case <-l.stop:
		return false
	case <-time.After(rand.N(2*d + 1)):
	}
	if !l.metered.Load() {
		return true
	}
	select {
	case <-l.stop:
		return false
	case <-l.turns:
		return true
	}
}

// meter grants a number of turns.
func (l *load) meter(turns int) {
	l.metered.Store(true)
	for range turns {
		select {
		case l.turns <- struct{}{}:
		default:
			return
		}
	}
}

// deliverers deliver messages by LMTP: the given number, or until the end.
func (l *load) deliverers(pause time.Duration, count int) {
	conn, err := net.Dial("tcp", l.server.Address("lmtp"))
	if err != nil {
		l.t.Error(err)
		return
	}
	c := smtp.NewClientLMTP(conn)
	defer c.Close()
	for n := 0; (count == 0 || n < count) && l.pause(pause); n++ {
		id := fmt.Sprintf("m%d@example.org", l.serial.Add(1))
		if err := deliver(c, id); err != nil {
			l.t.Errorf("LMTP: %v", err)
			return
		}
		l.ledger.acknowledged(id)
	}
}

func deliver(c *smtp.Client, id string) error {
	if err := c.Mail("sender@example.com", nil); err != nil {
		return err
	}
	if err := c.Rcpt(loadUser.Address, nil); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write([]byte(messageText(id, "\r\n"))); err != nil {
		return err
	}
	return w.Close()
}

func (l *load) login() *imapclient.Client {
	c, err := imapclient.DialInsecure(l.server.Address("imap"), nil)
	if err != nil {
		l.t.Fatal(err)
	}
	if err := c.Login(loadUser.Address, loadUser.Password).Wait(); err != nil {
		l.t.Fatal(err)
	}
	return c
}

// imap is a client that flags, moves and expunges its messages.
func (l *load) imap(me int) {
	c := l.login()
	defer c.Close()
	for l.pause(2 * time.Millisecond) {
		at := rand.N(len(loadNames))
		box, err := c.Select(loadNames[at], nil).Wait()
		if err != nil {
			l.t.Errorf("SELECT: %v", err)
			return
		}
		if box.NumMessages == 0 {
			continue
		}
		first := 1 + rand.Uint32N(box.NumMessages)
		var set imap.SeqSet
		set.AddRange(first, min(first+9, box.NumMessages))
		found, err := c.Fetch(set, &imap.FetchOptions{UID: true, Envelope: true}).Collect()
		if no := (*imap.Error)(nil); errors.As(err, &no) && no.Type == imap.StatusResponseTypeNo {
			continue // RFC 2180 section 4.1: the others expunged some of them
		}
		if err != nil {
			l.t.Errorf("FETCH: %v", err)
			return
		}
		for _, m := range found {
			if m.Envelope == nil || actorOf(m.Envelope.MessageID) != me || !l.ledger.known(m.Envelope.MessageID) {
				continue
			}
			if err := l.imapAct(c, at, m.Envelope.MessageID, imap.UIDSetNum(m.UID)); err != nil {
				l.t.Errorf("IMAP: %v", err)
				return
			}
		}
	}
}

func (l *load) imapAct(c *imapclient.Client, at int, id string, uid imap.UIDSet) error {
	switch n := rand.N(100); {
	case n < 8 && at+1 < len(loadNames):
		return l.ledger.move(id, func() error {
			_, err := c.Move(uid, loadNames[at+1+rand.N(len(loadNames)-at-1)]).Wait()
			return err
		})
	case n < 10:
		return l.ledger.expunge(id, func() error {
			add := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}
			return errors.Join(c.Store(uid, add, nil).Close(), c.UIDExpunge(uid).Close())
		})
	}
	var flags []imap.Flag
	var text []string
	for _, f := range []imap.Flag{"$label1", imap.FlagAnswered, imap.FlagFlagged, imap.FlagSeen} {
		if rand.N(2) == 0 {
			flags, text = append(flags, f), append(text, string(f))
		}
	}
	slices.Sort(text)
	return l.ledger.flag(id, strings.Join(text, " "), func() error {
		return c.Store(uid, &imap.StoreFlags{Op: imap.StoreFlagsSet, Silent: true, Flags: flags}, nil).Close()
	})
}

// files renames messages without a lock, as mutt does, and moves some to other
// folders, as mv does.
func (l *load) files() {
	for l.pause(2 * time.Millisecond) {
		at := rand.N(len(loadFolders))
		cur := filepath.Join(l.home, loadFolders[at], "cur")
		names, err := os.ReadDir(cur)
		if err != nil || len(names) == 0 {
			continue
		}
		name := names[rand.N(len(names))].Name()
		id, err := l.ledger.idOf(filepath.Join(cur, name))
		if err != nil || actorOf(id) != fileActor || !l.ledger.known(id) {
			continue
		}
		if rand.N(100) < 10 && at+1 < len(loadFolders) {
			err = l.ledger.move(id, func() error {
				return os.Rename(filepath.Join(cur, name), filepath.Join(l.home, loadFolders[at+1], "cur", name))
			})
		} else {
			f, text := filename.Flags(0), []string{}
			if rand.N(2) == 0 {
				f, text = f|filename.Flagged, append(text, `\Flagged`)
			}
			if rand.N(2) == 0 {
				f, text = f|filename.Seen, append(text, `\Seen`)
			}
			err = l.ledger.flag(id, strings.Join(text, " "), func() error {
				return os.Rename(filepath.Join(cur, name), filepath.Join(cur, filename.WithFlags(name, f)))
			})
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			l.t.Errorf("rename: %v", err)
			return
		}
	}
}

// note records the contents of the live uidlists in the ledger.
func (l *load) note(what string) {
	for _, folder := range loadFolders {
		l.ledger.note(l.t, what, folder, filepath.Join(l.home, folder))
	}
}
