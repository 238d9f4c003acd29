package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/go-crypt/crypt/algorithm/argon2"
	"github.com/go-crypt/crypt/algorithm/shacrypt"
	"golang.org/x/crypto/bcrypt"
)

// defaultScheme is the scheme of new passwords.
const defaultScheme = "ARGON2ID"

// MaxPassword is the maximum length of a password in bytes.
const MaxPassword = 1024

// The cost of new passwords is OWASP's second choice for Argon2id: 19 MiB and two passes, which
// takes about 20 ms. Dovecot can verify such hashes.
const (
	argonMemory = 19 << 10 // KiB
	argonPasses = 2
	// argonLimit is the maximum cost of a hash in the users file: 1 GiB.
	argonLimit = 1 << 20 // KiB
)

// scheme is a way to store passwords.
type scheme struct {
	name string
	// check returns why a hash (without "{SCHEME}") can be that of no password, or would take too
	// much memory or time to verify.
	check func(hash string) error
	// match reports whether a hash that passes check is that of the password.
	match func(hash string, password []byte) (bool, error)
	hash  func(password []byte) (string, error) // nil if no new passwords are stored this way
}

// schemes returns the supported schemes, under Dovecot's names.
func schemes() []scheme {
	return append([]scheme{
		{"ARGON2ID", checkArgon2, matchArgon2, hashArgon2},
		{"ARGON2I", checkArgon2, matchArgon2, nil},
		{"BLF-CRYPT", checkBcrypt, matchBcrypt, hashBcrypt},
		{"SHA512-CRYPT", checkShacrypt, matchShacrypt, hashSHA512Crypt},
		{"SHA256-CRYPT", checkShacrypt, matchShacrypt, hashSHA256Crypt},
		{"SSHA512", checkSalted(sha512.Size), matchSalted(sha512Sum, sha512.Size), hashSalted(sha512Sum)},
		{"SSHA256", checkSalted(sha256.Size), matchSalted(sha256Sum, sha256.Size), hashSalted(sha256Sum)},
		{schemeSCRAM, checkSCRAM, matchSCRAM, hashSCRAM},
		{"PLAIN", checkPassword, matchPlain, func(p []byte) (string, error) { return string(p), nil }},
	}, oldSchemes()...)
}

// schemeCrypt is the format of crypt(3), in which the beginning of a hash identifies the
// method. Like Dovecot, this package assumes it for a password without a scheme.
const schemeCrypt = "CRYPT"

var errNoPassword = errors.New("there is no password")

// schemeOf splits "{SCHEME}hash". The error says why no password can match the text.
func schemeOf(stored string) (s scheme, hash string, err error) {
	name, hash, ok := strings.Cut(strings.TrimPrefix(stored, "{"), "}")
	switch {
	case stored == "":
		return s, "", errNoPassword
	case stored[0] != '{':
		name, hash = schemeCrypt, stored
	case !ok:
		return s, "", errors.New("the password scheme does not end in \"}\"")
	}
	if strings.EqualFold(name, schemeCrypt) {
		switch name = cryptScheme(hash); {
		case name == schemeCrypt:
			s = scheme{schemeCrypt, checkYescrypt, matchYescrypt, nil}
			return s, hash, s.check(hash)
		case name == "" && hash == stored:
			return s, "", errors.New("unsupported password: it does not begin with its scheme, as in {ARGON2ID}, or with " + cryptBeginnings)
		case name == "":
			return s, "", errors.New("unsupported password: of the crypt(3) hashes, only those that begin with " + cryptBeginnings + " are supported")
		}
	}
	for _, s := range schemes() {
		if strings.EqualFold(s.name, name) {
			return s, hash, s.check(hash)
		}
	}
	return s, "", fmt.Errorf("unsupported password: the scheme %q is not one of %s", name, schemeNames())
}

// cryptScheme returns the scheme of a crypt(3) hash: CRYPT for yescrypt, which has no scheme of its
// own, "" for unsupported ones.
func cryptScheme(hash string) string {
	switch {
	case strings.HasPrefix(hash, "$y$"):
		return schemeCrypt
	case strings.HasPrefix(hash, "$6$"):
		return "SHA512-CRYPT"
	case strings.HasPrefix(hash, "$5$"):
		return "SHA256-CRYPT"
	case strings.HasPrefix(hash, "$2a$"), strings.HasPrefix(hash, "$2b$"), strings.HasPrefix(hash, "$2y$"):
		return "BLF-CRYPT"
	case strings.HasPrefix(hash, "$1$"):
		return "MD5-CRYPT"
	}
	return ""
}

