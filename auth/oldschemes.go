package auth

import (
	"crypto/md5"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"

	"github.com/go-crypt/crypt/algorithm/md5crypt"
)

// oldSchemes returns the schemes that are only verified, because the users files of Dovecot
// contain them.
func oldSchemes() []scheme {
	return []scheme{
		{"PBKDF2", matchPBKDF2, nil},
		{"MD5-CRYPT", matchMD5Crypt, nil},
		{"SSHA", matchSalted(sha1Sum, sha1.Size), nil},
		{"SMD5", matchSalted(md5Sum, md5.Size), nil},
		{"SHA512", matchDigest(sha512Sum, 64), nil},
		{"SHA256", matchDigest(sha256Sum, 32), nil},
		{"SHA1", matchDigest(sha1Sum, sha1.Size), nil},
		{"SHA", matchDigest(sha1Sum, sha1.Size), nil},
		{"LDAP-MD5", matchDigest(md5Sum, md5.Size), nil},
		{"PLAIN-MD5", matchDigest(md5Sum, md5.Size), nil},
		{"MD5", matchMD5, nil},
		{"CLEARTEXT", matchPlain, nil},
		{"CLEAR", matchPlain, nil},
	}
}

func sha1Sum(b []byte) []byte { s := sha1.Sum(b); return s[:] }
func md5Sum(b []byte) []byte  { s := md5.Sum(b); return s[:] }

// matchDigest matches the digest of a password, in base64 or in hexadecimal. Their lengths
// differ, which is how Dovecot tells them apart, too.
func matchDigest(sum func([]byte) []byte, size int) func(string, []byte) (bool, error) {
	return func(hash string, password []byte) (bool, error) {
		decode := base64.StdEncoding.DecodeString
		if len(hash) == hex.EncodedLen(size) {
			decode = hex.DecodeString
		}
		raw, err := decode(hash)
		if err != nil || len(raw) != size {
			return false, errors.New("malformed hash")
		}
		return subtle.ConstantTimeCompare(sum(password), raw) == 1, nil
	}
}

// matchMD5 matches what Dovecot calls MD5: a hash of MD5-CRYPT, or a digest.
func matchMD5(hash string, password []byte) (bool, error) {
	if strings.HasPrefix(hash, "$1$") {
		return matchMD5Crypt(hash, password)
	}
	return matchDigest(md5Sum, md5.Size)(hash, password)
}

func matchMD5Crypt(hash string, password []byte) (bool, error) {
	// The other variant has a cost without a limit.
	d, err := md5crypt.DecodeVariant(md5crypt.VariantStandard)(hash)
	if err != nil {
		return false, err
	}
	return d.MatchBytesAdvanced(password)
}

// matchPBKDF2 matches Dovecot's "$1$salt$rounds$key", with HMAC-SHA-1; the key is hexadecimal.
func matchPBKDF2(hash string, password []byte) (bool, error) {
	f := strings.Split(hash, "$")
	if len(f) != 5 || f[0] != "" || f[1] != "1" {
		return false, errors.New("malformed PBKDF2 hash")
	}
	rounds, err := strconv.Atoi(f[3])
	if err != nil || rounds < 1 || rounds > maxRounds {
		return false, errors.New("the PBKDF2 hash has an impossible number of rounds")
	}
	key, err := hex.DecodeString(f[4])
	if err != nil || len(key) != sha1.Size {
		return false, errors.New("malformed PBKDF2 hash")
	}
	got, err := pbkdf2.Key(sha1.New, string(password), []byte(f[2]), rounds, sha1.Size)
	return err == nil && subtle.ConstantTimeCompare(got, key) == 1, err
}
