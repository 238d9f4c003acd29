package imap

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"maildird/server/imap/imapurl"
)

// describe formats the items for tables.
func (items fetchItems) describe() string {
	out := fmt.Sprintf("%#x", uint8(items.set))
	for _, p := range items.parts {
		out += " " + p.Name
		if p.Partial != nil {
			out += fmt.Sprintf("+%d", p.Partial.Size)
		}
		if p.Peek {
			out += "*"
		}
	}
	return out
}

func TestFetchItems(t *testing.T) {
	tests := []struct{ in, want string }{
		{"ALL", "0x1e"},
		{"fast", "0xe"},
		{"Full", "0x3e"},
		{"(FLAGS)", "0x2"},
		{"UID", "0x1"},
		{"(uid RFC822.SIZE flags)", "0xb"},
		{"(FLAGS ALL)", "0x1e"},
		{"(ENVELOPE BODY BODYSTRUCTURE INTERNALDATE)", "0x74"},
		{"RFC822", "0x0 RFC822"},
		{"(RFC822.HEADER RFC822.TEXT)", "0x0 RFC822.HEADER* RFC822.TEXT"},
		{"BODY", "0x20"},
		{"BODY[]", "0x0 BODY[]"},
		{"body.peek[]<0.65536>", "0x0 BODY[]<0>+65536*"},
		{"BODY[]<9223372036854775807.1>", "0x0 BODY[]<9223372036854775807>+1"},
		{"BODY[1.2.mime]", "0x0 BODY[1.2.MIME]"},
		{"BODY[TEXT]", "0x0 BODY[TEXT]"},
		{"BODY[3.HEADER]", "0x0 BODY[3.HEADER]"},
		{"BODY[3.1]", "0x0 BODY[3.1]"},
		{"BODY.PEEK[HEADER.FIELDS (From To Cc)]", "0x0 BODY[HEADER.FIELDS (From To Cc)]*"},
		{"BODY.PEEK[1.Header.Fields.Not (X-a)]", "0x0 BODY[1.HEADER.FIELDS.NOT (X-a)]*"},
		{`BODY[HEADER.FIELDS ("From" "a b" {2+}` + "\r\n" + `cc)]`, `0x0 BODY[HEADER.FIELDS (From "a b" cc)]`},
		{`BODY[HEADER.FIELDS ("" "a\"b" x])]`, `0x0 BODY[HEADER.FIELDS ("" "a\"b" x])]`},
		{"BINARY[1.2]<5.7>", "0x0 BINARY[1.2]<5>+7"},
		{"BINARY.PEEK[1]", "0x0 BINARY[1]*"},
		{"BINARY[]", "0x0 BINARY[]"},
		{"BINARY.SIZE[1]", "0x0 BINARY.SIZE[1]*"},
		// A repeated item is returned once; a peek does not undo the other item.
		{"(BODY[] BODY.PEEK[] BODY[])", "0x0 BODY[]"},
		{"(BODY.PEEK[]<0.5> BODY.PEEK[]<0.6>)", "0x0 BODY[]<0>+5* BODY[]<0>+6*"},
		{"(  FLAGS", ""},
		{"()", ""},
		{"FLAGS UID", ""},
		{"FLAGGS", ""},
		{"BODY[", ""},
		{"BODY[]<0>", ""},
		{"BODY[]<0.0>", ""},
		{"BODY[]<9223372036854775808.1>", ""},
		{"BODY[0]", ""},
		{"BODY[1.]", ""},
		{"BODY[.1]", ""},
		{"BODY[1.2", ""},
		{"BODY[MIME]", ""},
		{"BODY[FOO]", ""},
		{"BODY[HEADER.FIELDS]", ""},
		{"BODY[HEADER.FIELDS ()]", ""},
		{"BODY[HEADER.FIELDS (a {3+}\r\na\r\n)]", ""},
		{"BODY.PEEK", ""},
		{"BINARY", ""},
		{"BINARY[HEADER]", ""},
		{"BINARY[1.MIME]", ""},
		{"BINARY.SIZE[1]<0.1>", ""},
		{"BODY[" + strings.Repeat("1.", 200) + "1]", ""},
	}
	for _, tt := range tests {
		for how, p := range pieces {
			lx := lexerOn(tt.in+"\r\n", p)
			items := lx.fetchItems()
			err := lx.End()
			if tt.want == "" {
				if err == nil {
					t.Errorf("%q in %s: got %s, want an error", tt.in, how, items.describe())
				}
				continue
			}
			if err != nil || items.describe() != tt.want {
				t.Errorf("%q in %s: got %s, %v; want %s", tt.in, how, items.describe(), err, tt.want)
			}
		}
	}
}

