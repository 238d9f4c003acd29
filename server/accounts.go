package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"maildird/auth"
	"maildird/maildir"
	"maildird/maildir/delivery"
	"maildird/maildir/dirfd"
	"maildird/maildir/quota"
	"maildird/server/config"
)

// accounts opens the Maildirs of users.
type accounts struct {
	mail  config.Mail
	store *maildir.Store
}

// open opens the Maildir of a user, and creates it if it does not exist. The
// caller must release it.
func (a *accounts) open(ctx context.Context, u auth.User) (*maildir.Account, error) {
	return a.account(ctx, u, false)
}

// existing is like open, but never creates a Maildir.
func (a *accounts) existing(ctx context.Context, u auth.User) (*maildir.Account, error) {
	return a.account(ctx, u, true)
}

func (a *accounts) account(ctx context.Context, u auth.User, existing bool) (*maildir.Account, error) {
	root, err := a.mail.Location.Expand(u.Name, u.Home)
	if err != nil {
		return nil, err
	}
	return a.store.Account(ctx, maildir.AccountOptions{
		Root: root, Folder: a.mail.Folder, Defaults: a.mail.Defaults, Existing: existing, Quota: a.quota(u), Owner: owner(u),
	})
}

// owner returns the system user who owns the mail of a user, if this process acts for several
// system users, or else nil: then the process owns all files that it creates.
func owner(u auth.User) *maildir.Owner {
	if os.Geteuid() != 0 || u.UID < 0 {
		return nil
	}
	return &maildir.Owner{UID: u.UID, GID: u.GID, Home: u.Home}
}

// quota returns the limit of a user: his own, or the common one.
func (a *accounts) quota(u auth.User) quota.Limit {
	if u.Quota != nil {
		return quota.Limit{Bytes: u.Quota.Bytes, Messages: u.Quota.Messages}
	}
	return quota.Limit{Bytes: a.mail.Quota, Messages: a.mail.QuotaMessages}
}

// room returns quota.ErrOver or quota.ErrNever if a user has no room for so many copies of a message
// of size bytes. It does not create a Maildir.
func (a *accounts) room(ctx context.Context, u auth.User, size int64, copies int) error {
	size *= int64(copies)
	account, err := a.existing(ctx, u)
	if errors.Is(err, fs.ErrNotExist) {
		if l := a.quota(u).Bytes; l > 0 && size > l {
			return quota.ErrNever
		}
		return nil
	}
	if err != nil {
		return err
	}
	defer account.Release()
	return account.Quota().Room(size, int64(copies))
}

// inbox opens the folder for new mail of a user.
func (a *accounts) inbox(ctx context.Context, u auth.User) (delivery.Dirs, func(), error) {
	account, err := a.open(ctx, u)
	if err != nil {
		return delivery.Dirs{}, nil, err
	}
	dirs, release, err := account.Inbox()
	if err != nil {
		account.Release()
		return delivery.Dirs{}, nil, fmt.Errorf("open INBOX of %s: %w", u.Name, err)
	}
	return dirs, func() {
		release()
		account.Release()
	}, nil
}

// freeSpace returns the number of free bytes where mail is stored.
func (a *accounts) freeSpace() (uint64, error) {
	path := a.mail.Location.Fixed()
	for {
		bytes, err := dirfd.FreeBytesAt(path)
		if errors.Is(err, fs.ErrNotExist) && path != filepath.Dir(path) {
			path = filepath.Dir(path) // the first Maildir will create it
			continue
		}
		return bytes, err
	}
}
