package thread

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// shown formats threads like THREAD, with "-" for a missing message.
func shown(threads []*Thread) string {
	var b strings.Builder
	for _, t := range threads {
		b.WriteByte('(')
		if t.Mail == nil {
			b.WriteByte('-')
		} else {
			fmt.Fprint(&b, t.Mail.Message.Seq)
		}
		if len(t.Children) > 0 {
			b.WriteString(" " + shown(t.Children))
		}
		b.WriteByte(')')
	}
	return b.String()
}

// mail returns a message to be threaded.
func (n *Names) mail(id string, sent int64, subject string, reply bool, references ...string) Mail {
	m := Mail{ID: n.Of([]byte(id)), Sent: sent, Subject: n.Of([]byte(subject)), Reply: reply}
	for _, r := range references {
		m.References = append(m.References, n.Of([]byte(r)))
	}
	return m
}

// TestNames: equal texts have the same number and are counted once.
func TestNames(t *testing.T) {
	var n Names
	a, b := n.Of([]byte("a")), n.Of([]byte("b"))
	if a == b || a == 0 || n.Of(nil) != 0 {
		t.Errorf("%d, %d and %d", a, b, n.Of(nil))
	}
	octets := n.Octets()
	if n.Of([]byte("a")) != a || n.Octets() != octets {
		t.Errorf("the same text is number %d and not %d, and takes %d octets", n.Of([]byte("a")), a, n.Octets()-octets)
	}
	if n.Of(bytes.Repeat([]byte("a"), 1000)) == a || n.Octets() < octets+1000 {
		t.Errorf("a long text takes %d octets", n.Octets()-octets)
	}
}

func TestAlgorithms(t *testing.T) {
	mails := func() []Mail {
		var n Names
		list := []Mail{
			n.mail("a", 10, "A", false),
			n.mail("b", 30, "A", true, "a"),
			n.mail("c", 20, "A", true, "a"),
			n.mail("d", 40, "OTHER", false, "a", "c"),
			n.mail("e", 25, "LOST", false, "gone"),
			n.mail("f", 5, "LOST", false, "gone"),
			n.mail("", 50, "A", true),
			n.mail("a", 60, "LATE", false), // duplicate identifier
			n.mail("x", 61, "LOOP", false, "y"),
			n.mail("y", 62, "LOOP", false, "x"),
		}
		for i := range list {
			list[i].Message.Seq = uint32(i + 1)
		}
		return list
	}
	for _, tt := range []struct {
		name      string
		algorithm func([]Mail) []*Thread
		want      string
	}{
		{"ORDEREDSUBJECT", OrderedSubject, "(6 (5))(1 (3)(2)(7))(4)(8)(9 (10))"},
		{"REFERENCES", ByReferences, "(- (6)(5))(1 (3 (4))(2)(7))(8)(10 (9))"},
		{"REFS", ByRefs, "(- (6)(5))(1 (3 (4))(2))(7)(8)(10 (9))"},
	} {
		if got := shown(tt.algorithm(mails())); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// TestSubjectOfNoMessage: a thread whose first message is missing has the subject of its
// earliest message, regardless of their order.
func TestSubjectOfNoMessage(t *testing.T) {
	var n Names
	list := []Mail{n.mail("a", 30, "LATER", false, "gone"), n.mail("b", 20, "EARLIER", false, "gone"), n.mail("c", 40, "EARLIER", false)}
	for i := range list {
		list[i].Message.Seq = uint32(i + 1)
	}
	if got, want := shown(ByReferences(list)), "(- (2)(1)(3))"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestThreadShapes threads messages that reply to each other in one long chain.
func TestThreadShapes(t *testing.T) {
	deep := make([]Mail, 20_000)
	for i := range deep {
		deep[i] = Mail{ID: Name(i + 1), Sent: int64(i)}
		if i > 0 {
			deep[i].References = []Name{Name(i)}
		}
	}
	for name, algorithm := range map[string]func([]Mail) []*Thread{"REFERENCES": ByReferences, "REFS": ByRefs} {
		count := 0
		for _, root := range algorithm(deep) {
			root.walk(func(t *Thread) {
				if t.Mail != nil {
					count++
				}
			})
		}
		if count != len(deep) {
			t.Errorf("%s: %d of %d messages in a deep thread", name, count, len(deep))
		}
	}
}

// FuzzThreads threads messages with arbitrary references: each message appears once, and
// no thread is empty.
func FuzzThreads(f *testing.F) {
	f.Add([]byte("\x01\x00a\x02\x01\x01b\x03\x02\x01\x02c"))
	f.Add([]byte("\x01\x01\x02a\x02\x01\x01a\x00\x03\x01\x02\x03A\x02\x00b"))
	f.Add([]byte("\x01\x03\x02\x03\x04a\x02\x03\x04\x03\x01A\x04\x01\x04a\x03\x01\x09b\x05\x01\x09b"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4000 {
			return
		}
		mails := mailsOf(data)
		for name, algorithm := range map[string]func([]Mail) []*Thread{"ORDEREDSUBJECT": OrderedSubject, "REFERENCES": ByReferences, "REFS": ByRefs} {
			seen := map[*Mail]bool{}
			for _, root := range algorithm(mails) {
				root.walk(func(at *Thread) {
					if at.Mail == nil && len(at.Children) == 0 {
						t.Fatalf("%s: an empty thread", name)
					}
					if at.Mail != nil && seen[at.Mail] {
						t.Fatalf("%s: message %d is there twice", name, at.Mail.Message.Seq)
					}
					seen[at.Mail] = at.Mail != nil
				})
			}
			delete(seen, nil)
			if len(seen) != len(mails) {
				t.Fatalf("%s: %d of %d messages", name, len(seen), len(mails))
			}
		}
	})
}

// mailsOf creates messages from bytes: the identifier, the references after their
// number, and the subject.
func mailsOf(data []byte) (mails []Mail) {
	take := func() (c byte) {
		if len(data) > 0 {
			c, data = data[0], data[1:]
		}
		return c
	}
	id := func(c byte) Name {
		if c == 0 {
			return 0
		}
		return Name(1 + c%20)
	}
	for len(data) > 0 {
		m := Mail{ID: id(take())}
		for range take() % 5 {
			if ref := id(take()); ref != 0 {
				m.References = append(m.References, ref)
			}
		}
		c := take()
		m.Subject, m.Reply, m.Sent = id(c%8), c&0x20 == 0, int64(c>>6)
		m.Message.Seq = uint32(len(mails) + 1)
		mails = append(mails, m)
	}
	return mails
}
