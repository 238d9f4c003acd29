package imap

import (
	"fmt"
	"math/bits"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"

	"maildird/server/imap/search"
)

func TestSearchKeys(t *testing.T) {
	tests := []struct {
		in    string
		key   string // "" means an error
		text  string // text of the probes
		retrn string
	}{
		{in: "ALL", key: "and[]"},
		{in: "unseen Deleted", key: "and[notflag:10 flag:20]"},
		{in: "NEW", key: "and[recent notflag:10]"},
		{in: "OLD", key: "not[recent]"},
		{in: "2,4:7,9,12:*", key: "seq[{2 2} {4 7} {9 9} {12 0}]"},
		{in: "*", key: "seq[{0 0}]"},
		{in: "uid 1:*", key: "uid[{1 0}]"},
		{in: "$", key: "seq[]"},
		{in: "NOT SEEN", key: "not[flag:10]"},
		{in: "NOT NOT ALL", key: "not[not[and[]]]"},
		{in: "OR SEEN (DELETED DRAFT)", key: "or[flag:10 and[flag:20 flag:1]]"},
		{in: "OR OR SEEN DELETED OR DRAFT ALL", key: "or[flag:10 flag:20 flag:1 and[]]"},
		{in: "((SEEN))", key: "flag:10"},
		{in: "KEYWORD $Junk UNKEYWORD foo", key: "and[keyword:$Junk not[keyword:foo]]"},
		{in: "KEYWORD \"$Junk\" UNKEYWORD {3+}\r\nfoo", key: "and[keyword:$Junk not[keyword:foo]]"},
		{in: "LARGER 10 smaller 20", key: "and[9:10 10:20]"},
		{in: "SINCE 1-Feb-1994", key: "13:8797"},
		{in: `BEFORE "2-Jan-1970"`, key: "11:1"},
		{in: "SENTON 01-Jan-1970", key: "15:0"},
		{in: "FROM Smith", key: "text:0", text: "from=SMITH"},
		{in: `SUBJECT "a b" TO x`, key: "and[text:0 text:1]", text: "subject=A B,to=X"},
		{in: "HEADER X-Foo {3+}\r\nbär", key: "text:0", text: "x-foo=BA\u0308R", retrn: "?"},
		{in: "CHARSET UTF-8 BODY {4+}\r\nb\xc3\xa4r", key: "text:0", text: "body=BA\u0308R"},
		{in: "CHARSET us-ascii TEXT x", key: "text:0", text: "text=X"},
		{in: "CHARSET ISO-8859-1 TEXT {3+}\r\nb\xe4r", key: "text:0", text: "text=BA\u0308R"},
		{in: "CHARSET KOI8-R TEXT {1+}\r\n\xc1", key: "text:0", text: "text=А"},
		{in: "HEADER X-Foo \"\"", key: "text:0", text: "x-foo="},
		{in: "BODY \"\"", key: "and[]"},
		{in: "RETURN () SEEN", key: "flag:10", retrn: "ALL"},
		{in: "return (Min MAX count) SEEN", key: "flag:10", retrn: "MIN MAX COUNT"},
		{in: "RETURN (SAVE ALL) CHARSET UTF-8 SEEN", key: "flag:10", retrn: "ALL SAVE"},
		{in: "RETURN (CONTEXT) SEEN", key: "flag:10", retrn: "ALL"},
		{in: "RETURN (UPDATE) SEEN", key: "flag:10", retrn: "UPDATE"},
		{in: "return ( update count ) SEEN", key: "flag:10", retrn: "COUNT UPDATE"},
		{in: "RETURN (UPDATE(UID FLAGS) MIN) SEEN", key: "flag:10", retrn: "MIN UPDATE:2"},
		{in: "RETURN (UPDATE (BODY[HEADER.FIELDS ({1+}\r\nA)]) CONTEXT) SEEN", key: "flag:10", retrn: "UPDATE:1"},
		{in: ""},
		{in: "RETURN (UPDATE ()) SEEN"},
		{in: "RETURN (UPDATE (NONSENSE)) SEEN"},
		{in: "RETURN (UPDATE UPDATE) SEEN"},
		{in: "RETURN (UPDATE (UID) UPDATE) SEEN"},
		{in: "FOO"},
		{in: "NOT"},
		{in: "OR SEEN"},
		{in: "(SEEN"},
		{in: "()"},
		{in: "SEEN)"},
		{in: "SINCE 31-Feb-1994"},
		{in: "SINCE tomorrow"},
		{in: "KEYWORD \\Seen"},
		{in: "LARGER -1"},
		{in: "UID x"},
		{in: "0"},
		{in: "CHARSET nonsense TEXT x"},
		{in: "CHARSET replacement TEXT x"},
		{in: "CHARSET UTF-8"},
		{in: "TEXT {1+}\r\n\xe4"},
		{in: "CHARSET UTF-16BE TEXT {0+}\r\n", key: "and[]"},
		{in: "RETURN (FOO) SEEN"},
		{in: "RETURN SEEN"},
		{in: strings.Repeat("(", 6) + "SEEN" + strings.Repeat(")", 6)},
		{in: strings.Repeat("NOT ", 2000) + "SEEN"},
	}
	for _, tt := range tests {
		for how, p := range pieces {
			lx := lexerOn(" "+tt.in+"\r\n", p)
			lx.Limits.Line = 1 << 20
			q := lx.searchQuery(false)
			err := lx.End()
			if tt.key == "" {
				if err == nil {
					t.Errorf("%.60q in %s: got %v, want an error", tt.in, how, q.program.Key)
				}
				continue
			}
			if tt.retrn == "?" { // a byte of the string is beyond its literal
				if err == nil {
					t.Errorf("%.60q in %s: got %v, want an error", tt.in, how, q.program.Key)
				}
				continue
			}
			if err != nil || q.program.Key.String() != tt.key || q.describeProbes() != tt.text || q.describeReturn() != tt.retrn {
				t.Errorf("%.60q in %s: got %v, %q, %q, %v; want %v, %q, %q", tt.in, how,
					q.program.Key, q.describeProbes(), q.describeReturn(), err, tt.key, tt.text, tt.retrn)
			}
		}
	}
}

