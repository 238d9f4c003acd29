package aliases

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"maildird/auth"
)

func TestProblems(t *testing.T) {
	f := open(t, strings.Join([]string{
		"# comment", "info alice,", "# between", "", "\tbbo,", "  carol",
		"twice alice", "TWICE bob", "team other", "other team", "bob@example.org alice", "zoe alice", "carol carol, bob",
		"none", "far x@elsewhere.example", "x@elsewhere.example alice", "pipe |cat", "inc :include:/etc/passwd", "old: alice", "bad@ alice",
		"@example.org @example.net", "@example.net @example.org", "info@example.net @example.org", "out dave", "two erika", "a;b alice", "\xff alice", "n \xff",
		"example.org anything", "eve@example.org:{SSHA}secret::::::", "eve:{PLAIN}secret",
		"long " + strings.Repeat("alice,", maxLine/6),
		"crowd " + strings.Repeat("a, ", MaxUsers+1), "*@example.org alice", "/^info/ alice",
	}, "\r\n"))
	want := `2: bbo is neither an alias nor the name of exactly one user
8: twice is already on line 7, which takes precedence
10: leads in a circle, through team
11: bob@example.org is a user, who alone gets this mail: for others to get copies, the line must lead to that user too
14: none leads to nobody
15: "x@elsewhere.example" is not in a domain of this server, and mail is not forwarded to other domains
16: "x@elsewhere.example" is not in a domain of this server, and mail is not forwarded to other domains
17: "|cat" is a command, a file or a list; an alias can lead only to users and other aliases
18: ":include:/etc/passwd" is a command, a file or a list; an alias can lead only to users and other aliases
19: "old:" ends in a colon, as in another file format; here, name and addresses are separated by spaces
20: "bad@" is not an address, its local part, or a domain such as @example.org
21: leads in a circle, through @example.org
22: leads in a circle, through @example.net
23: a domain can be the only target, and of a whole domain only: @example.net @example.org
24: the users file has a line for dave that cannot be used
25: erika is neither an alias nor the name of exactly one user
26: "a;b" is not an address, its local part, or a domain such as @example.org
27: not UTF-8
28: not UTF-8
30: "eve@example.org:" ends in a colon, as in another file format; here, name and addresses are separated by spaces
31: "eve:" is not an address, its local part, or a domain such as @example.org
32: longer than 65536 bytes, including its continuation lines
33: crowd has more than 1000 addresses
34: "*@example.org" is taken literally, not as a pattern; the catch-all of a domain is written @example.org
35: "/^info/" is taken literally, not as a pattern; the catch-all of a domain is written @example.org
`
	var got strings.Builder
	for _, p := range f.Problems() {
		got.WriteString(strings.TrimPrefix(p, f.path+":") + "\n")
	}
	if got.String() != want {
		t.Errorf("problems:\n%s\nwant:\n%s", got.String(), want)
	}
	if n := strings.Count(f.log.String(), "level=WARN msg=\"aliases file has a line that cannot be used\""); n != strings.Count(want, "\n") {
		t.Errorf("%d lines in the log:\n%s", n, f.log.String())
	}
	if got := found(f.Aliases, "info@example.org"); got != "broken" {
		t.Error(got)
	}
}

// TestChanges: a changed file is read again, an unreadable one changes nothing, and each
// problem is logged once.
func TestChanges(t *testing.T) { synctest.Test(t, testChanges) }

