// Package folder maps mailbox names to the directories of a Maildir and back,
// in the layouts "maildir++" and "fs", and keeps what belongs to the tree and
// not to one folder: creation, removal and renaming, subscriptions and
// special-use attributes.
//
// The tree belongs to everyone. Other programs create, rename and remove
// folders at any moment, and a folder's owner may be hostile:
//
//   - What is on disk is looked up at every call; nothing is cached.
//   - Create, Delete, Rename and Provision hold the lock that Dovecot holds
//     for the same work (mailboxes.lock, see lock.go). Programs that take no
//     lock are met by system calls that fail rather than overwrite.
//   - Directories are reached by handle, one level at a time. A symbolic link
//     is no folder: it is neither listed nor opened, wherever it leads.
//   - Every change is made durable before the call returns. A Rename in the
//     layout maildir++ renames several directories; a crash in the middle
//     leaves each under its old or its new name, and nothing lost.
//   - A directory whose name is no mailbox name (raw 8-bit text, a control
//     character, an empty level) gets a visible name by which clients reach it
//     (see show in names.go), and keeps its name on disk.
//
// names.go turns names into places on disk and back, with utf7.go; maildirpp.go and
// fslayout.go are the layouts, which a third one would stand beside. change.go creates,
// renames and deletes mailboxes, provision.go makes the first ones, list.go lists them.
// complete.go makes what a folder lacks, trash.go removes one, and validity.go sees to
// it that its UIDVALIDITY is not given again. subscriptions.go and specialuse.go are
// files of the tree.
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

// Errors that callers tell apart. The text of ErrName's wrapping error says
// what is wrong with the name.
var (
	ErrNotFound    = errors.New("no such mailbox")
	ErrExists      = errors.New("mailbox already exists")
	ErrName        = errors.New("mailbox name not allowed")
	ErrHasChildren = errors.New("mailbox has children")
	ErrInbox       = errors.New("not allowed for INBOX")
	ErrSpecialUse  = errors.New("special use not allowed") // RFC 6154 section 3: USEATTR
	// ErrLeftover says that a mailbox is deleted, but not all of its files
	// could be removed: for the log, not for the client.
	ErrLeftover = errors.New("the mailbox is deleted, but not all of its files are")
)

// Layouts of a Maildir's folders on disk.
const (
	LayoutMaildirPP = "maildir++" // A/B is the directory .A.B
	LayoutFS        = "fs"        // A/B is the directory A/B
)

// Options say how names map to directories.
type Options struct {
	Layout    string // "maildir++" or "fs"; there is no default
	Separator byte   // between levels, as clients see it: '/' or '.'
	Prefix    string // before every name but INBOX, such as "INBOX."; includes the separator
	// SpecialUse gives names their special-use attribute ("Sent Items":
	// "\\Sent") unless the Maildir's own file gives the attribute to an
	// existing mailbox. Names have '/' between levels and no prefix.
	SpecialUse map[string]string
	Fsync      bool
}

// Default is a folder that a new Maildir gets.
type Default struct {
	Name       string // with '/' between levels and without prefix
	SpecialUse string // "\\Sent" or ""
}

// Entry is one mailbox of a listing.
type Entry struct {
	Name        string // UTF-8, as clients see it
	NoSelect    bool   // a level that has no folder of its own
	NonExistent bool   // a NoSelect level that is not even a directory: only names below it imply it
	HasChildren bool
	Subscribed  bool
	SpecialUse  []string // sorted
}

// Tree is the folders of one account. Safe for concurrent use.
type Tree struct {
	root   *dirfd.Dir
	opt    Options
	layout layout
	now    func() time.Time
	sleep  func(time.Duration)
	patience

	log      *slog.Logger // nil: nothing is logged
	troubled atomic.Bool  // the log was told that the subscriptions cannot be used

	one      turn         // of who wants or has the lock of the tree
	changing sync.RWMutex // held for writing while directories get new names, so that a listing by this process sees no half of a Rename
	files    turn         // of who rewrites one of the tree's own files
	// doubtful are those of them that could not be made durable. Another sync may say that
	// all is well and be wrong: they are written anew. Guarded by files.
	doubtful map[string]bool
}

// NewTree reads nothing yet; root stays the caller's. A layout that is none of the
// two is an error.
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
		one: make(turn, 1), files: make(turn, 1), doubtful: map[string]bool{},
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

// LogTo has the tree log what its clients are not told. Call it before anything else.
func (t *Tree) LogTo(log *slog.Logger) { t.log = log }

// Separator is the hierarchy separator that clients see.
func (t *Tree) Separator() byte { return t.opt.Separator }

// Prefix is the namespace prefix.
func (t *Tree) Prefix() string { return t.opt.Prefix }

// layout is one way to keep folders on disk. at is never empty: INBOX is the
// root itself in every layout.
type layout interface {
	// separator stands between levels on disk, whatever clients see.
	separator() byte
	// refuse says why no mailbox can be made at a place, "" if one can.
	refuse(at levels) string
	// open opens the directory at a place. fs.ErrNotExist also stands for a
	// symbolic link and anything else that is no directory.
	open(root *dirfd.Dir, at levels) (*dirfd.Dir, error)
	// selectable tells whether the directory of a place is a mailbox.
	selectable(d *dirfd.Dir) (bool, error)
	// scan calls f for each directory, in no certain order.
	scan(root *dirfd.Dir, f func(at levels, selectable bool) error) error
	// create makes a mailbox; ErrExists.
	create(root *dirfd.Dir, at levels) error
	// remove takes the mailbox away from its place; ErrNotFound,
	// ErrHasChildren. What is left to do, such as emptying a trash directory,
	// it returns: it needs no lock and may take long.
	remove(root *dirfd.Dir, at levels) (rest func() error, err error)
	// rename moves a mailbox and those below it, or those alone; ErrNotFound,
	// ErrExists.
	rename(root *dirfd.Dir, from, to levels) error
}

// OpenDir opens the mailbox's directory; missing cur/new/tmp are created.
// ErrNotFound, ErrName. The caller closes it.
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

// notThere tells whether an error of a lookup says that there is no directory
// of that name.
func notThere(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) ||
		errors.Is(err, unix.ENAMETOOLONG) || errors.Is(err, dirfd.ErrBadName)
}

// locate finds the directory of an existing mailbox or level; ErrNotFound also for a
// name that those below it only imply. at is empty for INBOX.
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
