// Package coexist lets maildird, Dovecot and the mail programs of a shell user
// work on the same Maildirs at the same time, and compares what each of them
// says afterwards. Everything runs for real: the maildird program built with
// the race detector, Dovecot with its IMAP and LMTP servers, mutt, procmail,
// maildrop, mbsync, offlineimap, notmuch, cp, mv and rm.
//
// The proofs are the package's tests. To run one for longer, or again:
//
//	go test ./scripts/coexist -run TestRandom -v -args -for 20m -seed 17
//
// The seed decides what each program does in which order, and is printed; how
// the programs' steps interleave is up to the machine.
//
// A program is an Actor (run.go), in a file actor_*.go; another one goes into the list of
// TestRandom. Synchronisers are in sync.go. What they work on is a Site (site.go), with
// folders (tree.go) that may be full of odd things at the beginning (corpus.go). A Ledger
// (ledger.go) knows what has to be there, a View (view.go) what a client may conclude, a
// State (state.go) what a server says in the end, and a Trace (trace.go) what became of a
// file. imap.go is the client of the tests.
package coexist
