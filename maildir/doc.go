// Package maildir serves trees of Maildir folders: it finds an account's
// folders, opens them as mailboxes that sessions share, and takes deliveries.
// It knows files and nothing of network protocols, users or settings.
//
// A Store (maildir.go) is all Maildirs of a process, an Account (account.go) is one
// of them. It is made for its owner (provision.go, owner.go), shared by all who have
// it, kept open for a while when nobody has it (resting.go), and given up when its
// path leads elsewhere (moved.go). Of an account come:
//
//   - its mailboxes, each open once however many sessions have it (open.go);
//   - the directories that mail is delivered to (inbox.go);
//   - changes of its folders, which open mailboxes have to hear of (change.go), and
//     word of those that others made (treewatch.go);
//   - what clients attach to mailboxes (metadata.go, accesskey.go).
//
// What is done within one folder is package mailbox; what one file holds is a package
// of that file's name, such as uidlist; what a whole Maildir is looked through for is
// check, backup and restore. What is here needs several of them, or several folders.
package maildir
