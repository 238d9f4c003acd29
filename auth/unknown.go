package auth

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"strings"
)

// wholeName completes a name that no user has to the address that it is treated as. A user is
// the same with and without his domain, and someone else in another domain. If an unknown name
// behaved differently, comparing these forms would tell it from a user's name. If there are
// several domains, pick chooses the one for a name without a domain.
func (c *checker) wholeName(t *table, name string) string {
	name = Fold(name)
	if strings.Contains(name, "@") || len(t.domains) == 0 {
		return name
	}
	return name + "@" + t.domains[c.pick("domain", name, len(t.domains))]
}

// standIn returns the user whose password hash is checked in place of a name that no user who can
// log in has; nil if there are no such users. A name always gets the same user, so unknown names take as long as
// users do, with the same distribution over the schemes. If all unknown names were checked with
// the same scheme, a name that takes a different time would be known to exist. A local part
// that several users have gets the user in the domain that wholeName chooses, if there is one.
func (c *checker) standIn(t *table, name string) *entry {
	name = c.wholeName(t, name)
	switch e := t.byName[name]; {
	case e != nil && e.noLogin == nil:
		return e
	case len(t.byHash) == 0:
		return nil
	}
	return t.byHash[c.pick("user", name, len(t.byHash))]
}

// pick assigns one of n places to a name, always the same one as long as the process lives.
// When n grows by one, most names stay close to their places.
func (c *checker) pick(what, name string, n int) int {
	share := binary.BigEndian.Uint32(c.derive(what, name, 4))
	return int(uint64(share) * uint64(n) >> 32)
}

// derive returns n octets for a name, which cannot be predicted without the key of the checker.
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
