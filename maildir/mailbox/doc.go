// Package mailbox implements one open mail folder: a table of its messages, kept in step
// with the files, and the view that each session has of it.
//
// The files belong to everyone. This is what other programs may do at any moment, and how
// the package deals with it:
//
//   - A directory that others change while it is being listed may omit a file or return it
//     twice. A scan counts as exact only if the times of new/ and cur/ did not change
//     during it; otherwise it is repeated, and a message is considered gone only if every
//     pass missed it and no file has its last known name. What only the last pass missed is
//     looked for again (scan.go).
//   - Directory times have a limited granularity. A scan made within that granularity of
//     the time it saw is not final (dirTimes in times.go).
//   - Dovecot assigns UIDs and moves files while holding dovecot-uidlist.lock. So does this
//     package, and it reads Dovecot's records before it adds its own (assign.go). Programs
//     that take no lock (mutt, cp, rsync) are handled by looking again: if a file is not
//     where it was, it is searched for by its base before it is reported gone (read.go).
//   - A rename arrives as two events, and the second may be late. If a name was moved away,
//     a scan looks for the file before it counts as gone; if a name was unlinked, the
//     message is gone unless another name for it appeared earlier (events.go).
//   - A file can disappear after it was found and before it is entered in the table. The
//     event that says so must not be mistaken for something that the table already knows
//     (expect in eventqueue.go).
//   - Another file can take a message's name, by one rename or in two steps, even while
//     nobody has the folder open. The table records each file's inode number, which
//     listings return, and the cache records the inode number of the file that its data
//     came from. Where they differ, the file is examined, and the cached data is dropped
//     unless the file has the length and time of the previous one, as a copy has
//     (events.go, cached.go). A change made in place is noticed when the file is read.
//   - A directory or a link can take a message's name: that is not a message (scan.go).
//   - Two different files can have the same base: the one found second gets a name and a
//     UID of its own (assign.go).
//   - A file that reappears never gets back a UID that a client may have seen vanish: it
//     gets a new one.
//   - Flags that others changed while nobody had the folder open get a mod-sequence when
//     somebody opens it: the history records what they were (settle.go).
//
// TestInterleaved makes most of these things happen right before each system call of each
// operation.
//
// A folder that was open before is not read again: the cache holds a snapshot of its table,
// which is read in pieces, as they are needed (snapshot.go). The snapshot is disposable,
// and the files always take precedence over it.
//
// This is where to find things, from the client down to the files. mailbox.go has the
// Mailbox type, opening and closing, and locking.
//
//   - A session's side: view.go, messages.go, updates.go, modseqview.go, find.go (SEARCH on
//     what the table knows), read.go (the text of a message), cached.go (what the cache has
//     of it, in the boxes of texts.go), ranking.go (the sort orders requested last), guid.go
//     (the identifiers of a message and of a mailbox that survive renaming); status.go
//     serves callers without a view.
//   - Changes: change.go has what all of them share; append.go, store.go, copy.go (with
//     copyfile.go), expunge.go and metadata.go have what differs. full.go defines what still
//     works on a full disk, foreign.go which files are left alone. dirs.go gives files their
//     names in new/ and cur/, and makes that durable; temps.go has what is in tmp/.
//   - Changes by others: watching.go asks for events, or polls, and eventqueue.go keeps them until
//     poll.go looks at the files on request; times.go tells whether anything changed since,
//     events.go processes single names, scan.go lists the directories, secondnames.go
//     handles files with several names, movenew.go moves new mail to cur/, and tell.go
//     notifies the views. alarms.go wakes them later, and pace.go limits what is done now
//     and then.
//   - The files beside the mail: keywords.go handles dovecot-keywords, uidlist.go reads
//     dovecot-uidlist, head.go has what clients are told of its header, assign.go assigns
//     UIDs, and record.go writes them. modseq.go tracks what differs from the history,
//     takehistory.go reads what other processes added to it, settle.go writes it, and
//     savedate.go handles save dates. The file formats are defined in the packages keywords,
//     uidlist and history.
//   - The table itself is package table. snapshot.go keeps it in the cache, together with
//     the rest of an open mailbox's state (snapstate.go).
//
// Locks are taken in this order: Mailbox.sync, which serialises everything that examines or
// changes the files; dovecot-uidlist.lock; Mailbox.mu, which guards the table and the views
// and is only held briefly. No two mailboxes are ever locked at the same time.
package mailbox
