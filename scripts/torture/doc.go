// Package torture tries to make the maildird program lose mail: it kills it, cuts its power, and
// plants files and swaps directories as a hostile local user could. All of this is done to the
// real program. Full and failing disks are in scripts/faults.
//
// The package consists of tests. All random choices follow from a seed, which is printed:
//
//	go test ./scripts/torture -run TestKill -v -args -rounds 1000 -seed 17
//
// "make torture" runs them for a long time.
//
// kill_test.go kills the program while clients write; ledger.go is what they know. power_test.go
// cuts the power: strace.go reads the program's system calls from the output of strace, follow.go
// applies them to a disk (disk.go), states.go derives what a power cut may leave of it, and
// world.go compares what the program would serve of that with what clients were told, and told.go
// what it would tell a client that returns. sender.go delivers mail for all of them.
// hostile_test.go plants files, and swap_test.go swaps directories.
package torture
