package auth

import (
	"crypto/md5"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"regexp"
	"strconv"
	"strings"

	"github.com/go-crypt/crypt/algorithm/md5crypt"
)

// oldSchemes returns the schemes that are only verified, because the users files of Dovecot
// contain them.
func oldSchemes() []scheme {
	return []scheme{
		{"PBKDF2", checkPBKDF2, matchPBKDF2, nil},
		{"MD5-CRYPT", checkMD5Crypt, matchMD5Crypt, nil},
		{"SSHA", checkSalted(sha1.Size), matchSalted(sha1Sum, sha1.Size), nil},
		{"SMD5", checkSalted(md5.Size), matchSalted(md5Sum, md5.Size), nil},
		{"SHA512", checkDigest(sha512.Size), matchDigest(sha512Sum, sha512.Size), nil},
		{"SHA256", checkDigest(sha256.Size), matchDigest(sha256Sum, sha256.Size), nil},
		{"SHA1", checkDigest(sha1.Size), matchDigest(sha1Sum, sha1.Size), nil},
		{"SHA", checkDigest(sha1.Size), matchDigest(sha1Sum, sha1.Size), nil},
		{"LDAP-MD5", checkDigest(md5.Size), matchDigest(md5Sum, md5.Size), nil},
		{"PLAIN-MD5", checkDigest(md5.Size), matchDigest(md5Sum, md5.Size), nil},
		{"MD5", checkMD5, matchMD5, nil},
		{"CLEARTEXT", checkPassword, matchPlain, nil},
		{"CLEAR", checkPassword, matchPlain, nil},
	}
}

func sha1Sum(b []byte) []byte { s := sha1.Sum(b); return s[:] }
func md5Sum(b []byte) []byte  { s := md5.Sum(b); return s[:] }

// decodeDigest decodes a digest in base64 or in hexadecimal. Their lengths differ, which is how
// Dovecot tells them apart, too.
func decodeDigest(hash string, size int) ([]byte, error) {
	decode := base64.StdEncoding.DecodeString
	if len(hash) == hex.EncodedLen(size) {
		decode = hex.DecodeString
	}
	raw, err := decode(hash)
	if err != nil || len(raw) != size {
		return nil, errors.New("malformed hash")
	}
	return raw, nil
}

func checkDigest(size int) func(string) error {
	return func(hash string) error {
		_, err := decodeDigest(hash, size)
		return err
	}
}

func matchDigest(sum func([]byte) []byte, size int) func(string, []byte) (bool, error) {
	return func(hash string, password []byte) (bool, error) {
		raw, err := decodeDigest(hash, size)
		return err == nil && subtle.ConstantTimeCompare(sum(password), raw) == 1, err
	}
}

// What Dovecot calls MD5 is a hash of MD5-CRYPT, or a digest.

func checkMD5(hash string) error {
	if strings.HasPrefix(hash, "$1$") {
		return checkMD5Crypt(hash)
	}
	return checkDigest(md5.Size)(hash)
}

func matchMD5(hash string, password []byte) (bool, error) {
	if strings.HasPrefix(hash, "$1$") {
		return matchMD5Crypt(hash, password)
	}
	return matchDigest(md5Sum, md5.Size)(hash, password)
}

// decodeMD5Crypt decodes the standard variant only: the other one has a cost without a limit.
var decodeMD5Crypt = md5crypt.DecodeVariant(md5crypt.VariantStandard)

var md5cryptForm = regexp.MustCompile(`\$[./0-9A-Za-z]{22}$`)

func checkMD5Crypt(hash string) error {
	if _, err := decodeMD5Crypt(hash); err != nil || !md5cryptForm.MatchString(hash) {
		return errors.New("malformed MD5-crypt hash")
	}
	return nil
}

func matchMD5Crypt(hash string, password []byte) (bool, error) {
	d, err := decodeMD5Crypt(hash)
	if err != nil {
		return false, err
	}
	return d.MatchBytesAdvanced(password)
}

// parsePBKDF2 parses Dovecot's "$1$salt$rounds$key", with HMAC-SHA-1; the key is hexadecimal.
func parsePBKDF2(hash string) (salt string, rounds int, key []byte, err error) {
	f := strings.Split(hash, "$")
	if len(f) != 5 || f[0] != "" || f[1] != "1" {
		return "", 0, nil, errors.New("malformed PBKDF2 hash")
	}
	rounds, err = strconv.Atoi(f[3])
	if err != nil || rounds < 1 || rounds > maxRounds {
		return "", 0, nil, errors.New("the PBKDF2 hash has an impossible number of rounds")
	}
	key, err = hex.DecodeString(f[4])
	if err != nil || len(key) != sha1.Size {
		return "", 0, nil, errors.New("malformed PBKDF2 hash")
	}
	return f[2], rounds, key, nil
}

func checkPBKDF2(hash string) error {
	_, _, _, err := parsePBKDF2(hash)
	return err
}

func matchPBKDF2(hash string, password []byte) (bool, error) {
	salt, rounds, key, err := parsePBKDF2(hash)
	if err != nil {
		return false, err
	}
	got, err := pbkdf2.Key(sha1.New, string(password), []byte(salt), rounds, sha1.Size)
	return err == nil && subtle.ConstantTimeCompare(got, key) == 1, err
}
