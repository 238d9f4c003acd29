package syntax

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"maildird/maildir/mailbox"
)

func TestSeqSets(t *testing.T) {
	tests := []struct {
		in   string
		last uint32
		want string
	}{
		{"1", 10, "[{1 1}]"},
		{"1:3,7", 10, "[{1 3} {7 7}]"},
		{"3:1", 10, "[{1 3}]"},
		{"*", 10, "[{10 10}]"},
		{"5:*", 10, "[{5 10}]"},
		{"*:5", 10, "[{5 10}]"},
		{"15:*", 10, "[{10 15}]"},
		{"*:*", 10, "[{10 10}]"},
		{"4294967295", 10, "[{4294967295 4294967295}]"},
	}
	for _, tt := range tests {
		lx, _ := lexerOn(tt.in+"\r\n", pieces["octets"])
		set := lx.NumSet()
		if err := lx.End(); err != nil {
			t.Errorf("%s: %v", tt.in, err)
		}
		if got := fmt.Sprint(set.Resolve(tt.last)); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.in, got, tt.want)
		}
	}
	for _, in := range []string{"", "0", "1,", ",1", "1:", ":1", "1::2", "4294967296", "a", "1:0", "-1", "1;2", "**"} {
		lx, _ := lexerOn(in+"\r\n", pieces["octets"])
		lx.NumSet()
		if lx.End() == nil {
			t.Errorf("%q was taken", in)
		}
	}
	lx, _ := lexerOn("$ 1:2 3\r\n", pieces["whole"])
	saved := lx.NumSet()
	lx.SP()
	first := lx.NumSet()
	lx.SP()
	second := lx.NumSet()
	if !saved.Saved || fmt.Sprint(first.Ranges, second.Ranges) != fmt.Sprint([]mailbox.Range{{First: 1, Last: 2}}, []mailbox.Range{{First: 3, Last: 3}}) {
		t.Errorf("%+v %+v %+v", saved, first, second)
	}
}

func TestDates(t *testing.T) {
	tests := []struct{ in, want string }{
		{"1-Feb-1994", "1994-02-01"},
		{"01-fEB-1994", "1994-02-01"},
		{`"29-Feb-2024"`, "2024-02-29"},
		{"1-Feb-94", "1994-02-01"},
		{"29-Feb-2023", ""},
		{"0-Feb-2023", ""},
		{"1-Foo-2023", ""},
		{"1-Feb-994", ""},
		{"1-2-1994", ""},
		{"Feb-1-1994", ""},
		{"1-Feb-1994x", ""},
		{`""`, ""},
		{`"1-Feb`, ""},
	}
	for _, tt := range tests {
		lx, _ := lexerOn(tt.in+"\r\n", pieces["octets"])
		got := lx.Date()
		err := lx.End()
		if (err == nil) != (tt.want != "") || err == nil && got.Format(time.DateOnly) != tt.want {
			t.Errorf("%s: %v, %v; want %s", tt.in, got, err, tt.want)
		}
	}
}

func TestDateTimes(t *testing.T) {
	tests := []struct{ in, want string }{
		{` 1-Feb-1994 21:52:25 -0800`, "1994-02-01T21:52:25-08:00"},
		{`01-feb-1994 21:52:25 +0530`, "1994-02-01T21:52:25+05:30"},
		{`1-Feb-1994 21:52:25 +0000`, "1994-02-01T21:52:25Z"},
		{`1-Feb-1994  9:52:25 +0000`, ""},
		{`1-Feb-1994 9:52:25 +0000`, "1994-02-01T09:52:25Z"},
		{`01-Feb-94 21:52:25-GMT`, "1994-02-01T21:52:25Z"},
		{`01-Feb-04 21:52:25-EST`, "2004-02-01T21:52:25-05:00"},
		{`01-Feb-1994 21:52:25-0800`, "1994-02-01T21:52:25-08:00"},
		{`01-Feb-1994 21:52:25 GMT`, "1994-02-01T21:52:25Z"},
		{`31-Dec-2016 23:59:60 +0000`, "2017-01-01T00:00:00Z"},
		{`01-Feb-1994 21:52:25  +05:30`, "1994-02-01T21:52:25+05:30"},
		{`01-Feb-1994 21:52:25 +05:`, ""},
		{`01-Feb-1994 21:52:25`, ""},
		{`01-Feb-1994 24:52:25 +0000`, ""},
		{`01-Feb-1994 21:62:25 +0000`, ""},
		{`01-Feb-1994 21:52:25 +00`, ""},
		{`01-Feb-1994 21:52:25 +0000 x`, ""},
		{`01-Feb-1994 21:52:25 `, ""},
		{`01-Feb-1994 21:52:25-`, ""},
		{`30-Feb-1994 21:52:25 +0000`, ""},
		{``, ""},
	}
	for _, tt := range tests {
		lx, _ := lexerOn(`"`+tt.in+"\"\r\n", pieces["octets"])
		got := lx.DateTime()
		err := lx.End()
		if (err == nil) != (tt.want != "") || err == nil && got.Format(time.RFC3339) != tt.want {
			t.Errorf("%s: %v, %v; want %s", tt.in, got.Format(time.RFC3339), err, tt.want)
		}
	}
}

// TestAppendDateTime compares dates with the output of package time.
func TestAppendDateTime(t *testing.T) {
	for range 5000 {
		at := time.Unix(rand.Int64N(1<<37)-1<<35, 0).In(time.FixedZone("", 60*(rand.IntN(2*14*60)-14*60)))
		want := at.Format(`"_2-Jan-2006 15:04:05 -0700"`)
		if y := at.Year(); y < 0 || y > 9999 {
			want = time.Unix(0, 0).Format(`"_2-Jan-2006 15:04:05 -0700"`)
		}
		if got := string(AppendDateTime(nil, at)); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
	}
}