// FuzzFetchItems checks that the parsed FETCH items do not depend on how the input arrives, and
// that the name of an item in a response gives the same item when it is parsed.
func FuzzFetchItems(f *testing.F) {
	for _, seed := range []string{
		"ALL", "(FLAGS UID RFC822.SIZE)", "BODY.PEEK[HEADER.FIELDS (From \"a b\" {1+}\r\nx)]<3.4>",
		"(BODY[1] BODY.PEEK[1] BINARY.PEEK[1.2] BODY MODSEQ EMAILID THREADID SAVEDATE PREVIEW (LAZY))", "(FLAGS) (CHANGEDSINCE 7 VANISHED)",
		"(BODY[1.2.MIME] BINARY[1]<0.9> BINARY.SIZE[2])", "BODY[HEADER.FIELDS.NOT (x)]", "RFC822.HEADER",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		lx := lexerOn(in+"\r\n", pieces["whole"])
		items := lx.fetchItems()
		err := lx.End()
		slow := lexerOn(in+"\r\n", pieces["octets"])
		if got := slow.fetchItems(); fmt.Sprint(slow.End()) != fmt.Sprint(err) || err == nil && got.describe() != items.describe() {
			t.Fatalf("%q gives %s in octets, and %s (%v) at once", in, got.describe(), items.describe(), err)
		}
		if err != nil {
			return
		}
		if len(items.parts) > maxFetchParts {
			t.Fatalf("%d parts", len(items.parts))
		}
		for _, p := range items.parts {
			again := p.Name
			if p.Partial != nil {
				again = strings.TrimSuffix(again, ">") + fmt.Sprintf(".%d>", p.Partial.Size)
			}
			lx := lexerOn(again+"\r\n", pieces["whole"])
			second := lx.fetchItems()
			if err := lx.End(); err != nil || len(second.parts) != 1 || second.parts[0].Name != p.Name {
				if p.Name == "RFC822.HEADER" || p.Name == "RFC822.TEXT" || p.Name == "RFC822" {
					continue
				}
				t.Fatalf("%q gives the item %q, which gives %s, %v", in, again, second.describe(), err)
			}
		}
	})
}

// TestSectionsOfURLs: a URL accepts the same sections as FETCH.
func TestSectionsOfURLs(t *testing.T) {
	for _, section := range []string{"1", "1.2", "HEADER", "TEXT", "3.TEXT", "2.HEADER", "2.1.MIME", "HEADER.FIELDS (From To)", "1.HEADER.FIELDS.NOT (X)"} {
		u, err := imapurl.Parse("/a/;UID=1/;SECTION=" + imapurl.Escape(section))
		if err != nil {
			t.Errorf("%s: %v", section, err)
			continue
		}
		lx := lexerOn("BODY.PEEK["+section+"]\r\n", pieces["whole"])
		items := lx.fetchItems()
		if err := lx.End(); err != nil {
			t.Fatal(err)
		}
		want := items.parts[0].FetchItemBodySection
		if !reflect.DeepEqual(u.Part.FetchItemBodySection, want) {
			t.Errorf("%s: %+v, want %+v", section, u.Part.FetchItemBodySection, want)
		}
	}
}
