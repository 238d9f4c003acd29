package auth

import (
	"fmt"
	"testing"
)

// TestUnknownNamesLookLikeUsers: what a client learns before it has proved anything does not
// reveal whether a name is that of a user, however many spellings are compared.
func TestUnknownNamesLookLikeUsers(t *testing.T) {
	line := func(name string, iterations int, salt string) string {
		return fmt.Sprintf("%s:{SCRAM-SHA-256}%d,%s,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=\n", name, iterations, salt)
	}
	u, _, _ := open(t, line("alice@example.org", 4096, "W22ZaJ0SNY7soEsUEjb6gQ==")+line("bob@example.net", 8192, "c2FsdHNhbHRzYWx0")+
		line("gina@example.org", 4096, "Z2luYSBnaW5hIGdpbmEgZw==")+line("gina@example.net", 8192, "Z2luYXMgc2FsdCAx"))
	salt := func(name string) string { return u.SCRAM(name).Salt }
	same := func(name string) (n int) { // its address has the same salt as the name alone
		for _, domain := range domains {
			if salt(name) == salt(name+"@"+domain) {
				n++
			}
		}
		return n
	}
	forms := map[[2]int]int{} // iterations and length of the salt
	const names = 400
	for i := range names {
		name := fmt.Sprintf("nobody%d", i)
		if n := same(name); n != 1 {
			t.Fatalf("%s has the salt of %d of its addresses, a user has that of one", name, n)
		}
		if keys := u.SCRAM(name); salt(name) != salt("NoBody"+name[6:]) || keys.Iters != u.SCRAM(name).Iters {
			t.Fatalf("%s looks now like this and now like that", name)
		} else {
			forms[[2]int{keys.Iters, len(keys.Salt)}]++
		}
	}
	for _, name := range []string{"alice", "bob", "gina"} {
		if n := same(name); n != 1 {
			t.Errorf("%s has the salt of %d of its addresses, an unknown name has that of one", name, n)
		}
	}
	for _, form := range [][2]int{{4096, 16}, {8192, 12}} {
		if n := forms[form]; n < names/3 || n > names*2/3 {
			t.Errorf("%d of %d unknown names have the iterations and salt %v, half of the users have", n, names, form)
		}
	}
	if len(forms) != 2 {
		t.Errorf("unknown names have %v, which no users have", forms)
	}
}
