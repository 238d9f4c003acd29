// Package cache keeps what was read of messages, so that they need not be
// opened again: sizes, dates, headers, the structure, and what a protocol makes
// of them, as octets that mean nothing here. It is disposable. A mailbox whose
// cache is gone, damaged or of another version is served as if it never had one.
//
// Of a mailbox's messages there are two files in the directory of the cache, named
// by a hash of the account and the GUID of its dovecot-uidlist, and two more with
// what messages are put in an order by (Order), which is read of many at once:
//
//   - NAME.data holds records, one after the other, as they were added;
//   - NAME.index holds an entry of 64 bytes for each record, with what FETCH
//     asks most often (size, date), and is read in one go.
//
// Both begin with a header that has a random number in common. Every entry and
// every record has a checksum over itself and that number, so that what a crash
// left unwritten, what belongs to files before these, and what anyone changed is
// passed over. Nothing is ever synced.
//
// An entry counts only for a message that has its UID and the base of its file
// name: a base is unique, and a message's text never changes under it. Another program
// may put another file there all the same, so the entry says of which file it is, by
// inode number and length beside the time (source.go). If the mailbox has a file with
// another inode number, it is looked at. Whoever opens a file compares size and time, see
// Record. Outdate says that it is another text, for those who read the files later too.
//
// Several processes may use the same files. Whoever adds holds an flock on the
// index for the moment of two writes, and reads first what others added; whoever
// does not get the lock at once adds nothing. So records are never mixed, and
// no writer needs a file of its own, which nobody would clean up after it. The
// lock ends with its holder. Who replaces the files renames new ones into their
// place under the same lock; the others find that out when they add.
//
// Files of a third kind are replaced as a whole, for what others want to keep
// beside it (whole.go).
//
// record.go is the format: what a record and an entry have, and Format, their version;
// files.go finds, makes and appends to the files. box.go is what a mailbox knows of them,
// source.go of which file it is, window.go reads records, compact.go writes the files anew, and store.go has what all
// mailboxes of the process share.
package cache
