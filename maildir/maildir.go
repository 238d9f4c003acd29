// Package maildir serves trees of Maildir folders: it finds an account's
// folders, opens them as mailboxes that sessions share, and takes deliveries.
// It knows files and nothing of network protocols.
package maildir

import (
	"context"
	"log/slog"
	"time"

	"maildird/maildir/delivery"
	"maildird/maildir/folder"
	"maildird/maildir/mailbox"
)

// Options are the settings of a Store.
type Options struct {
	Host  string // host part of file names and of lock files
	Fsync bool
	Log   *slog.Logger
	Now   func() time.Time // nil: time.Now
}

// Store is all Maildirs that this process serves.
type Store struct{}

// NewStore starts the file-system watcher that all accounts share.
func NewStore(opt Options) (*Store, error) { panic("not yet") }

// Close ends all background work. Mailboxes must have been released.
func (s *Store) Close() error { panic("not yet") }

// AccountOptions say how one account's Maildir is laid out.
type AccountOptions struct {
	Root     string // absolute path of the Maildir
	UID, GID int    // owner of what is created; -1: this process
	Folder   folder.Options
	// Defaults are folders to create and subscribe when the Maildir itself
	// is created. In an existing one nothing is created.
	Defaults []folder.Default
}

// Account is one user's Maildir. Safe for concurrent use.
type Account struct{}

// Account opens the Maildir at opt.Root and creates it if it is missing. The
// same root gives the same Account while one is open.
func (s *Store) Account(ctx context.Context, opt AccountOptions) (*Account, error) { panic("not yet") }

// Release gives the account back.
func (a *Account) Release() {}

// Tree returns the account's folders.
func (a *Account) Tree() *folder.Tree { panic("not yet") }

// Open opens the mailbox with this name (UTF-8, wire separator and prefix);
// folder.ErrNotFound if there is none. Release it when done.
func (a *Account) Open(ctx context.Context, name string) (*mailbox.Mailbox, error) { panic("not yet") }

// Delete removes a mailbox. Sessions that have it open see it emptied and then get mailbox.ErrReplaced from Poll.
func (a *Account) Delete(ctx context.Context, name string) error { panic("not yet") }

// Rename renames a mailbox and its children; renaming INBOX moves its messages to a new mailbox (RFC 9051 6.3.6).
func (a *Account) Rename(ctx context.Context, from, to string) error { panic("not yet") }

// Inbox opens the directories that a delivery writes to. Close them when done.
func (a *Account) Inbox() (delivery.Dirs, error) { panic("not yet") }

// DeliveryOptions returns what the delivery package needs.
func (s *Store) DeliveryOptions() *delivery.Options { panic("not yet") }
