// Package delivery writes messages into a Maildir so that a reader sees a
// whole message or none, and a crash loses none that was acknowledged.
package delivery

import "maildird/maildir/dirfd"

// Dirs are the open directories of one folder.
type Dirs struct{ Folder, Tmp, New, Cur *dirfd.Dir }

// Options are shared by all deliveries.
type Options struct{}
