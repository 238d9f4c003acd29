package auth

import (
	"cmp"
	"fmt"
	"strings"
	"testing"

	"github.com/xdg-go/scram"
)

func TestSCRAMKeys(t *testing.T) {
	stored, err := HashPassword("SCRAM-SHA-256", "pencil")
	if err != nil {
		t.Fatal(err)
	}
	for password, want := range map[string]bool{"pencil": true, "Pencil": false, "": false} {
		if ok, err := matches(stored, []byte(password)); ok != want || err != nil {
			t.Errorf("%q: %v %v", password, ok, err)
		}
	}
	// The keys of "pencil" with the salt and count in RFC 7677 section 3, as Dovecot's
	// doveadm pw writes them.
	keys, err := scramKeys("pencil", scram.KeyFactors{Salt: "\x5b\x6d\x99\x68\x9d\x12\x35\x8e\xec\xa0\x4b\x14\x12\x36\xfa\x81", Iters: 4096})
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseSCRAM("4096,W22ZaJ0SNY7soEsUEjb6gQ==,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=")
	if err != nil || string(got.StoredKey) != string(keys.StoredKey) || string(got.ServerKey) != string(keys.ServerKey) {
		t.Errorf("%v %v", got, err)
	}
}

func TestSCRAMLines(t *testing.T) {
	const keys = "4096,W22ZaJ0SNY7soEsUEjb6gQ==,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
	for _, test := range []struct {
		line  string
		scram bool
		err   string
	}{
		{line: "alice:{PLAIN}x"},
		{line: "alice:{SCRAM-SHA-256}" + keys, scram: true},
		{line: "alice:{PLAIN}x:::::: scram_sha_256=" + keys, scram: true},
		{line: "alice:{PLAIN}x::::::userdb_quota_rule=*:bytes=1M scram_sha_256=" + keys, scram: true},
		{line: "alice:{SCRAM-SHA-256}4096,x", err: "malformed"},
		{line: "alice:{PLAIN}x::::::scram_sha_256=999999999" + keys[4:], err: "iterations"},
		{line: "alice:{PLAIN}x::::::scram_sha_256=" + keys[:len(keys)-4], err: "malformed"},
	} {
		e, err := parseLine(test.line, []string{"example.org"})
		if err != nil || (e.scram != nil) != test.scram {
			t.Errorf("%s: %v", test.line, err)
		} else if got := fmt.Sprint(e.noLogin); !strings.Contains(got, cmp.Or(test.err, "<nil>")) {
			t.Errorf("%s: nobody can log in because of %s, want %q", test.line, got, test.err)
		}
	}
}
