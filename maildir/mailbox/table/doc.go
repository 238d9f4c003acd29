// Package table implements the messages of a folder in UID order: one row for each record
// of dovecot-uidlist, including those without a file. It knows sequence numbers, UIDs and
// bases of file names, but neither the directories nor the views.
//
// Rows are stored in pages of 256, which take about 35 bytes per message plus the base of
// its file name (page.go). A Fenwick tree over the pages converts between rows and
// positions among the present messages (number.go); a hash table finds a row by its base
// (index.go); another one, for listing a directory, finds it by its file's place, full name
// and inode number (marks.go).
//
// A table can be written to a file as a snapshot, together with its owner's state
// (write.go), and resumed from it (read.go). At first only the head is read, which has the
// counts of all pages. Each page and each piece of the index is read when one of its rows
// is needed (saved.go, pageform.go); each has a checksum, and its contents are validated.
// If one cannot be read, the table is broken: see Broken.
package table
