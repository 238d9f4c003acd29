// Package backup makes a copy of one Maildir as it was at one moment, while
// other programs go on delivering, flagging, moving and expunging mail in it.
//
// A copy by rsync or tar cannot: a directory that is listed while files in it
// get new names may show a file under no name at all, and a message that moves
// from a folder that was not copied yet to one that was is in neither.
//
// How it is done. Before a directory (new/ or cur/) is listed for the first
// time, the kernel is asked to queue an event for each name that comes or goes
// there (inotify). What the listing gave, corrected by the events since, is
// what the directory holds, however fast names change and whether or not the
// programs that change them take locks.
//
//   - Pass 1 copies the bulk folder by folder, without a lock. Then the folder
//     is visited under its dovecot-uidlist.lock, held for at most 50 ms at a
//     time: what the events tell is copied, messages without a UID get one as
//     from any reader, and the uidlist, keywords and other files are taken.
//   - Each further pass locks all folders with news at once, reads the queue of
//     events until it is empty, and brings the copy to that moment, s. Names
//     that went are taken out of the copy again. A name that came and went on
//     before its file could be taken is made from the same message in the copy,
//     which is known by its base.
//   - It was the last pass if no folder outside of it had news at s, if all names
//     could be made, if none of its directories had to be listed after s
//     (TestListedLate), and if the tree of folders is still the one that was copied, as
//     two listings of it tell that agree (TestInterleave).
//
// Why no message is missing. A message that existed at s was in some directory
// D then. It came to D before D was listed and stayed, and the listing gave it;
// or it came later, and an event told. Either way its name is in the copy, or
// the pass was not the last. It does not matter how often the message was moved before, by
// whom, in which order folders were visited, or whether the mover takes locks.
// A move is a link at the destination and then an unlink at the source, or a
// rename, whose two events s does not part (TestHalfMove), so there
// is no moment at which a message is in no directory; it may be in two at s, and
// is then in two in the copy. The locks serve the other files: what the uidlist
// and keywords say belongs to the names of that moment.
// (TestMoveNeverInNone; end to end: cmd/maildird, TestBackupUnderLoad.)
//
// Where events cannot be had, or do not tell of other machines (NFS), the
// modification times of the directories take their place: a listing counts if
// the time was the same before and after it, and older than the kernel's clock
// tick when the listing began; the last pass is the one that finds all
// times, while the folders that change are locked, as they were at the listings.
// Programs that take no lock must then leave gaps of some milliseconds now and
// then. If none comes for minutes there is no snapshot but an error that names
// the folder, never an incomplete one.
//
// What is in the copy. Messages are hard links where the snapshot is on the same
// file system (message files are never written in place), else hard links to the
// same file in the snapshot before, else shared blocks (FICLONE), else copies.
// Every other file is copied, since programs append to the uidlist in place.
// Left out are tmp/, lock files, Dovecot's indexes, notmuch's database, the history
// of changes, of which a copy does not count (package history), and access keys
// (package accesskey).
//
// The copy is older than the mailbox when it is needed. Clients then know UIDs
// that the copy does not: those of mail that came after it was made. So UIDNEXT
// in the copied uidlist is raised by a million, and the counter for the
// UIDVALIDITY of new mailboxes in the same way: whatever comes after a restore
// gets numbers that no client has seen for other mail, while everything in the
// copy keeps its own (RFC 9051 section 2.3.1.1). A snapshot may be put back twice: its
// uidlists are marked as copies, and the first who opens such a folder raises UIDNEXT
// once more, by the time since (uidlist.File.PutBack).
//
// A snapshot appears under its final name in one step, after everything in it
// is on disk. Until then it is called ".<name>.incomplete"; what a run that was
// interrupted left behind, the next run removes.
//
// snapshot.go is one run from the beginning to the final name, inside.go sees to it that
// it does not copy itself, passes.go has the passes. folder.go brings one folder's copy in
// step, with events.go, copy.go for its messages, uids.go for the uidlist and beside.go
// for other files; rearrange.go mends names at the end of a pass. previous.go finds messages
// in the snapshot before. slice.go holds the locks, for a moment at a time.
package backup
