package mailbox

import (
	"os"
	"testing"

	"maildird/maildir/history"
)

// TestLettersOfOtherNames: a client that was away is told of the messages whose
// keyword letters stand for other names by now, although no file changed and nobody
// of us saw the names change.
func TestLettersOfOtherNames(t *testing.T) {
	for name, words := range map[string]string{"other names": "0 two\n1 one\n", "no names": ""} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t)
			must(t, os.WriteFile(b.file("dovecot-keywords"), []byte("0 one\n1 two\n2 three\n"), 0o600))
			b.drop("cur/1700000001.M1P1.other:2,Sa")
			b.drop("cur/1700000002.M1P1.other:2,S")
			b.drop("cur/1700000003.M1P1.other:2,ab")
			c := &offline{t: t}
			session := func() (heard int) {
				m := b.open(newEnv(t))
				defer m.Close()
				defer c.leave()
				return c.come(m)
			}
			session()
			if n := session(); n > 0 {
				t.Errorf("told of %d messages although nothing happened", n)
			}
			must(t, os.WriteFile(b.file("dovecot-keywords"), []byte(words), 0o600))
			before := c.since
			if n := session(); n != 2 || c.since <= before {
				t.Errorf("told of %d messages, want 2, up to %d, after %d", n, c.since, before)
			}
			if n := session(); n > 0 {
				t.Errorf("told of %d messages again", n)
			}
			b.remove(history.Name)
			if n := session(); n != 3 {
				t.Errorf("told of %d messages after the history was lost, want 3", n)
			}
		})
	}
}
