// Package keywords reads and writes dovecot-keywords, the names of the keyword
// letters a to z in the file names of a Maildir folder.
package keywords

import (
	"errors"

	"maildird/maildir/dirfd"
)

// ErrFull says that the names do not all fit in the 26 letters.
var ErrFull = errors.New("all 26 keyword letters of the folder are in use")

// Table is the dovecot-keywords of one folder. Not safe for concurrent use.
type Table struct{ dir *dirfd.Dir }

// New returns the table of the folder dir without reading it.
func New(dir *dirfd.Dir, fsync bool) *Table { return &Table{dir: dir} }

// Refresh reads the file if it changed since the last call.
func (t *Table) Refresh() (changed bool, err error) { return false, errUnfinished }

// Name returns the name of letter 'a'+index.
func (t *Table) Name(index int) (string, bool) { return "", false }

// Index finds a name, case-insensitively.
func (t *Table) Index(name string) (int, bool) { return 0, false }

// Add gives letters to names that have none yet.
func (t *Table) Add(names ...string) ([]int, error) { return nil, errUnfinished }

// Names returns the names in the order of their letters.
func (t *Table) Names() []string { return nil }

// Full tells whether every letter has a name.
func (t *Table) Full() bool { return false }

var errUnfinished = errors.New("keywords: not written yet")
