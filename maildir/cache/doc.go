// Package cache keeps what was read of messages, so that their files need not be opened
// again: sizes, dates, headers, the structure, and what a protocol derives from them, as
// octets that have no meaning here. It is disposable. If a mailbox's cache is missing,
// damaged or of another version, the mailbox is served as if it never had one.
//
// A mailbox has two files in the cache directory, named by a hash of the account and the
// GUID in its dovecot-uidlist, and two more with the sort keys of its messages (Order),
// which are read for many messages at once:
//
//   - NAME.data has the records, one after another, in the order in which they were added;
//   - NAME.index has an entry of 64 bytes for each record, with what FETCH asks for most
//     often (size, date), and is read in one go.
//
// Both files start with a header that contains the same random number. Every entry and
// every record has a checksum over itself and that number, so that what was not completely
// written before a crash, what belongs to earlier files, and what anybody modified is
// ignored. Nothing is ever synced.
//
// An entry is only valid for a message that has its UID and the base of its file name: a
// base is unique, and the text under it never changes. Since another program may still put
// a different file there, the entry also records which file it is from, by inode number and
// length in addition to the time (source.go). If the mailbox has a file with another inode
// number, that file is examined. Whoever opens a file compares size and time, see Record.
// Outdate records that the text is a different one, also for processes that read the files
// later.
//
// Several processes may use the same files. A process that adds data holds an flock on the
// index while it makes two writes, after reading what others added; if it does not get the
// lock at once, it adds nothing. So records are never mixed, and no writer needs a file of
// its own, which nobody would clean up. The lock ends with its holder. A process that
// replaces the files renames new ones into place under the same lock; the others notice
// that when they add data.
//
// There is a third kind of file, which is always replaced as a whole, for whatever else
// other packages want to cache (whole.go).
//
// record.go defines the format of records and entries, and their version, Format. files.go
// finds, creates and appends to the files. box.go is what is known of an open mailbox,
// source.go identifies the file that data came from, window.go reads records, compact.go
// compacts the files, and store.go has what all mailboxes of the process share.
package cache
