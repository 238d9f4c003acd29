package walk

import "strings"

// Disposable reports whether a file beside new, cur and tmp may be left out of a copy:
// Dovecot's indexes, which it rebuilds and which would not match older mail; maildird's
// history, since copies of it are ignored, and the present one is better than a copy put
// over it; access keys; lock files; and files that programs had not finished writing.
func Disposable(name string) bool {
	for _, prefix := range []string{
		"dovecot.index", "dovecot.list.index", "dovecot.mailbox.log", "dovecot-uidvalidity.tmp", "maildird-history", "maildird-urlauth",
		"mailboxes.lock", "temp.", ".nfs", ".temp.",
	} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return strings.HasSuffix(name, ".lock") || strings.Contains(name, ".lock.") || strings.HasSuffix(name, ".tmp")
}
