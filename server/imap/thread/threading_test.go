package thread

import (
	"fmt"
	"strings"
	"testing"
)

// shown writes threads as THREAD does, "-" for a message that is not there.
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
			{ID: "a", Sent: 60, Subject: "LATE"}, // an identifier twice
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

// TestThreadShapes threads messages that answer each other in one long line.
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
