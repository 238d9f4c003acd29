package auth

import "testing"

// TestOldSchemes: hashes that Dovecot made ("doveadm pw -s SCHEME -p 'secret word'"), and
// variants of them that Dovecot accepts.
func TestOldSchemes(t *testing.T) {
	for _, stored := range []string{
		"{SSHA}/Yk8h+bhQqv7lYzUZsexgdpA8LlGvveQ", "{ssha}/Yk8h+bhQqv7lYzUZsexgdpA8LlGvveQ",
		"{SHA}PDUC6jG3V40qqE4XqHRFLkyoMVM=", "{SHA1}PDUC6jG3V40qqE4XqHRFLkyoMVM=", "{SHA1}3c3502ea31b7578d2aa84e17a874452e4ca83153",
		"{SHA256}IayyjA3gWZZbR1sHRtCwKExgzKYGpItNvBowIpWLrRY=",
		"{SHA512}fOXiyQ05YN/eMu5/hCegoO0CDda5pBYuEaN9EuqV1ZbWIQdXvnQnyj+5FCqAQGUGeGjr7aZ9mJtfWlX0sA11kA==",
		"{SMD5}5xg+HrK1JARuaekH7mnmIi81r9c=", "{LDAP-MD5}dKEe8zxSUu36h8Tri1ZsKg==", "{PLAIN-MD5}74a11ef33c5252edfa87c4eb8b566c2a",
		"{MD5}$1$Q5ZqrUZT$6l.GOPOYa/9tbpQDx7i6V1", "{MD5}74a11ef33c5252edfa87c4eb8b566c2a", "{MD5}dKEe8zxSUu36h8Tri1ZsKg==",
		"{MD5-CRYPT}$1$MdhO8vka$lCKJ0XQa2uez5w8GnRYjb1", "{CRYPT}$1$MdhO8vka$lCKJ0XQa2uez5w8GnRYjb1", "$1$MdhO8vka$lCKJ0XQa2uez5w8GnRYjb1",
		"{PBKDF2}$1$K.mxZY7wgUv8lhrR$5000$d193cdbe49d235cdf784f287de7e04cb7a2225ce",
		"{CLEAR}secret word", "{CLEARTEXT}secret word",
	} {
		if ok, err := matches(stored, []byte("secret word")); !ok || err != nil {
			t.Errorf("%s does not match: %v", stored, err)
		}
		for _, other := range []string{"secret wore", "x", "secret word "} {
			if ok, err := matches(stored, []byte(other)); ok || err != nil {
				t.Errorf("%s with %q: %v, %v", stored, other, ok, err)
			}
		}
	}
	for _, stored := range []string{
		"{SSHA}", "{SSHA}PDUC", "{SHA}", "{SHA}PDUC", "{SHA}/Yk8h+bhQqv7lYzUZsexgdpA8LlGvveQ", "{SHA1}3c3502ea31b7578d2aa84e17a874452e4ca8315x", "{SHA256}%",
		"{SMD5}eA==", "{PLAIN-MD5}74a1", "{MD5}", "{MD5-CRYPT}", "{MD5-CRYPT}$1$salt$", "{MD5-CRYPT}$1$salt", "{MD5-CRYPT}x",
		"{MD5-CRYPT}$md5,rounds=4000000000$salt$$x", "{MD5-CRYPT}$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA",
		"{PBKDF2}", "{PBKDF2}$1$salt$5000$d193", "{PBKDF2}$2$salt$5000$d193cdbe49d235cdf784f287de7e04cb7a2225ce",
		"{PBKDF2}$1$salt$0$d193cdbe49d235cdf784f287de7e04cb7a2225ce", "{PBKDF2}$1$salt$10000001$d193cdbe49d235cdf784f287de7e04cb7a2225ce",
		"{PBKDF2}$1$salt$-1$d193cdbe49d235cdf784f287de7e04cb7a2225ce",
	} {
		if ok, err := matches(stored, []byte("secret word")); ok || err == nil {
			t.Errorf("%s: %v, %v, want an error", stored, ok, err)
		}
	}
}
