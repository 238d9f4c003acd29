// Package maildir serves trees of Maildir folders: it finds an account's
// folders, opens them as mailboxes that sessions share, and accepts deliveries.
// It knows files, and nothing about network protocols, users or settings.
//
// A Store (maildir.go) is all Maildirs of a process; an Account (account.go) is one
// of them. An account is created for its owner (provision.go, owner.go), shared by all
// who use it, kept open for a while when nobody does (resting.go), and given up when its
// path leads elsewhere (moved.go). It provides:
//
//   - its mailboxes, each opened once however many sessions use it (open.go), and each with an
//     ID of its own (mailboxid.go);
//   - the directories that mail is delivered to (inbox.go);
//   - changes to its folders, of which open mailboxes are told (change.go), and news of
//     changes that others made (treewatch.go);
//   - what clients attach to mailboxes (metadata.go, accesskey.go).
//
// Work within one folder is in package mailbox, the format of a file in a package of
// that file's name, such as uidlist, and work on a whole Maildir in check, backup and
// restore. Code belongs here if it needs several of these, or several folders.
package maildir