func (q *searchQuery) describeProbes() string {
	var out []string
	for _, p := range q.program.Probes {
		where := strings.ToLower(p.Field)
		switch p.In {
		case search.InBody:
			where = "body"
		case search.InText:
			where = "text"
		}
		out = append(out, fmt.Sprintf("%s=%s", where, p.Needle))
	}
	return strings.Join(out, ",")
}

func (q *searchQuery) describeReturn() string {
	if !q.hasReturn {
		return ""
	}
	var out []string
	for _, o := range []struct {
		on   bool
		name string
	}{
		{q.options.ReturnMin, "MIN"}, {q.options.ReturnMax, "MAX"}, {q.options.ReturnAll, "ALL"},
		{q.options.ReturnCount, "COUNT"}, {q.options.ReturnSave, "SAVE"},
	} {
		if o.on {
			out = append(out, o.name)
		}
	}
	if q.update != nil {
		out = append(out, "UPDATE")
		if items := q.update.items; items != nil {
			out[len(out)-1] += fmt.Sprint(":", bits.OnesCount8(uint8(items.set))+len(items.parts)+len(items.attrs))
		}
	}
	return strings.Join(out, " ")
}

func TestSearchCharsetWithUTF8(t *testing.T) {
	lx := lexerOn(" CHARSET UTF-8 SEEN\r\n", pieces["whole"])
	lx.searchQuery(true)
	status, _ := statusOf(lx.End())
	if status == nil || status.Type != imap.StatusResponseTypeBad {
		t.Errorf("CHARSET after UTF8=ACCEPT: got %v, want BAD", status)
	}
}

func TestSearchBadCharset(t *testing.T) {
	lx := lexerOn(" CHARSET nonsense SEEN\r\n", pieces["whole"])
	lx.searchQuery(false)
	status, _ := statusOf(lx.End())
	if status == nil || status.Type != imap.StatusResponseTypeNo || status.Code != "BADCHARSET (US-ASCII UTF-8)" {
		t.Errorf("unknown charset: got %v", status)
	}
}

// FuzzSearchKeys checks that a query is accepted or refused in the same way however it arrives,
// and that an accepted query is within the limits.
func FuzzSearchKeys(f *testing.F) {
	for _, seed := range []string{
		"ALL", "RETURN (MIN SAVE) OR (SEEN $) NOT UID 1:*", "CHARSET UTF-8 SUBJECT {1+}\r\nx",
		"SINCE 1-Feb-1994 SENTBEFORE \"1-Feb-94\" LARGER 9", "HEADER a \"\" KEYWORD b",
		"RETURN (MAX ALL COUNT) UNKEYWORD a BODY x TEXT {3+}\r\nGr\xfc (OR (NOT NOT SEEN) (1,3:* UID $))", "CHARSET ISO-8859-1 TEXT {2+}\r\n\xfcx SUBJECT \"\"",
		"MODSEQ \"/flags/\\\\Seen\" all 620162338 OLDER 5 YOUNGER 7", "SAVEDBEFORE 1-Jan-2020 SAVEDATESUPPORTED EMAILID M1 THREADID T-_2 ON 29-Feb-2023",
		"RETURN (UPDATE (UID BODY.PEEK[HEADER.FIELDS (A \"b\")]<0.9>) CONTEXT PARTIAL -1:-9) SEEN",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		lx := lexerOn(" "+in+"\r\n", pieces["whole"])
		q := lx.searchQuery(false)
		err := lx.End()
		slow := lexerOn(" "+in+"\r\n", pieces["octets"])
		got := slow.searchQuery(false)
		if fmt.Sprint(slow.End()) != fmt.Sprint(err) || err == nil && got.program.Key.String() != q.program.Key.String() {
			t.Fatalf("%q gives %v in octets, and %v (%v) at once", in, got.program.Key, q.program.Key, err)
		}
		if err != nil {
			return
		}
		var walk func(k search.Key, level int)
		walk = func(k search.Key, level int) {
			if level > maxSearchDepth+2 {
				t.Fatalf("%q: %d levels", in, level)
			}
			if k.Op == search.Text && k.Probe >= len(q.program.Probes) {
				t.Fatalf("%q: probe %d of %d", in, k.Probe, len(q.program.Probes))
			}
			if k.Op == search.Not && len(k.Keys) != 1 || k.Op == search.Or && len(k.Keys) < 2 {
				t.Fatalf("%q: %v", in, k)
			}
			for _, kid := range k.Keys {
				walk(kid, level+1)
			}
		}
		walk(q.program.Key, 0)
	})
}
