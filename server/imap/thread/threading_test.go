package thread

import (
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

func TestAlgorithms(t *testing.T) {
	mails := func() []Mail {
		list := []Mail{
			{ID: "a", Sent: 10, Subject: "A"},
			{ID: "b", Sent: 30, Subject: "A", Reply: true, References: []string{"a"}},
			{ID: "c", Sent: 20, Subject: "A", Reply: true, References: []string{"a"}},
			{ID: "d", Sent: 40, Subject: "OTHER", References: []string{"a", "c"}},
			{ID: "e", Sent: 25, Subject: "LOST", References: []string{"gone"}},
			{ID: "f", Sent: 5, Subject: "LOST", References: []string{"gone"}},
			{ID: "", Sent: 50, Subject: "A", Reply: true},
			{ID: "a", Sent: 60, Subject: "LATE"}, // duplicate identifier
			{ID: "x", Sent: 61, Subject: "LOOP", References: []string{"y"}},
			{ID: "y", Sent: 62, Subject: "LOOP", References: []string{"x"}},
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
	list := []Mail{
		{ID: "a", Sent: 30, Subject: "LATER", References: []string{"gone"}},
		{ID: "b", Sent: 20, Subject: "EARLIER", References: []string{"gone"}},
		{ID: "c", Sent: 40, Subject: "EARLIER"},
	}
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
		deep[i] = Mail{ID: fmt.Sprint(i), Sent: int64(i)}
		if i > 0 {
			deep[i].References = []string{fmt.Sprint(i - 1)}
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
	id := func(c byte) string {
		if c == 0 {
			return ""
		}
		return string(rune('0' + c%20))
	}
	for len(data) > 0 {
		m := Mail{ID: id(take())}
		for range take() % 5 {
			if ref := id(take()); ref != "" {
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
