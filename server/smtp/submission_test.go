package smtp

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"maildird/auth"
)

// onlyAlice is a directory with one user.
type onlyAlice struct{}

func (onlyAlice) Lookup(name string) (auth.User, bool) {
	name = strings.ToLower(name)
	return auth.User{Name: "alice@example.org"}, name == "alice" || name == "alice@example.org"
}

func (onlyAlice) LeftOut(string) bool { return false }
func (onlyAlice) Empty() bool         { return false }

func aliceEdit() *headerEdit {
	srv := New(Submission, Config{
		Hostname: "mail.example.org", Domains: []string{"example.org"}, Users: onlyAlice{}, Postmaster: "alice@example.org",
		Now: func() time.Time { return time.Date(2024, 2, 3, 4, 5, 6, 0, time.UTC) },
	})
	user := auth.User{Name: "alice@example.org"}
	return &headerEdit{s: &session{srv: srv, peer: &peer{}, log: slog.New(slog.DiscardHandler), user: &user, from: &envelope{}}, id: "id-1"}
}

func TestMendHeader(t *testing.T) {
	const rest = "Date: d\nMessage-ID: m\n"
	for _, c := range []struct{ name, in, want string }{
		{"complete", "From: alice@example.org\n" + rest, "From: alice@example.org\n" + rest},
		{"no date", "From: alice@example.org\nMessage-ID: m\n", "From: alice@example.org\nMessage-ID: m\nDate: Sat, 3 Feb 2024 04:05:06 +0000\n"},
		{"no id", "From: alice@example.org\ndate: d\n", "From: alice@example.org\ndate: d\nMessage-ID: <id-1.1706933106@mail.example.org>\n"},
		{"bcc", "Bcc: x\n y\n\tz\nFrom: alice@example.org\nBCC :\n" + rest + "Resent-Bcc: q", "From: alice@example.org\n" + rest},
		{"return path", "Return-Path: <bob@example.org>\nFrom: alice@example.org\n" + rest, "From: alice@example.org\n" + rest},
		{"folded from", "From:\n =?utf-8?q?A?=\n <alice@example.org>\n" + rest, "From:\n =?utf-8?q?A?=\n <alice@example.org>\n" + rest},
		{"detail and postmaster", "From: alice+x@example.org, postmaster@EXAMPLE.org\n" + rest, "From: alice+x@example.org, postmaster@EXAMPLE.org\n" + rest},
		{"8-bit name", "From: \xe4lice <alice@example.org>\n" + rest, "From: \xe4lice <alice@example.org>\n" + rest},
		{"no line end", "From: alice@example.org\nDate: d\nMessage-ID: m", "From: alice@example.org\nDate: d\nMessage-ID: m"},

		{"another", "From: bob@example.org\n" + rest, ""},
		{"one of two", "From: alice@example.org, bob@example.org\n" + rest, ""},
		{"in a comment", "From: bob@example.org (alice@example.org)\n" + rest, ""},
		{"as a name", "From: \"alice@example.org\" <bob@example.org>\n" + rest, ""},
		{"in a group", "From: alice@example.org: bob@example.org;\n" + rest, ""},
		{"other domain", "From: alice@example.org.evil.example\n" + rest, ""},
		{"none", rest, ""},
		{"empty", "From:\n" + rest, ""},
		{"two fields", "From: alice@example.org\nFROM : bob@example.org\n" + rest, ""},
		{"garbage", "From: alice@example.org, <<>>\n" + rest, ""},
		{"no field", "From: alice@example.org\nno field here\n", ""},
		{"nothing", "", ""},
		{"own sender", "From: alice@example.org\nSender: Alice <alice+x@example.org>\n" + rest, "From: alice@example.org\nSender: Alice <alice+x@example.org>\n" + rest},
		{"another sender", "From: alice@example.org\nSender: bob@example.org\n" + rest, ""},
		{"second sender", "Sender: alice@example.org\nFrom: alice@example.org\nsender: bob@example.org\n" + rest, ""},
		{"two own senders", "From: alice@example.org\nSender: alice@example.org\nsender : alice@example.org\n" + rest, ""},
		{"empty sender", "From: alice@example.org\nSender:\n" + rest, ""},
		{"from with a line end before the colon", "From\n : bob@example.org\nFrom: alice@example.org\n" + rest, ""},
		{"from behind a space", " From: bob@example.org\nFrom: alice@example.org\n" + rest, ""},
		{"bcc with a line end before the colon", "From: alice@example.org\nBcc\n\t: bob@example.org\n" + rest, ""},
		{"no name", "From: alice@example.org\n: x\n" + rest, ""},
		{"name with 8-bit octets", "From: alice@example.org\nFr\xc3\xb6m: x\n" + rest, ""},
		{"another from behind a CR", "From: alice@example.org\rFrom: bob@example.org\n" + rest, ""},
		{"bcc behind a CR", "From: alice@example.org\nSubject: x\rBcc: bob@example.org\n" + rest, ""},
		{"CR before a line end", "From: alice@example.org\nSubject: x\r\n" + rest, ""},
		{"NUL", "From: alice@example.org\x00, bob@example.org\n" + rest, ""},
	} {
		got, err := aliceEdit().mend([]byte(c.in))
		if string(got) != c.want || (err == nil) != (c.want != "") {
			// A missing line ending at the end of the header is added.
			if string(got) == c.want+"\n" && err == nil {
				continue
			}
			t.Errorf("%s: got %q, %v, want %q", c.name, got, err, c.want)
		}
	}
}

