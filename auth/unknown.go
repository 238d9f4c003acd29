package auth

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"strings"
)

// wholeName completes a name that no user has to the address that it is treated as.
// A user is the same with and without his domain, and somebody else in another
// domain; if an unknown name behaved otherwise, comparing these forms would tell it
// from a user's. Of several domains a name without one is given one by pick.
func (c *checker) wholeName(t *table, name string) string {
	name = Fold(name)
	if strings.Contains(name, "@") || len(t.domains) == 0 {
		return name
	}
	return name + "@" + t.domains[c.pick("domain", name, len(t.domains))]
}

// standIn is the user whose stored password is checked in the place of that of a name
// that no user has, nil if there are no users. A name always gets the same user, so
// unknown names take as long as users do, scheme by scheme and in the same shares. If
// all unknown names were checked with one scheme, whoever takes another time would be
// known to exist. A local part that several users have gets the one in the domain that
// wholeName gives it, if there is one.
func (c *checker) standIn(t *table, name string) *entry {
	name = c.wholeName(t, name)
	if e := t.byName[name]; e != nil || len(t.byHash) == 0 {
		return e
	}
	return t.byHash[c.pick("user", name, len(t.byHash))]
}

// pick gives a name one of n places, always the same one while the process lives. When
// n grows by one, most names stay close to where they were.
func (c *checker) pick(what, name string, n int) int {
	share := binary.BigEndian.Uint32(c.derive(what, name, 4))
	return int(uint64(share) * uint64(n) >> 32)
}

// derive returns n octets for a name, which cannot be foretold without the checker's key.
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
