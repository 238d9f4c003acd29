// Package faults takes from the maildird program what it needs: space, inodes,
// descriptors, the right to write, and disks that do what they are told. All of
// it is done by the kernel to the real program, while its clients work.
//
// testdata/table.txt says for each fault and each operation what the client is
// told. For each of its lines TestFaults makes a Maildir on a file system of its
// own, begins the fault, has a client do the operation, and sees to it that
//
//   - the answer is that of the table, with a text for people;
//   - nothing partial is there: on disk lies what was before, or, if the answer
//     was OK, what the operation makes of it, and nothing in tmp/;
//   - another user, on a file system that is well, is served meanwhile;
//   - the log names the operation, the file, the error and what the operator can
//     do about it;
//   - when the fault ends, the same program does the operation, and every other
//     one, in the same session and in a new one, and every message that was
//     there or acknowledged is there once, with its UID and flags.
//
// Then the program gets SIGTERM while the fault is on and clients work; it has
// to end in order, and what it acknowledged has to be there after a start.
//
// It needs root, for mounts and for strace, and runs the program as nobody:
// root would not meet most of the faults.
package faults
