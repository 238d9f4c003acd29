// Package folder maps mailbox names to the directories of a Maildir and back, in the
// layouts "maildir++" and "fs", and handles what belongs to the whole tree rather than one
// folder: creating, deleting and renaming mailboxes, subscriptions and special-use
// attributes.
//
// The tree belongs to everyone. Other programs create, rename and remove folders at any
// moment, and a folder's owner may be hostile:
//
//   - What is on disk is looked up at every call; nothing is cached.
//   - Create, Delete, Rename, SetSpecialUse and Provision hold the lock that Dovecot holds
//     while it changes the tree (mailboxes.lock, see lock.go). Against programs that take no lock, system
//     calls are used that fail rather than overwrite.
//   - Directories are opened by handle, one level at a time. A symbolic link is not a
//     folder: it is neither listed nor opened, wherever it leads.
//   - Every change is durable before the call returns (Options.Fsync). A Rename in the layout maildir++
//     renames several directories; a crash halfway leaves each under its old or its new
//     name, and nothing is lost.
//   - A directory whose name is not a valid mailbox name (raw 8-bit text, a control
//     character, an empty level) is shown to clients under a substitute name (see show in
//     names.go) and keeps its name on disk.
//
// names.go converts between names and places on disk, with utf7.go; maildirpp.go and
// fslayout.go are the layouts. change.go creates, renames and deletes mailboxes,
// provision.go creates the first ones, and list.go lists them. complete.go creates what a
// folder lacks, trash.go removes a folder, and validity.go makes sure that its UIDVALIDITY
// is not reused. subscriptions.go and specialuse.go handle the files of the tree.
//
// A layout implements the interface layout, and NewTree chooses it. Elsewhere, layouts matter
// to package maildir (Account.flat: one watch sees all folders), to check (links.go: where a
// folder would be), and to server/config (check.go: their names).
package folder

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"maildird/maildir/dirfd"
)

// Errors that callers distinguish. The text of the error that wraps ErrName says what is
// wrong with the name.
var (
	ErrNotFound    = errors.New("no such mailbox")
	ErrExists      = errors.New("mailbox already exists")
	ErrName        = errors.New("mailbox name not allowed")
	ErrHasChildren = errors.New("mailbox has children")
	ErrInbox       = errors.New("not allowed for INBOX")
	ErrSpecialUse  = errors.New("special use not allowed") // RFC 6154 section 3: USEATTR
	// ErrLeftover means that a mailbox was deleted, but not all of its files could be
	// removed. It is meant for the log, not for the client.
	ErrLeftover = errors.New("the mailbox is deleted, but not all of its files are")
)

// The layouts of a Maildir's folders on disk.
const (
	LayoutMaildirPP = "maildir++" // A/B is the directory .A.B
	LayoutFS        = "fs"        // A/B is the directory A/B
)

// Options define how names map to directories.
type Options struct {
	Layout    string // "maildir++" or "fs"; there is no default
	Separator byte   // between levels, as clients see it: '/' or '.'; 0 means '/'
	Prefix    string // before every name except INBOX, such as "INBOX."; includes the separator
	// SpecialUse assigns special-use attributes to names ("Sent Items": "\\Sent"). An entry
	// has no effect if the Maildir's own file gives the attribute to an existing mailbox.
	// Names have '/' between levels and no prefix.
	SpecialUse map[string]string
	Fsync      bool // make changes durable
}

// Default is a folder that every new Maildir gets.
type Default struct {
	Name       string // with '/' between levels and without prefix
	SpecialUse string // "\\Sent" or ""
}

// Entry is one mailbox in a listing.
type Entry struct {
	Name        string // UTF-8, as clients see it
	NoSelect    bool   // a level that has no folder of its own
	NonExistent bool   // a NoSelect level that is not even a directory, but only implied by names below it
	HasChildren bool
	Subscribed  bool
	SpecialUse  []string // sorted
}

// Tree is the folders of one account. It is safe for concurrent use.
type Tree struct {
	root   *dirfd.Dir
	opt    Options
	layout layout
	now    func() time.Time
	sleep  func(time.Duration)
	patience

	log      *slog.Logger // nil: no logging
	troubled atomic.Bool  // the log already says that the subscriptions cannot be used

	lockTurn cancelableMutex // the right to try for, or hold, the tree's lock
	changing sync.RWMutex    // held for writing while directories are renamed, so that a listing by this process never sees half of a Rename
	fileTurn cancelableMutex // the right to rewrite one of the tree's own files
	// doubtful are those of them that could not be made durable. A second sync may wrongly
	// report success, so they are written again. Guarded by fileTurn.
	doubtful map[string]bool
}