// FuzzMendHeader: an accepted header has no Bcc and one From field, and the other fields are
// unchanged and in the same order.
func FuzzMendHeader(f *testing.F) {
	for _, s := range []string{
		"From: alice@example.org\nBcc: b\n c\nDate: d\n", "From: a:b;, <alice@example.org>\n", "bcc:\n\nfrom:",
		"From: =?utf-8?b?YQ==?= <alice@example.org>\nMessage-ID: x\n", ":\n", " x:y\nFrom: alice\n",
	} {
		f.Add([]byte(s))
	}
	edit := aliceEdit()
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := edit.mend(bytes.Clone(in))
		if err != nil {
			if got != nil || err.Code < 500 {
				t.Fatalf("%q beside %v", got, err)
			}
			return
		}
		names := map[string]int{}
		was := in // what comes after the previous field
		for rest := got; len(rest) > 0; {
			n := fieldLength(rest)
			name, _, ok := bytes.Cut(rest[:n], []byte(":"))
			if !ok || bytes.ContainsAny(rest[:n], "\r\x00") {
				t.Fatalf("%q became %q", in, got)
			}
			names[lower(string(bytes.TrimRight(name, " \t")))]++
			if at := bytes.Index(was, rest[:n-1]); at >= 0 {
				was = was[at+n-1:]
			} else if !bytes.HasPrefix(rest, []byte("Date: Sat, 3 Feb")) && !bytes.HasPrefix(rest, []byte("Message-ID: <id-1.")) {
				t.Fatalf("%q was not in %q, or not there", rest[:n], in)
			}
			rest = rest[n:]
		}
		if names["from"] != 1 || names["bcc"] != 0 || names["return-path"] != 0 || names["date"] == 0 || names["message-id"] == 0 {
			t.Fatalf("%q became %q", in, got)
		}
		fields := 0
		for rest := in; len(rest) > 0; rest = rest[fieldLength(rest):] {
			name, _, _ := bytes.Cut(rest, []byte(":"))
			if name := lower(string(bytes.TrimRight(name, " \t"))); name != "bcc" && name != "resent-bcc" && name != "return-path" {
				fields++
			}
		}
		kept := 0
		for _, n := range names {
			kept += n
		}
		if added := kept - fields; added < 0 || added > 2 {
			t.Fatalf("%d fields of %q became %d: %q", fields, in, kept, got)
		}
	})
}
