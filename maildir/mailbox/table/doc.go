// Package table is the messages of a folder in UID order: one row for each
// record of dovecot-uidlist, also for those whose file is not there. It knows
// sequence numbers, UIDs and bases of file names, and neither the directories nor
// who looks at them.
//
// Rows are in pages of 256, which take about 35 bytes and the base of the file
// name for a message (page.go). A Fenwick tree over the pages turns rows into
// numbers of messages and back (number.go); a hash table finds a row by its base
// (index.go); another one finds it by where its file is, its whole name and its inode
// number, for whoever lists a directory (marks.go).
//
// A table can be written to a file as a snapshot, with what its owner wants to
// keep beside it (write.go), and taken up again (read.go). Then only the head is
// read, which has the counts of all pages. Each page and each piece of the index
// is read when one of its rows is asked for (saved.go, pageform.go); each has a
// checksum, and what it says must be possible. If one cannot be read, the table is
// broken: see Broken.
package table