const cryptBeginnings = "$y$, $6$, $5$, $2y$ or $1$"

func schemeNames() string {
	var names []string
	for _, s := range schemes() {
		names = append(names, s.name)
	}
	names = append(names, schemeCrypt)
	return strings.Join(names, " ")
}

// matches checks a password against "{SCHEME}hash".
func matches(stored string, password []byte) (bool, error) {
	s, hash, err := schemeOf(stored)
	if err != nil {
		return false, err
	}
	return s.match(hash, password)
}

// HashPassword returns the hash of a password of 1 to MaxPassword bytes, as "{SCHEME}hash". It
// fails for a scheme in which no new passwords can be stored, and for a hash that a line of the
// users file cannot hold.
func HashPassword(schemeName, password string) (string, error) {
	if err := checkPassword(password); err != nil {
		return "", err
	}
	for _, s := range schemes() {
		if strings.EqualFold(s.name, schemeName) && s.hash != nil {
			h, err := s.hash([]byte(password))
			if err != nil {
				return "", err
			}
			if strings.Contains(h, ":") {
				return "", fmt.Errorf("scheme %s cannot store a password that contains ':' in a users file", s.name)
			}
			return "{" + s.name + "}" + h, nil
		}
	}
	return "", fmt.Errorf("passwords cannot be stored in the scheme %q", schemeName)
}

func checkPassword(password string) error {
	switch {
	case password == "":
		return errors.New("the password is empty")
	case len(password) > MaxPassword:
		return fmt.Errorf("the password is longer than %d bytes", MaxPassword)
	case strings.ContainsAny(password, "\x00\r\n"):
		return errors.New("the password contains a line break or a NUL")
	}
	return nil
}

func checkArgon2(hash string) error {
	// Nothing may follow the parameters of the cost, because the last one of a name counts.
	var v, m, t, p int
	if _, err := fmt.Sscanf(argonParams(hash), "v=%d$m=%d,t=%d,p=%d$", &v, &m, &t, &p); err != nil {
		return errors.New("malformed Argon2 hash")
	}
	if m > argonLimit || t > 100 || p > 64 {
		return errors.New("the Argon2 hash requires too much memory or time")
	}
	if _, err := argon2.Decode(hash); err != nil {
		return errors.New("malformed Argon2 hash")
	}
	return nil
}

func matchArgon2(hash string, password []byte) (bool, error) {
	d, err := argon2.Decode(hash)
	if err != nil {
		return false, err
	}
	return d.MatchBytesAdvanced(password)
}

// largeMemory is more than the usual hashes take to verify, in KiB. Those of "doveadm pw" take as much.
const largeMemory = 64 << 10

// memoryOf returns how much memory it takes to verify "{SCHEME}hash", in KiB; 0 if that is negligible.
func memoryOf(stored string) int {
	s, hash, err := schemeOf(stored)
	switch {
	case err != nil:
		return 0
	case s.name == "ARGON2ID", s.name == "ARGON2I":
		var v, m int
		_, _ = fmt.Sscanf(argonParams(hash), "v=%d$m=%d,", &v, &m) // passed checkArgon2
		return m
	case s.name == schemeCrypt:
		return yescryptMemory(hash)
	}
	return 0
}

func argonParams(hash string) string {
	parts := strings.SplitN(hash, "$", 5)
	if len(parts) < 5 {
		return ""
	}
	return parts[2] + "$" + parts[3] + "$"
}

func hashArgon2(password []byte) (string, error) {
	h, err := argon2.New(argon2.WithVariantID(), argon2.WithM(argonMemory), argon2.WithT(argonPasses), argon2.WithP(1))
	if err != nil {
		return "", err
	}
	d, err := h.Hash(string(password))
	if err != nil {
		return "", err
	}
	return d.Encode(), nil
}

// maxBcrypt is the maximum cost of a hash in the users file, about 20 s.
const maxBcrypt = 18

