// Package history keeps what happened in a mail folder: when each message last
// changed and which ones were removed, counted in mod-sequences (RFC 7162), so
// that a client that was away can ask for what it missed.
//
// The file is "maildird-history" beside dovecot-uidlist. No other program looks
// at it: it lies outside new/ and cur/, and Dovecot, mutt and mbsync take files
// beside these for none of theirs. It is a journal: a change appends one small
// frame, and when most of what it holds is out of date it is written anew.
// Everything happens under dovecot-uidlist.lock, so any number of processes can
// share it: each reads what the others appended before it appends.
//
// A frame has a mod-sequence, the flags that messages got with it, and the UIDs
// that were gone with it. The flags are there because others change files while
// nobody of us looks: whoever opens the folder compares, and what differs gets
// a new mod-sequence.
//
// The flags of keywords are letters, as in file names, so the history has what they
// stood for when they were noted: whoever finds other names in dovecot-keywords takes
// the messages with these letters for changed.
//
// It also keeps when each message was saved in the folder (RFC 8514), as no file
// system does: a change of flags is a rename, and changes all times of a file
// that tell of it.
//
// The file is disposable. What must hold is that a client which was told a
// mod-sequence M, and asks later for what changed after M, gets every message
// whose state is not the one it had at M. Why it holds:
//
//   - A new mod-sequence is greater than all in the journal, and not less than
//     the clock in microseconds. A change since M that is in the journal, or
//     that is found by comparing files and journal, thus has one above M.
//   - What could be missed is a change that the journal does not know of
//     because it lost its end: it says A, clients were told B at M, and now the
//     file is at A again. So a frame is on disk, whoever wrote it, before
//     anybody is told of its mod-sequence (Sync). To a session without CONDSTORE
//     only SELECT and STATUS tell one, so nothing is synced for it later.
//   - Where the operator gave up syncing, the journal notes in which run of the
//     machine it was written. After a restart of the machine it counts as lost.
//   - A journal that is damaged anywhere, be it at its end only, counts as
//     lost, and so does one that was copied, maybe from an old backup. Its inode
//     is not the one in its header, or was made at another time: file systems
//     give the numbers of removed files again, and a tree that is removed and
//     unpacked may get all of its old ones. A copy that was written over the
//     journal, as cp does, shows in the modification time, which cp -p puts
//     back and the change time tells of. (So do chown, chmod and link: all flags
//     are then learned once for nothing.)
//   - After a loss all messages are new: they get a mod-sequence above the
//     clock and above the times of the folder's directories, by a second, which
//     is more than was ever given (a mod-sequence is ahead of the clock only if
//     there was more than one change in a microsecond, or if the clock was put
//     back). Clients learn all flags anew. Of what was removed before, nothing
//     is known: they are told all UIDs that do not exist (RFC 7162 section
//     3.2.6).
//
// What is left to chance: the clock is put back and the journal is lost before
// the old time is reached again; or the disk of the machine is put back to an
// older state as a whole (delete the file then).
//
// Of when messages were saved nothing is known after a loss, and the change times
// of their files are all that there is.
//
// format.go is the format, history.go reads what others appended, add.go appends and makes
// it durable, rewrite.go writes the file anew, memo.go spares a reader the file.
//
// The memory of removed messages is bounded; what is older than it reaches is
// answered as after a loss.
package history
