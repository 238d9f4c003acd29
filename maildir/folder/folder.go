// Package folder maps mailbox names to the directories of a Maildir and back,
// in the layouts "maildir++" and "fs", and keeps what belongs to the tree and
// not to one folder: creation, removal and renaming, subscriptions and
// special-use attributes.
package folder

import (
	"errors"

	"maildird/maildir/dirfd"
)

// Errors that callers tell apart. The text of ErrName's wrapping error says
// what is wrong with the name.
var (
	ErrNotFound    = errors.New("no such mailbox")
	ErrExists      = errors.New("mailbox exists already")
	ErrName        = errors.New("mailbox name not possible")
	ErrHasChildren = errors.New("mailbox has children")
	ErrInbox       = errors.New("not possible with INBOX")
)

// Options say how names map to directories.
type Options struct {
	Layout    string // "maildir++" or "fs"
	Separator byte   // between levels, as clients see it: '/' or '.'
	Prefix    string // before every name but INBOX, such as "INBOX."; includes the separator
	// SpecialUse gives names their special-use attribute ("Sent Items":
	// "\\Sent") unless a client has set another one in the Maildir's own file.
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
	HasChildren bool
	Subscribed  bool
	SpecialUse  []string
}

// Tree is the folders of one account. Safe for concurrent use.
type Tree struct{}

// NewTree reads nothing yet; root stays the caller's.
func NewTree(root *dirfd.Dir, opt Options) *Tree { panic("not yet") }

// List gives all mailboxes, INBOX first, the others sorted by name.
func (t *Tree) List() ([]Entry, error) { panic("not yet") }

// Subscriptions gives the subscribed names, also those without a mailbox.
func (t *Tree) Subscriptions() ([]string, error) { panic("not yet") }

// SetSubscribed adds a name to the subscriptions or takes it away.
func (t *Tree) SetSubscribed(name string, on bool) error { panic("not yet") }

// Create makes a mailbox (and missing levels above it as NoSelect where the layout has such).
func (t *Tree) Create(name string, specialUse []string) error { panic("not yet") }

// Delete removes the mailbox's folder; its children stay.
func (t *Tree) Delete(name string) error { panic("not yet") }

// Rename renames the mailbox and its children, not INBOX.
func (t *Tree) Rename(from, to string) error { panic("not yet") }

// OpenDir opens the mailbox's directory; missing cur/new/tmp are created. ErrNotFound, ErrName.
func (t *Tree) OpenDir(name string) (*dirfd.Dir, error) { panic("not yet") }

// Canonical gives the one spelling of a name ("inbox" -> "INBOX", no trailing separator); ErrName with reason.
func (t *Tree) Canonical(name string) (string, error) { panic("not yet") }

// Separator is the hierarchy separator that clients see.
func (t *Tree) Separator() byte { panic("not yet") }

// Prefix is the namespace prefix.
func (t *Tree) Prefix() string { panic("not yet") }