var bcryptForm = regexp.MustCompile(`^\$2[abxy]?\$[0-9]{2}\$[./0-9A-Za-z]{53}$`)

func checkBcrypt(hash string) error {
	cost, err := bcrypt.Cost([]byte(hash))
	switch {
	case err != nil || !bcryptForm.MatchString(hash):
		return errors.New("malformed bcrypt hash")
	case cost > maxBcrypt:
		return errors.New("the bcrypt hash requires too much time")
	}
	return nil
}

func matchBcrypt(hash string, password []byte) (bool, error) {
	// bcrypt reads 72 bytes. Dovecot and others silently truncate there.
	err := bcrypt.CompareHashAndPassword([]byte(hash), password[:min(len(password), 72)])
	if errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
		return false, nil
	}
	return err == nil, err
}

func hashBcrypt(password []byte) (string, error) {
	h, err := bcrypt.GenerateFromPassword(password, bcrypt.DefaultCost)
	return string(h), err
}

// maxRounds is the maximum cost of a hash in the users file.
const maxRounds = 10_000_000

var shacryptForm = regexp.MustCompile(`^\$(?:5\$(?:.*\$)?[./0-9A-Za-z]{43}|6\$(?:.*\$)?[./0-9A-Za-z]{86})$`)

func checkShacrypt(hash string) error {
	if _, rest, ok := strings.Cut(hash, "$rounds="); ok {
		var rounds int
		if _, err := fmt.Sscanf(rest, "%d$", &rounds); err != nil || rounds > maxRounds {
			return errors.New("the SHA-crypt hash requires too many rounds")
		}
	}
	if _, err := shacrypt.Decode(hash); err != nil || !shacryptForm.MatchString(hash) {
		return errors.New("malformed SHA-crypt hash")
	}
	return nil
}

func matchShacrypt(hash string, password []byte) (bool, error) {
	d, err := shacrypt.Decode(hash)
	if err != nil {
		return false, err
	}
	return d.MatchBytesAdvanced(password)
}

func hashSHA512Crypt(password []byte) (string, error) {
	h, err := shacrypt.New(shacrypt.WithSHA512(), shacrypt.WithIterations(500_000))
	if err != nil {
		return "", err
	}
	return encodeSHA(h, password)
}

func hashSHA256Crypt(password []byte) (string, error) {
	h, err := shacrypt.New(shacrypt.WithSHA256(), shacrypt.WithIterations(500_000))
	if err != nil {
		return "", err
	}
	return encodeSHA(h, password)
}

func encodeSHA(h *shacrypt.Hasher, password []byte) (string, error) {
	d, err := h.Hash(string(password))
	if err != nil {
		return "", err
	}
	return d.Encode(), nil
}

func sha512Sum(b []byte) []byte { s := sha512.Sum512(b); return s[:] }
func sha256Sum(b []byte) []byte { s := sha256.Sum256(b); return s[:] }

func checkSalted(size int) func(string) error {
	return func(hash string) error {
		if raw, err := base64.StdEncoding.DecodeString(hash); err != nil || len(raw) < size {
			return errors.New("malformed salted hash")
		}
		return nil
	}
}

// matchSalted matches base64(digest(password + salt) + salt).
func matchSalted(sum func([]byte) []byte, size int) func(string, []byte) (bool, error) {
	return func(hash string, password []byte) (bool, error) {
		raw, err := base64.StdEncoding.DecodeString(hash)
		if err != nil {
			return false, err
		}
		got := sum(append(append([]byte(nil), password...), raw[size:]...))
		return subtle.ConstantTimeCompare(got, raw[:size]) == 1, nil
	}
}

func hashSalted(sum func([]byte) []byte) func([]byte) (string, error) {
	return func(password []byte) (string, error) {
		salt := make([]byte, 16)
		_, _ = rand.Read(salt) // never fails
		digest := sum(append(append([]byte(nil), password...), salt...))
		return base64.StdEncoding.EncodeToString(append(digest, salt...)), nil
	}
}

func matchPlain(hash string, password []byte) (bool, error) {
	a, b := sha256.Sum256([]byte(hash)), sha256.Sum256(password)
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1, nil
}
