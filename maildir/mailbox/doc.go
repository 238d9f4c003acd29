// Package mailbox is one open mail folder: the table of its messages, kept in
// step with the files, and the view that each session has of it.
//
// The files belong to everyone. What other programs may do at any moment, and
// what is done about it:
//
//   - A directory that others change while it is listed can miss a file or give
//     one twice. A scan counts as exact only if the times of new/ and cur/ stood
//     still meanwhile; otherwise it is repeated, and a message is taken for gone
//     only if every pass missed it and its last name is free (scan.go).
//   - A directory's time has a grain. A scan that happened within the grain of
//     the time it saw does not count as final (dirTimes in scan.go).
//   - Dovecot assigns UIDs and moves files under dovecot-uidlist.lock. So do we,
//     and read its records before we add ours (assign.go). Programs that take no
//     lock (mutt, cp, rsync) are met by looking again: a file that is not where
//     it was is looked for by its base before anyone says that it is gone (read.go).
//   - A rename arrives as two events, of which the second may be late. A name
//     that moved away is searched by a scan before it counts as gone; a name
//     that was unlinked is gone when no other name of it appeared before (events.go).
//   - A file can go between the look that found it and its entry in the table: that
//     it went is then not taken for what the table knows already (expect in eventqueue.go).
//   - Another file can get a message's name, by one rename or in two steps, also while
//     nobody has the folder open. The table knows each file's inode number, which
//     listings give, and the cache that of the file of which it has something. Where
//     they differ the file is looked at, and what the cache has is dropped unless the
//     file has the length and time of the one before, as a copy has (events.go,
//     cached.go). What is changed in place shows when the file is read.
//   - A directory or a link can get a message's name: that is no message (scan.go).
//   - A base that appears twice as two files: the one met second gets a name and
//     a UID of its own (assign.go).
//   - A UID that a client may have seen vanish is never given back to a file
//     that reappears: it gets a new one.
//   - Flags that others changed while nobody looked get a mod-sequence when
//     somebody does: the history knows what they were (settle.go).
//
// TestInterleaved has most of what they may do happen right before each system call of
// each operation.
//
// A folder that was open before is not read again: a snapshot of its table lies
// in the cache and is read in pieces, as they are asked for (snapshot.go). It is
// disposable, and never knows better than the files.
//
// Where what is, from the client down to the files; mailbox.go has the Mailbox
// itself, what opens and closes it, and its lock:
//
//   - A session's side: view.go, messages.go, updates.go, modseqview.go, find.go
//     (SEARCH by what the table knows), read.go (the text of a message), cached.go
//     (what the cache has of it), ranking.go (the orders that were asked for last),
//     guid.go (what a message and a mailbox are known by under any name); status.go
//     for those who have no view.
//   - Changes: change.go is what all have in common, append.go, store.go, copy.go,
//     expunge.go and metadata.go are what differs; full.go says what a full disk still
//     lets them do, durable.go what they sync, foreign.go which files are not touched.
//   - What others did: watching.go hears of it, eventqueue.go keeps it until poll.go
//     looks, as somebody asks; events.go works off single names, scan.go lists the
//     directories, tell.go tells the views.
//   - The files beside the mail: keywords.go has dovecot-keywords, uidlist.go reads
//     dovecot-uidlist, assign.go gives UIDs, record.go writes them; modseq.go notes
//     what differs from the history, takehistory.go reads what other processes added,
//     settle.go writes, and savedate.go does so for save dates. Their formats are those
//     of the packages keywords, uidlist and history.
//   - The table itself is package table; snapshot.go keeps it in the cache, with
//     what else an open mailbox knows (snapstate.go).
//
// Locks are taken in this order: Mailbox.sync, which serialises everything that
// looks at or changes the files; dovecot-uidlist.lock; Mailbox.mu, held for
// moments only, which guards table and views. Two mailboxes are never locked
// at once.
package mailbox
