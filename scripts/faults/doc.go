// Package faults deprives the maildird program of what it needs: disk space, inodes,
// descriptors, write permission, and working disks. The kernel does all of this to the real
// program, while its clients work.
//
// testdata/table.txt has the expected response for each fault and each operation. For each of
// its lines, TestFaults creates a Maildir on a file system of its own, begins the fault, lets a
// client perform the operation, and checks that
//
//   - the response is that of the table, with a text for users;
//   - nothing is partial: the disk contains the state from before or, if the response was OK,
//     that after the operation, and nothing in tmp/;
//   - another user, on an intact file system, is served meanwhile;
//   - the log names the operation, the file, the error, and what the operator can do about it;
//   - when the fault ends, the same program performs the operation and every other one, in the
//     same session and in a new one, and every message that existed or was acknowledged exists
//     once, with its UID and flags.
//
// Finally the program gets SIGTERM during the fault while clients work: it must stop in an
// orderly way, and everything that it acknowledged must exist after a restart.
//
// Those faults last, and affect all calls of a kind. TestCalls fails a single call of each
// operation, once (package intercept), and TestCallsOfCache a single one on the cache. By
// default they try some of the calls, with -calls all of them.
//
// A fault is an entry of the list in fault.go, an operation one of the list in operations.go;
// to add one, add it there and its responses to the table, which table.go reads. A cell (cell.go)
// is the user with the Maildir, neighbour.go the other one; sender.go submits mail.
//
// The tests need root, for mounts and for strace, and run the program as nobody, because root
// does not encounter most of the faults.
package faults