// NewTree returns a Tree without reading anything. root still belongs to the caller. An
// unknown layout is an error.
func NewTree(root *dirfd.Dir, opt Options) (*Tree, error) {
	if opt.Separator == 0 {
		opt.Separator = '/'
	}
	sync := func(*dirfd.Dir) error { return nil }
	if opt.Fsync {
		sync = (*dirfd.Dir).Sync
	}
	t := &Tree{
		root: root, opt: opt, now: time.Now, sleep: time.Sleep, patience: defaultPatience,
		lockTurn: make(cancelableMutex, 1), fileTurn: make(cancelableMutex, 1), doubtful: map[string]bool{},
	}
	switch opt.Layout {
	case LayoutMaildirPP:
		t.layout = ppLayout{sync: sync}
	case LayoutFS:
		t.layout = fsLayout{sync: sync}
	default:
		return nil, fmt.Errorf("%s: unknown layout %q, it is %q or %q", root.Path(), opt.Layout, LayoutMaildirPP, LayoutFS)
	}
	return t, nil
}

// LogTo makes the tree log errors that its callers are not told. It must be called before
// any other method.
func (t *Tree) LogTo(log *slog.Logger) { t.log = log }

// Separator returns the hierarchy separator that clients see.
func (t *Tree) Separator() byte { return t.opt.Separator }

// Prefix returns the namespace prefix.
func (t *Tree) Prefix() string { return t.opt.Prefix }

// layout is one way to store folders on disk. at is never empty: INBOX is the root itself
// in every layout.
type layout interface {
	// separator returns the character between levels on disk, whatever clients see.
	separator() byte
	// refuse returns why no mailbox can be created at a place, "" if one can.
	refuse(at levels) string
	// open opens the directory at a place. It also returns fs.ErrNotExist for a symbolic
	// link and anything else that is not a directory.
	open(root *dirfd.Dir, at levels) (*dirfd.Dir, error)
	// selectable reports whether the directory of a place is a mailbox.
	selectable(d *dirfd.Dir) (bool, error)
	// scan calls f for each directory, in unspecified order.
	scan(root *dirfd.Dir, f func(at levels, selectable bool) error) error
	// create creates a mailbox, or returns ErrExists.
	create(root *dirfd.Dir, at levels) error
	// remove removes the mailbox from its place, or returns ErrNotFound or ErrHasChildren.
	// rest is the remaining work, such as emptying a trash directory: it needs no lock and
	// may take long.
	remove(root *dirfd.Dir, at levels) (rest func() error, err error)
	// rename moves a mailbox and those below it, or, for a mere level, just those below it.
	// It returns ErrNotFound or ErrExists.
	rename(root *dirfd.Dir, from, to levels) error
}

// OpenDir opens the mailbox's directory, and creates cur, new and tmp in it if they are
// missing. It returns ErrNotFound or ErrName. The caller closes the directory.
func (t *Tree) OpenDir(name string) (*dirfd.Dir, error) {
	at, d, err := t.locate(name)
	if err != nil {
		return nil, err
	}
	if len(at) > 0 {
		ok, err := t.layout.selectable(d)
		if err == nil && !ok {
			err = fmt.Errorf("%w: %q is only a level above other mailboxes", ErrNotFound, name)
		}
		if err != nil {
			_ = d.Close()
			return nil, err
		}
	}
	if err := t.complete(at, d); err != nil {
		_ = d.Close()
		return nil, err
	}
	return d, nil
}

func makeDir(d *dirfd.Dir, name string, rights dirfd.Rights) error {
	sub, err := d.MkdirAs(name, rights)
	if err != nil {
		return err
	}
	return sub.Close()
}

// isMissing reports whether the error of a lookup means that there is no directory with that
// name.
func isMissing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) ||
		errors.Is(err, unix.ENAMETOOLONG) || errors.Is(err, dirfd.ErrBadName)
}

// locate finds the directory of an existing mailbox or level. It also returns ErrNotFound
// for a name that is only implied by those below it. at is empty for INBOX.
func (t *Tree) locate(name string) (at levels, d *dirfd.Dir, err error) {
	text, err := t.parse(name)
	if err != nil {
		return nil, nil, err
	}
	if len(text) == 0 {
		d, err = t.root.Dup()
		return nil, d, err
	}
	at = encode(text)
	d, err = t.layout.open(t.root, at)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return at, d, err
	}
	if odd, ok, err := t.search(text); err != nil {
		return nil, nil, err
	} else if ok {
		d, err = t.layout.open(t.root, odd)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return odd, d, err
		}
	}
	return nil, nil, fmt.Errorf("%w: %q", ErrNotFound, name)
}