func testChanges(t *testing.T) {
	f := open(t, "\xef\xbb\xbfinfo alice, newcomer\n")
	if got := found(f.Aliases, "info@example.org"); got != "broken" {
		t.Errorf("leads to %q", got)
	}
	becomes := func(want string) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
			f.known.Refresh()
			f.Refresh(t.Context())
			got := found(f.Aliases, "info@example.org")
			if got == want {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("leads to %q, want %q", got, want)
			}
		}
	}
	told := func(text string, want int) {
		t.Helper()
		if n := strings.Count(f.log.String(), text); n != want {
			t.Errorf("%q is %d times in the log, want %d:\n%s", text, n, want, f.log.String())
		}
	}
	told("newcomer is neither an alias", 1)
	write(t, f.list, users+"newcomer:{PLAIN}x\n")
	becomes("alias: alice newcomer")
	write(t, f.list, users)
	becomes("broken")
	told("newcomer is neither an alias", 2)
	write(t, f.path, "info alice, newcomer\nother alice\n")
	if err := f.Reload(); err != nil {
		t.Fatal(err)
	}
	told("newcomer is neither an alias", 2)
	write(t, f.path, "info bob\n")
	becomes("alias: bob")
	if err := os.Remove(f.path); err != nil {
		t.Fatal(err)
	}
	if err := f.Reload(); err == nil || !strings.Contains(err.Error(), "cannot read the aliases file: ") {
		t.Error(err)
	}
	for deadline := time.Now().Add(time.Minute); !strings.Contains(f.log.String(), "keeping the aliases already known"); time.Sleep(10 * time.Millisecond) {
		f.Refresh(t.Context())
		if got := found(f.Aliases, "info@example.org"); got != "alias: bob" {
			t.Fatalf("leads to %q", got)
		}
		if time.Now().After(deadline) {
			t.Fatal("not logged:", f.log.String())
		}
	}
}

// slowUsers delays the lookup of one name until it is released.
type slowUsers struct {
	Users
	name          string
	asked, answer chan struct{}
}

func (u *slowUsers) Lookup(address string) (auth.User, bool) {
	if address == u.name {
		u.asked <- struct{}{}
		<-u.answer
	}
	return u.Users.Lookup(address)
}

// TestNobodyWaitsForCheck: while a changed file is checked, which takes long if it is large,
// other mail is delivered according to the new file.
func TestNobodyWaitsForCheck(t *testing.T) { synctest.Test(t, testNobodyWaitsForCheck) }

func testNobodyWaitsForCheck(t *testing.T) {
	f := open(t, "info alice\n")
	slow := &slowUsers{f.users, "carol", make(chan struct{}), make(chan struct{})}
	f.users = slow
	write(t, f.path, "info bob\nother carol\n")
	done := make(chan struct{})
	go func() {
		f.refreshSettled(t.Context())
		close(done)
	}()
	<-slow.asked
	if got := found(f.Aliases, "info@example.org"); got != "alias: bob" {
		t.Errorf("leads to %q", got)
	}
	close(slow.answer)
	<-done
	// The shutdown of the server does not wait, either.
	ended, end := context.WithCancel(t.Context())
	end()
	write(t, f.path, "other carol\n") // whose lookup would wait forever
	f.refreshSettled(ended)
}

// refreshSettled rereads a changed file until it is regarded as complete.
func (f *fixture) refreshSettled(ctx context.Context) {
	f.Refresh(ctx)
	time.Sleep(time.Second)
	f.Refresh(ctx)
}

// TestLogIsBounded: a file that contains neither aliases nor users does not fill the log.
func TestLogIsBounded(t *testing.T) {
	f := open(t, strings.Repeat("a b@elsewhere.example\n", 5000))
	if n := strings.Count(f.log.String(), "\n"); n != maxLoggedLines+1 || !strings.Contains(f.log.String(), "more=4900") {
		t.Errorf("%d lines: %.2000s", n, f.log.String())
	}
	write(t, f.path, "a b@elsewhere.example\n")
	if err := f.Reload(); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(f.log.String(), "\n"); n != maxLoggedLines+1 {
		t.Errorf("%d lines after a reload that found nothing new", n)
	}
	var log syncBuffer
	write(t, f.list, strings.Repeat("no password\n", 5000))
	if _, err := auth.OpenUsers(f.list, ours, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(log.String(), "\n"); n != maxLoggedLines+1 || !strings.Contains(log.String(), "more=4900") {
		t.Errorf("%d lines: %.2000s", n, log.String())
	}
}
