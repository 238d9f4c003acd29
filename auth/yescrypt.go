package auth

import (
	"crypto/subtle"
	"errors"
	"regexp"
	"strings"

	"github.com/openwall/yescrypt-go"
)

// yescryptForm matches what crypt(3) makes of the costs 1 to 11: "$y$j", two characters for the
// memory, which is 128 bytes times 1 to 32 times 2^10 to 2^18, so at most 1 GiB and about 4 s; the
// salt, whose last character has no bits to spare; and the hash.
var yescryptForm = regexp.MustCompile(`^\$y\$j[7-9A-F][./0-9A-T]\$` +
	`(?:[./0-9A-Za-z]{4})*(?:[./0-9A-Za-z][./01]|[./0-9A-Za-z]{2}[./0-9A-D])?\$[./0-9A-Za-z]{43}$`)

func checkYescrypt(hash string) error {
	if !yescryptForm.MatchString(hash) {
		return errors.New("malformed yescrypt hash, or one that requires too much memory or time")
	}
	return nil
}

// yescryptMemory returns the memory, in KiB, for a hash that passes checkYescrypt.
func yescryptMemory(hash string) int {
	const digits = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	logN, r := strings.IndexByte(digits, hash[4])+1, strings.IndexByte(digits, hash[5])+1
	return r << logN >> 3
}

func matchYescrypt(hash string, password []byte) (bool, error) {
	got, err := yescrypt.Hash(password, []byte(hash))
	return err == nil && subtle.ConstantTimeCompare(got, []byte(hash)) == 1, err
}
