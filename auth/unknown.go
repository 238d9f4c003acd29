package auth

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"strings"
)

// wholeName is the address that a name passes for which is no user's. With and
// without its domain such a name has to look the same, and in each domain like
// another one: so it is with users, and whatever else can be compared would tell
// them apart. Where there are several domains the name itself decides which one
// it is in.
func (c *checker) wholeName(t *table, name string) string {
	name = Fold(name)
	if strings.Contains(name, "@") || len(t.domains) == 0 {
		return name
	}
	return name + "@" + t.domains[c.pick("domain", name, len(t.domains))]
}

// standIn is the user whose password stands in for that of a name that no user
// has, nil if there are no users. It is always the same one for a name: where
// schemes are mixed, an unknown name costs now this and now that, with the shares
// that the users' schemes have. Any single scheme, the dearest or the most common,
// would tell that those who cost otherwise exist. A name without a domain that is
// no user's because it is that of several looks like one of them.
func (c *checker) standIn(t *table, name string) *entry {
	name = c.wholeName(t, name)
	if e := t.byName[name]; e != nil || len(t.byHash) == 0 {
		return e
	}
	return t.byHash[c.pick("user", name, len(t.byHash))]
}

// pick gives one of n places to a name, for good as long as the process lives.
// With one place more, few names move far.
func (c *checker) pick(what, name string, n int) int {
	share := binary.BigEndian.Uint32(c.derive(what, name, 4))
	return int(uint64(share) * uint64(n) >> 32)
}

// derive gives n octets for a name that nobody can foretell.
func (c *checker) derive(what, name string, n int) []byte {
	mac := hmac.New(sha256.New, c.key[:])
	mac.Write([]byte(what))
	mac.Write([]byte{0})
	mac.Write([]byte(name))
	out, err := hkdf.Expand(sha256.New, mac.Sum(nil), "", n)
	if err != nil { // more than 255 hashes: no line is that long
		panic(err)
	}
	return out
}
