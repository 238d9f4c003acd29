// Package history records what happened in a mail folder: when each message last changed
// and which messages were removed, in terms of mod-sequences (RFC 7162), so that a client
// that was away can ask for what it missed.
//
// The file is "maildird-history", in the same directory as dovecot-uidlist. No other
// program uses it: it is outside new/ and cur/, and Dovecot, mutt and mbsync ignore files
// there that they do not know. It is a journal: each change appends one small frame, and
// the file is rewritten when most of its contents are out of date. Everything is done while
// holding dovecot-uidlist.lock, so any number of processes can share the journal: each
// reads what the others appended before it appends.
//
// A frame has a mod-sequence, the flags that messages got with it, and the UIDs that were
// removed with it. The flags are recorded because other programs change files while no
// maildird process is looking: whoever opens the folder compares, and what differs gets a
// new mod-sequence.
//
// Keyword flags are letters, as in file names, so the history also records which keywords
// they stood for at the time. If dovecot-keywords has different names, the messages with
// these letters count as changed.
//
// The history also records when each message was saved in the folder (RFC 8514), because
// file systems do not: a change of flags is a rename, and changes the only file time that
// could tell.
//
// The file is disposable. The guarantee is this: if a client was told a mod-sequence M and
// later asks for what changed after M, it gets every message whose state differs from that
// at M. It holds for these reasons:
//
//   - A new mod-sequence is greater than all others in the journal, and at least the clock
//     in microseconds. A change after M that is in the journal, or that is found by
//     comparing the files with the journal, therefore has a mod-sequence above M.
//   - A change could only be missed if the journal lost its end and so does not know of it:
//     the journal has state A, clients were told state B at M, and now the file has state A
//     again. The journal is not synced before clients are told, because only a crash of the
//     machine takes away its end. What it leaves is a true earlier state, up to a
//     mod-sequence L. The first frame in another run of the machine gets a mod-sequence S
//     above all that were ever assigned (see below), and declares those between L and S a
//     gap: clients may have been told of them, and the journal does not have what happened.
//     A request of a client that knows a mod-sequence in a gap, or one above the highest, is
//     answered as after a loss (Knows). Whoever knows L or less gets what changed since.
//   - If a journal is damaged behind what Rewrite wrote, its end counts as lost in the same
//     way, whatever did it. Rewrite makes the new file durable before it replaces the old
//     one; a journal that is damaged in that part counts as lost.
//   - If a change cannot be written, as on a full disk, only the process that made it knows
//     of it, and it tells its sessions. It gives the file a damaged end if it can, so that
//     others, or the next process if this one ends, take the end for lost (markEnd).
//   - A copy counts as lost too, which may come from an old backup. A copy has a different
//     inode number than its header says, or was created at another time: file systems reuse the inode
//     numbers of removed files, and a tree that is removed and unpacked again may get all of
//     its old ones. If a copy was written over the journal and its modification time
//     restored, as by cp -p, the change time is later. (chown, chmod and link also alter the
//     change time: then clients fetch all flags once without need.) If its modification time
//     was not restored, as by plain cp, a process that has read the journal before notices
//     that the highest mod-sequence went back.
//   - After a loss, all messages count as new: they get a mod-sequence that is above the
//     clock and above the times of the folder's directories and files by one minute, and so
//     above all that were ever assigned (a mod-sequence is ahead of the clock only if there
//     was more than one change in two microseconds, in the minute after a loss, or if the
//     clock was set back). Clients fetch all flags again. Nothing is known of earlier
//     removals: clients are told all UIDs that do not exist (RFC 7162 section 3.2.6).
//
// Four cases are not covered: the clock is set back, and the journal or its end is lost
// before the old time is reached again; plain cp writes an older copy over the journal while
// no process has it open; the machine's whole disk is restored to an older state; or a disk
// fails or is pulled out and loses what was written last, while the machine goes on. (In the
// last three cases, delete the file.)
//
// After a loss, the save dates are unknown, and all that is left are the change times of
// the files. They must not change once a client was told, so Sync is called before that.
//
// format.go defines the format, history.go reads what others appended, add.go appends,
// rewrite.go rewrites the file, and memo.go saves a reader from reading the file. TestRuns
// and TestPower cut the power.
//
// The number of removed messages that are remembered is limited; a request that goes back
// further is answered as after a loss. So is that of gaps: of many, the oldest become one.
package history
