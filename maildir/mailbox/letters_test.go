package mailbox

import (
	"os"
	"slices"
	"testing"

	"maildird/maildir/history"
)

// TestLettersOfOtherNames: a client that was away is told of the messages whose keyword
// letters stand for other names by now, although no file changed and no maildird process
// saw the names change.
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

// TestLetterNamedLater: sessions are told of the messages that have a letter which another
// program names, although it modifies nothing but dovecot-keywords. A real Dovecot does so
// with a letter that mutt brought from another folder.
func TestLetterNamedLater(t *testing.T) {
	for name, env := range map[string]func(testing.TB) *Env{"watched": newEnv, "polled": unwatched} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t)
			b.drop("cur/1700000001.M1P1.other:2,Sv")
			b.drop("cur/1700000002.M1P1.other:2,S")
			m := b.open(env(t))
			defer m.Close()
			c := &offline{t: t}
			c.come(m)
			defer c.leave()
			c.listen(true)
			before := c.since
			must(t, os.WriteFile(b.file("dovecot-keywords"), []byte("21 unknown-21\n"), 0o600))
			c.listen(true)
			if word, ok := c.v.KeywordName(21); word != "unknown-21" || !ok || c.since <= before {
				t.Errorf("letter v is %q, told up to %d, after %d", word, c.since, before)
			}
			before = c.since
			must(t, os.Remove(b.file("dovecot-keywords")))
			c.listen(true)
			if word, ok := c.v.KeywordName(21); ok || c.since <= before {
				t.Errorf("letter v is %q still, told up to %d, after %d", word, c.since, before)
			}
		})
	}
}

// TestLetterNamedBehindFlags: a message counts as changed by a new name of its letter even
// while the table, or the history, has different flags than its file.
func TestLetterNamedBehindFlags(t *testing.T) {
	const plain, lettered = "cur/1700000001.M1P1.other:2,S", "cur/1700000001.M1P1.other:2,Sv"
	for name, do := range map[string]func(b *box, open func() *Mailbox, visit func(*Mailbox), name func(string)){
		"another process told of the flags": func(b *box, open func() *Mailbox, visit func(*Mailbox), name func(string)) {
			m := open()
			visit(m)
			m.Close() // its snapshot has the old flags
			b.rename(plain, lettered)
			other := b.open(newEnv(b.t))
			defer other.Close()
			visit(other)
			name("word")
		},
		"the flags come back": func(b *box, open func() *Mailbox, visit func(*Mailbox), name func(string)) {
			m := open()
			defer m.Close()
			b.rename(plain, lettered)
			visit(m)
			b.rename(lettered, plain)
			must(b.t, m.Poll(ctx))
			name("word")
			must(b.t, m.Poll(ctx))
			b.rename(plain, lettered)
			must(b.t, m.Poll(ctx))
		},
		"the flags go": func(b *box, open func() *Mailbox, visit func(*Mailbox), name func(string)) {
			m := open()
			defer m.Close()
			name("before")
			b.rename(plain, lettered)
			visit(m)
			name("word")
			must(b.t, m.Poll(ctx))
			b.rename(lettered, plain)
			must(b.t, m.Poll(ctx))
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t)
			b.drop(plain)
			b.drop("cur/1700000002.M1P1.other:2,S")
			b.settle()
			env := keeping(t, t.TempDir())
			open := func() *Mailbox { return b.open(env) }
			c := &offline{t: t}
			do(b, open, func(m *Mailbox) {
				c.come(m)
				c.leave()
			}, func(word string) {
				must(t, os.WriteFile(b.file("dovecot-keywords"), []byte("21 "+word+"\n"), 0o600))
			})
			before := c.since
			m := open()
			defer m.Close()
			c.come(m)
			defer c.leave()
			msgs := slices.Collect(c.v.Messages([]Range{{1, 1}}, true))
			if len(msgs) != 1 || msgs[0].ModSeq <= before {
				t.Errorf("message 1 is %+v, told was all up to %d", msgs, before)
			}
		})
	}
}
