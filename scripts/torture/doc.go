// Package torture tries to make the maildird program lose mail: it kills it,
// cuts its power, fills its disk, takes its descriptors away, and plants what a
// hostile local user could. All of it is done to the real program.
//
// The proofs are the package's tests. Everything that is left to chance follows
// from a seed, which is printed:
//
//	go test ./scripts/torture -run TestKill -v -args -rounds 1000 -seed 17
//
// "make torture" runs them for long.
package torture
