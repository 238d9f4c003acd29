// Package coexist lets maildird, Dovecot and the mail programs of a shell user work on the same
// Maildirs at the same time, and compares what each of them reports afterwards. All programs
// are real: maildird built with the race detector, Dovecot with its IMAP and LMTP servers,
// mutt, procmail, maildrop, mbsync, offlineimap, notmuch, cp, mv and rm.
//
// The proofs are the package's tests. To run one for longer, or to repeat it:
//
//	go test ./scripts/coexist -run TestRandom -v -args -for 20m -seed 17
//
// The seed, which is printed, determines what each program does in which order. How their steps
// interleave depends on the machine.
//
// A program is an Actor (run.go), in a file actor_*.go; add another one to the list of
// TestRandom. Synchronisers are in sync.go. They work on a Site (site.go), with folders
// (tree.go) that may start with unusual contents (corpus.go). A Ledger (ledger.go) knows
// what must exist, a View (view.go) what a client can conclude, a State (state.go) what a
// server reports in the end, and a Trace (trace.go) what happened to a file. imap.go is the
// client of the tests.
package coexist
