package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/xdg-go/scram"
)

// SCRAM-SHA-256 (RFC 5802, RFC 7677) proves knowledge of a password without sending it, so the
// server must store keys to check the proof against: either in the password scheme
// {SCRAM-SHA-256}, or in addition to another scheme in the extra field scram_sha_256. As in
// Dovecot, both contain "iterations,salt,StoredKey,ServerKey", all but the first in base64.
const (
	schemeSCRAM = "SCRAM-SHA-256"
	fieldSCRAM  = "scram_sha_256="

	// scramIterations is the number for new keys. The client performs them at each login.
	scramIterations = 100_000
	scramLimit      = 10_000_000
	scramSalt       = 16 // bytes
)

// hashSCRAM returns the keys of a password.
func hashSCRAM(password []byte) (string, error) {
	salt := make([]byte, scramSalt)
	_, _ = rand.Read(salt) // never fails
	keys, err := scramKeys(string(password), scram.KeyFactors{Salt: string(salt), Iters: scramIterations})
	if err != nil {
		return "", err
	}
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("%d,%s,%s,%s", keys.Iters, b64(salt), b64(keys.StoredKey), b64(keys.ServerKey)), nil
}

func scramKeys(password string, factors scram.KeyFactors) (scram.StoredCredentials, error) {
	client, err := scram.SHA256.NewClient("", password, "")
	if err != nil {
		return scram.StoredCredentials{}, fmt.Errorf("the password cannot be used with SCRAM: %w", err)
	}
	return client.GetStoredCredentialsWithError(factors)
}

func parseSCRAM(text string) (keys scram.StoredCredentials, err error) {
	malformed := errors.New("malformed SCRAM keys")
	f := strings.Split(text, ",")
	if len(f) != 4 {
		return keys, malformed
	}
	keys.Iters, err = strconv.Atoi(f[0])
	if err != nil || keys.Iters < 1 || keys.Iters > scramLimit {
		return keys, errors.New("the SCRAM keys have an impossible number of iterations")
	}
	salt, err := base64.StdEncoding.DecodeString(f[1])
	if err != nil || len(salt) == 0 {
		return keys, malformed
	}
	keys.Salt = string(salt)
	for i, to := range []*[]byte{&keys.StoredKey, &keys.ServerKey} {
		if *to, err = base64.StdEncoding.DecodeString(f[2+i]); err != nil || len(*to) != sha256.Size {
			return keys, malformed
		}
	}
	return keys, nil
}

func checkSCRAM(hash string) error {
	_, err := parseSCRAM(hash)
	return err
}

// matchSCRAM checks a password that a client sent in plain text.
func matchSCRAM(hash string, password []byte) (bool, error) {
	keys, err := parseSCRAM(hash)
	if err != nil {
		return false, err
	}
	got, err := scramKeys(string(password), keys.KeyFactors)
	if err != nil {
		return false, nil // not the password of the keys
	}
	return hmac.Equal(got.StoredKey, keys.StoredKey), nil
}

// scramOf returns the SCRAM keys of a line, from its password or an extra field.
func scramOf(password string, extra []string) (*scram.StoredCredentials, error) {
	text, found := "", false
	if s, hash, err := schemeOf(password); err == nil && s.name == schemeSCRAM {
		text, found = hash, true
	}
	for _, field := range extra {
		if t, ok := strings.CutPrefix(field, fieldSCRAM); ok {
			text, found = t, true
		}
	}
	if !found {
		return nil, nil
	}
	keys, err := parseSCRAM(text)
	if err != nil {
		return nil, err
	}
	return &keys, nil
}

// replaceSCRAM returns extra fields with the keys replaced by those of another password,
// if they contain keys.
func replaceSCRAM(extra, password string) (string, error) {
	fields, found := strings.Fields(extra), false
	for i, field := range extraFields(extra) {
		if !strings.HasPrefix(field, fieldSCRAM) {
			continue
		}
		keys, err := hashSCRAM([]byte(password))
		if err != nil {
			return "", err
		}
		fields[i], found = fieldSCRAM+keys, true
	}
	if !found {
		return extra, nil
	}
	return strings.Join(fields, " "), nil
}

// SCRAMReady reports whether SCRAM can be offered. Clients that support SCRAM prefer it, so
// every user who can log in must have keys.
func (u *Users) SCRAMReady() bool {
	t := u.current()
	for _, e := range t.byHash {
		if e.scram == nil {
			return false
		}
	}
	return len(t.byHash) > 0
}

// SCRAM returns what a SCRAM-SHA-256 proof for this name is checked against. For a user who
// does not exist, cannot log in or has no keys, the result looks like that of a user, but matches no password.
func (u *Users) SCRAM(name string) scram.StoredCredentials {
	t, c := u.current(), u.check
	e := t.find(name)
	if e != nil && e.scram != nil && e.noLogin == nil {
		return *e.scram
	}
	name, e = c.wholeName(t, name), c.standIn(t, name)
	keys := scram.StoredCredentials{StoredKey: c.derive("stored", name, sha256.Size), ServerKey: c.derive("server", name, sha256.Size)}
	salt := scramSalt
	keys.Iters = scramIterations
	if e != nil && e.scram != nil {
		keys.Iters, salt = e.scram.Iters, len(e.scram.Salt)
	}
	keys.Salt = string(c.derive("salt", name, salt))
	if e != nil && e.scram != nil && e.user.Name == name {
		keys.Salt = e.scram.Salt
	}
	return keys
}
