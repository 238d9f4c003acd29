package imap

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"maildird/scripts/mailgen"
)

// searched returns the numbers that a SEARCH finds.
func (c *testClient) searched(query string) (found []int) {
	c.t.Helper()
	for _, line := range c.ok("SEARCH " + query) {
		if numbers, ok := strings.CutPrefix(line, "* SEARCH"); ok {
			for n := range strings.FieldsSeq(numbers) {
				i, err := strconv.Atoi(n)
				if err != nil {
					c.t.Fatal(line)
				}
				found = append(found, i)
			}
		}
	}
	return found
}

// TestSearchMail searches the mail of testdata/mail for text, which is decoded from transfer
// encodings, charsets and encoded words, and compared with i;unicode-casemap.
func TestSearchMail(t *testing.T) {
	files := corpus(t)
	ts := startServer(t)
	if err := ts.provision("alice"); err != nil {
		t.Fatal(err)
	}
	fillInbox(t, ts.root("alice"), files)
	c := ts.login()
	c.ok("SELECT INBOX")
	literal := func(s string) string { return fmt.Sprintf("{%d+}\r\n%s", len(s), s) }
	utf8 := func(key, s string) string { return "CHARSET UTF-8 " + key + " " + literal(s) }
	for _, q := range []struct {
		query string
		want  string // names
	}{
		{utf8("BODY", "grüße"), "encoding-alone nested no-mime-version plain"},
		{utf8("BODY", "GRÜSSE"), ""}, // ß is not SS in i;unicode-casemap
		{utf8("TEXT", "GRÜße"), "8bit-header encoding-alone nested no-mime-version plain"},
		{"BODY caf", "nested"},
		{"BODY CAFE", "nested"}, // é is e and an accent
		{utf8("BODY", "\u00c9"), "nested"},
		{"BODY \"broken softly\"", "nested"}, // a soft line break is not text
		{"BODY PHA+R3", ""},                  // the base64 itself
		{"BODY \"no first line\"", ""},
		{"BODY \"its first line has no colon\"", ""},                 // all of it is header
		{"TEXT \"its first line has no colon\"", "no-header-at-all"}, // not in a field
		{"BODY \"second, in parts\"", "digest"},
		{"BODY inside", ""},       // the header of a nested message
		{"TEXT inside", "nested"}, // is part of the text
		{"TEXT \"image/png\"", "nested"},
		{"BODY iVBORw0KGgo", ""}, // attachments are not searched
		{"SUBJECT zeilen", "encoded-words"},
		{utf8("SUBJECT", "mitte eines zeichens geteilt"), "encoded-words"},
		{utf8("SUBJECT", "geteilt ist: €."), "encoded-words"},
		{utf8("FROM", "JÜRGEN MÜLLER"), "encoded-words"},
		{utf8("TO", "日本"), "encoded-words"},
		{utf8("TO", "иван"), "8bit-header encoded-words"},
		{"HEADER X-Long \"2    3\"", "bad-header-lines"}, // white space is significant
		{"HEADER X-Long \"2 3\"", "bad-header-lines"},
		{"HEADER X-Long \"23\"", ""},
		{"HEADER X-Long \"1 2\"", "bad-header-lines"},
		{"HEADER X-Long \"\"", "bad-header-lines"},
		{"CC second", "addresses"},
		{"TEXT \"subject: inside\"", "nested"},
		{"BODY " + literal("one\r\n--inner"), ""}, // boundaries are not part of the text
		{"BODY " + literal("vcalendar\r\nmethod"), "calendar"},
		{"SENTON 4-Jun-2024", ""},
		{"SENTON 3-Jun-2024 SUBJECT parts", "empty-parts nested"},
		{"LARGER 5000", "long-lines"},
	} {
		var want []int
		for name := range strings.FieldsSeq(q.want) {
			want = append(want, slices.IndexFunc(files, func(f string) bool { return mailName(f) == name })+1)
		}
		if got := c.searched(q.query); !slices.Equal(got, want) {
			var names []string
			for _, n := range got {
				names = append(names, mailName(files[n-1]))
			}
			t.Errorf("%q finds %v, want %s", q.query, names, q.want)
		}
	}
}

// TestSearchWithHelpers: helper goroutines do not change the result.
func TestSearchWithHelpers(t *testing.T) {
	ts := startServer(t)
	if err := ts.provision("alice"); err != nil {
		t.Fatal(err)
	}
	if _, err := mailgen.Fill(ts.root("alice"), 500); err != nil {
		t.Fatal(err)
	}
	c := ts.login()
	c.ok("SELECT INBOX")
	helpers := ts.helpers
	for _, query := range []string{
		"TEXT hotel", "BODY meeting SUBJECT plan", "OR BODY \"travel team\" FROM lena", "NOT TEXT invoice", "SUBJECT version SENTSINCE 2-Jan-2024",
	} {
		ts.helpers = make(chan struct{}, 5)
		many := c.searched(query)
		ts.helpers = make(chan struct{})
		alone := c.searched(query)
		if !slices.Equal(many, alone) || len(alone) == 0 || len(alone) == 500 {
			t.Errorf("%s: with helpers %d messages, alone %d", query, len(many), len(alone))
		}
	}
	ts.helpers = helpers
}
