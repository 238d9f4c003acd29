package walk

import "strings"

// Disposable tells whether a file beside new, cur and tmp may be left out of a
// copy: Dovecot's indexes, which it builds anew and which make no sense beside
// older mail, our own history, which does not count as a copy and which the
// present one is better than when a copy is put over it, access keys, lock files,
// and what programs had not finished writing.
func Disposable(name string) bool {
	for _, prefix := range []string{
		"dovecot.index", "dovecot.list.index", "dovecot.mailbox.log", "dovecot-uidvalidity.maildird", "maildird-history", "maildird-urlauth",
		"mailboxes.lock", "temp.", ".nfs", ".temp.",
	} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return strings.HasSuffix(name, ".lock") || strings.Contains(name, ".lock.") || strings.HasSuffix(name, ".tmp")
}
