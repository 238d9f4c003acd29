// Package torture tries to make the maildird program lose mail: it kills it, cuts its power,
// fills its disk, takes away its file descriptors, and plants files that a hostile local user
// could plant. All of this is done to the real program.
//
// The package consists of tests. All random choices follow from a seed, which is printed:
//
//	go test ./scripts/torture -run TestKill -v -args -rounds 1000 -seed 17
//
// "make torture" runs them for a long time.
package torture
