// Package backup makes a copy of one Maildir as it was at one moment, while other programs
// continue to deliver, flag, move and expunge mail in it.
//
// A copy by rsync or tar cannot do that: if a directory is listed while files in it are
// being renamed, a file may not appear in the listing under any name, and a message that
// moves from a folder that was not copied yet to one that was already is missing from both.
//
// How it works: before a directory (new/ or cur/) is listed for the first time, the kernel
// is asked to queue an event for each name that is added or removed there (inotify). The
// result of the listing, corrected by the events since, is the content of the directory,
// however fast names change and whether or not the programs that change them take locks.
//
//   - Pass 1 copies most of the data folder by folder, without a lock. Then each folder is
//     visited while holding its dovecot-uidlist.lock, for about 25 ms at a time (slice.go):
//     changes reported by events are copied, messages without a UID get one, as from any
//     reader, and the uidlist, keywords and other files are copied. A directory that has to
//     be listed later, as in a folder that was renamed, is also copied without a lock first.
//   - Each further pass locks all folders with changes at once, reads the event queue until
//     it is empty, and brings the copy to that moment, s. Names that were removed are
//     removed from the copy too. If a name appeared and disappeared again before its file
//     could be copied, it is created from the same message in the copy, which is identified
//     by its base. If another file took a name, it is copied again (TestReplaced).
//   - It was the last pass if no folder outside of it had changes at s, if all names could
//     be created, if none of its directories had to be listed after s (TestListedLate), and
//     if the tree of folders is still the one that was copied, according to two listings of
//     it that agree (TestInterleave), with the same new and cur in each (TestSwapped).
//
// Why no message is missing: a message that existed at s was in some directory D at that
// moment. Either it came to D before D was listed and stayed, and the listing returned it;
// or it came later, and an event reported it. In both cases its name is in the copy, or the
// pass was not the last one. It does not matter how often the message was moved before, by
// whom, in which order folders were visited, or whether the program that moved it takes
// locks. A move is either a link at the destination followed by an unlink at the source, or
// a rename, whose two events are never on different sides of s (TestHalfMove). So there is
// no moment at which a message is in no directory; at s it may be in two, and is then in
// two in the copy. The locks are needed for the other files: the contents of the uidlist
// and keywords belong to the names of that moment. (TestMoveNeverInNone; end to end:
// cmd/maildird, TestBackupUnderLoad.)
//
// If events are not available, or do not cover other machines (NFS), the modification times
// of the directories are used instead: a listing is valid if the time was the same before
// and after it, and older than the kernel's clock tick when the listing began. The last
// pass is the one that finds all times as they were at the listings, while the folders that
// change are locked. Programs that take no lock must then pause for some milliseconds now
// and then. If there is no such pause for minutes, the result is not an incomplete snapshot
// but an error that names the folder.
//
// What the copy contains: messages are hard links if the snapshot is on the same file
// system (message files are never written in place) and they belong to the owner of their
// directory (TestForeign), otherwise hard links to the same file in the previous snapshot,
// otherwise shared blocks (FICLONE), otherwise copies, which are made again if a program that
// does write in place, as cp does, had not finished (TestWrittenAfterCopied). Every other file
// is copied, since programs append to the uidlist in place. The copy does not include tmp/,
// lock files, Dovecot's indexes, notmuch's database, the change history, a copy of which would
// be ignored (package history), or access keys (package accesskey).
//
// By the time the copy is needed, it is older than the mailbox. Clients then know UIDs that
// are not in the copy: those of mail that came after it was made. Therefore UIDNEXT in the
// copied uidlist is raised by a million, and the counter for the UIDVALIDITY of new
// mailboxes is raised too: after a restore, everything new gets numbers that no client has
// seen for other mail, while everything in the copy keeps its own (RFC 9051 section
// 2.3.1.1). A snapshot may be restored more than once: its uidlists are marked as copies,
// and whoever opens such a folder first raises UIDNEXT again, depending on the time since
// (uidlist.File.PutBack).
//
// A snapshot appears under its final name in one step, after everything in it is on disk.
// Until then it is called ".<name>.incomplete"; what an interrupted run left behind is
// removed by the next run.
//
// snapshot.go is one run from the start to the final name, inside.go makes sure that it
// does not copy itself, and passes.go has the passes. folder.go brings one folder's copy up
// to date, with events.go, copy.go for its messages, uids.go for the uidlist and beside.go
// for other files; rearrange.go corrects names at the end of a pass. previous.go finds
// messages in the previous snapshot. slice.go holds the locks, for a short time at once.
package backup
