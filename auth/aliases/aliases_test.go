package aliases

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"maildird/auth"
)

var ours = []string{"example.org", "müller.example", "example.net"}

// users is a users file: the line of dave cannot be used, and there are two users called erika.
const users = "alice:{PLAIN}x\nbob:{PLAIN}x\ncarol:{PLAIN}x\nerika@müller.example:{PLAIN}x\nerika@example.org:{PLAIN}x\n" +
	"zoe@müller.example:{PLAIN}x\ndave:{PLAIN}x::::::proxy=y\n"

// fixture is an aliases file with its users.
type fixture struct {
	*Aliases
	known      *auth.Users
	path, list string
	log        syncBuffer
}

// syncBuffer collects a log.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func open(t testing.TB, text string) *fixture {
	t.Helper()
	dir := t.TempDir()
	f := &fixture{path: filepath.Join(dir, "aliases"), list: filepath.Join(dir, "users")}
	write(t, f.list, users)
	write(t, f.path, text)
	var err error
	if f.known, err = auth.OpenUsers(f.list, ours, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if f.Aliases, err = Open(f.path, ours, f.known, "carol@example.org", slog.New(slog.NewTextHandler(&f.log, nil))); err != nil {
		t.Fatal(err)
	}
	return f
}

// write replaces the contents of a file.
func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// found returns the result of Resolve as text: "alias: alice@example.org+x bob@example.org".
func found(a *Aliases, address string) string {
	local, domain := address, ""
	if at := strings.LastIndexByte(address, '@'); at >= 0 {
		local, domain = address[:at], address[at+1:]
	}
	f, err := a.Resolve(local, domain)
	if err != nil {
		switch {
		case len(f.Targets) > 0:
			return "an error and targets"
		case errors.Is(err, ErrNobody):
			return "nobody"
		case errors.Is(err, ErrAlias):
			return "broken"
		case errors.Is(err, ErrUser):
			return "left out"
		case errors.Is(err, ErrPostmaster):
			return "no postmaster"
		}
		return err.Error()
	}
	var names []string
	for _, t := range f.Targets {
		names = append(names, strings.TrimSuffix(t.User.Name, "@example.org")+t.Detail)
	}
	if f.Alias {
		return "alias: " + strings.Join(names, " ")
	}
	return strings.Join(names, " ")
}

func TestResolve(t *testing.T) {
	for _, c := range []struct{ name, file, address, want string }{
		{"a user", "", "alice@example.org", "alice"},
		{"a user with detail", "", "Alice+x+y@example.org", "alice+x+y"},
		{"a user without a domain", "", "bob", "bob"},
		{"nobody", "", "info@example.org", "nobody"},
		{"left out", "", "dave@example.org", "left out"},
		{"left out, with detail", "", "dave+x@example.org", "left out"},
		{"left out, and an alias", "dave alice", "dave@example.org", "left out"},
		{"left out, and an alias, with detail", "dave alice", "dave+x@example.org", "left out"},
		{"left out, and an alias that leads to him too", "dave dave, alice", "dave@example.org", "left out"},
		{"left out, and a bad line", "dave |cat", "dave@example.org", "left out"},
		{"left out, and an alias that leads to him", "dave alice\ninfo bob, dave", "info@example.org", "broken"},
		{"left out of one domain, and an alias", "dave alice", "dave@example.net", "alias: alice"},

		{"one", "info@example.org alice", "INFO@example.org", "alias: alice"},
		{"in another domain", "info@example.org alice", "info@example.net", "nobody"},
		{"several", "info@example.org alice, bob@EXAMPLE.org", "info@example.org", "alias: alice bob"},
		{"in all domains", "info alice", "info@müller.example", "alias: alice"},
		{"the closer one", "info alice\ninfo@example.net bob", "info@example.net", "alias: bob"},
		{"without a domain", "info@example.org alice", "info", "alias: alice"},
		{"without a domain, that of another", "info@example.net alice", "info", "nobody"},
		{"of another script", "größe@xn--mller-kva.example zoe", "GRÖSSE@müller.example", "nobody"},
		{"of another script, in capitals", "grün@xn--mller-kva.example zoe", "GRÜN@müller.example", "alias: zoe@müller.example"},
		{"named twice", "info alice, bob, alice@example.org, alice+x", "info@example.org", "alias: alice bob"},

		{"nested", "info team, carol\nteam alice,bob", "info@example.org", "alias: alice bob carol"},
		{"nested twice to the same", "info a,b\na c\nb c\nc alice", "info@example.org", "alias: alice"},
		{"circle", "info team\nteam info", "info@example.org", "broken"},
		{"circle of one", "info info@example.org", "info@example.org", "broken"},
		{"circle, and somebody", "info team, alice\nteam info", "info@example.org", "broken"},
		{"unknown", "info alice, bbo", "info@example.org", "broken"},
		{"unknown, nested", "info alice, team\nteam bbo", "info@example.org", "broken"},
		{"a user who is left out", "info alice, dave", "info@example.org", "broken"},
		{"a name of two", "info erika", "info@example.org", "broken"},
		{"one of them", "info erika@müller.example", "info@example.org", "alias: erika@müller.example"},
		{"elsewhere", "info alice, bob@elsewhere.example", "info@example.org", "broken"},
		{"to a bad line", "info team\nteam |cat", "info@example.org", "broken"},
		{"a bad line for one domain", "info alice\ninfo@example.org bob@elsewhere.example", "info@example.org", "broken"},
		{"a bad line for another domain", "info alice\ninfo@example.org bob@elsewhere.example", "info@example.net", "alias: alice"},

		{"detail is kept", "info alice, bob+lists", "info+x@example.org", "alias: alice+x bob+lists+x"},
		{"detail through two", "info team\nteam alice", "info+x@example.org", "alias: alice+x"},
		{"an alias with detail", "info alice\ninfo+x bob", "info+x@example.org", "alias: bob"},
		{"detail of a user", "alice+shop@example.org bob", "alice+shop@example.org", "alias: bob"},

		{"a user's address", "alice bob", "alice@example.org", "alice"},
		{"a user's address, his too", "alice alice, bob", "alice@example.org", "alias: alice bob"},
		{"a user's address, by way of a group", "alice team\nteam bob, alice", "alice@example.org", "alias: bob alice"},
		{"a user's address and detail", "alice alice, bob", "alice+x@example.org", "alias: alice+x bob+x"},
		{"a user's address and a slip", "alice alice, bbo", "alice@example.org", "alice"},
		{"a user's address and a bad line", "alice alice, bob@elsewhere.example", "alice@example.org", "alice"},
		{"a user of one domain", "erika bob", "erika@example.org", "erika"},
		{"a user of another domain", "erika bob", "erika@example.net", "alias: bob"},
		{"each other's", "alice alice, bob\nbob bob, alice", "bob@example.org", "alias: bob alice"},
		{"a group with one who has copies", "team alice, carol\nalice alice, bob", "team@example.org", "alias: alice bob carol"},
		{"a group with one whose address is taken", "team alice\nalice bob", "team@example.org", "alias: alice"},

		{"postmaster", "", "postmaster@example.org", "alias: carol"},
		{"postmaster, an alias", "postmaster alice, bob", "Postmaster@example.org", "alias: alice bob"},
		{"postmaster without a domain", "postmaster alice", "postmaster", "alias: alice"},
		{"postmaster, broken", "postmaster bbo", "postmaster@example.org", "broken"},
		{"abuse", "@example.org alice", "abuse@example.org", "alias: carol"},
		{"abuse, an alias", "abuse alice", "abuse@example.org", "alias: alice"},
		{"to the postmaster", "hostmaster postmaster", "hostmaster@example.org", "alias: carol"},
		{"to the postmaster, an alias", "abuse postmaster\npostmaster alice", "abuse@example.net", "alias: alice"},
		{"to the postmaster and himself", "postmaster postmaster, bob", "postmaster@example.org", "alias: carol bob"},

		{"the rest", "@example.org alice", "any@example.org", "alias: alice"},
		{"the rest, with detail", "@example.org alice", "any+x@example.org", "alias: alice"},
		{"the rest, not a user", "@example.org alice", "bob+x@example.org", "bob+x"},
		{"the rest, not an alias", "@example.org alice\ninfo bob", "info@example.org", "alias: bob"},
		{"the rest, not who is left out", "@example.org alice", "dave@example.org", "left out"},
		{"the rest, not a bad line", "@example.org alice\ninfo |cat", "info@example.org", "broken"},
		{"the rest, of another domain", "@example.net alice", "any@example.org", "nobody"},
		{"the rest, a bad line", "@example.org |cat", "any@example.org", "broken"},
		{"the rest, quoted", "@example.org alice", "a@b@example.org", "alias: alice"},
		{"the rest, empty", "@example.org alice", "@example.org", "alias: alice"},
		{"the rest does not hide slips", "@example.org alice\ninfo bbo@example.org", "info@example.org", "broken"},
		{"a user of the rest's domain, as in Postfix", "@example.org bob\nalice@example.org alice@example.org", "alice@example.org", "alias: alice"},

		{"a domain like another", "@example.net @example.org", "alice+x@example.net", "alias: alice+x"},
		{"a domain like another, an alias", "@example.net @example.org\ninfo@example.org bob", "info@example.net", "alias: bob"},
		{"a domain like another, nobody", "@example.net @example.org", "nobody@example.net", "nobody"},
		{"a domain like another, left out", "@example.net @example.org", "dave@example.net", "left out"},
		{"a domain like another, the rest", "@example.net @example.org\n@example.org bob", "any@example.net", "alias: bob"},
		{"a domain like another, named", "@example.net @example.org\ninfo alice@example.net", "info@example.org", "alias: alice"},
		{"a domain like another, a slip", "@example.net @example.org\ninfo bbo@example.net", "info@example.org", "broken"},
		{"domains in a circle", "@example.net @example.org\n@example.org @example.net", "any@example.org", "broken"},
		{"domains in a circle, a user", "@example.net @example.org\n@example.org @example.net", "alice@example.net", "alias: alice"},
		{"a name in a circle of domains", "@example.net @example.org\nx@example.org y@example.net\ny@example.org x@example.net", "x@example.net", "broken"},
	} {
		if got := found(open(t, c.file).Aliases, c.address); got != c.want {
			t.Errorf("%s: %q: %s leads to %q, want %q", c.name, c.file, c.address, got, c.want)
		}
	}
}

// TestPostmasterIsAUser: a user called postmaster gets his mail if he is the
// configured postmaster.
func TestPostmasterIsAUser(t *testing.T) {
	for _, c := range []struct{ is, file, want string }{
		{"postmaster@example.org", "", "postmaster"},
		{"postmaster@example.org", "postmaster alice", "postmaster"},
		{"postmaster@example.org", "postmaster postmaster, alice", "alias: postmaster alice"},
		{"alice@example.org", "", "alias: alice"},
		{"alice@example.org", "postmaster bob", "alias: bob"},
	} {
		f := open(t, c.file)
		write(t, f.list, users+"postmaster:{PLAIN}x\n")
		if err := f.known.Reload(); err != nil {
			t.Fatal(err)
		}
		f.postmaster = c.is
		if got := found(f.Aliases, "postmaster@example.org"); got != c.want {
			t.Errorf("%s is postmaster, %q: it leads to %q, want %q", c.is, c.file, got, c.want)
		}
	}
}

// TestNone: without a file, only the users exist.
func TestNone(t *testing.T) {
	known := open(t, "").known
	a, err := Open("", ours, known, "nobody@example.org", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Reload(); err != nil || a.Problems() != nil {
		t.Error(err, a.Problems())
	}
	for address, want := range map[string]string{"alice@example.org": "alice", "info@example.org": "nobody", "abuse@example.org": "no postmaster"} {
		if got := found(a, address); got != want {
			t.Errorf("%s leads to %q, want %q", address, got, want)
		}
	}
}

// TestExpansionIsBounded: the cost is limited even if an alias leads to many users
// or in many ways.
func TestExpansionIsBounded(t *testing.T) {
	var list, wide strings.Builder
	list.WriteString(users)
	wide.WriteString("just u0")
	for i := range MaxUsers + 1 {
		fmt.Fprintf(&list, "u%d@example.net:{PLAIN}x\n", i)
		if 0 < i && i < MaxUsers {
			fmt.Fprintf(&wide, ",\n  u%d", i)
		}
	}
	wide.WriteString("\ntoo just, u1000\n")
	wide.WriteString("l0 alice\n")
	for i := range 40 { // 2^40 ways
		fmt.Fprintf(&wide, "l%d l%d, m%d\nm%d l%d\n", i+1, i, i, i, i)
	}
	for i := range maxSize + 1 {
		fmt.Fprintf(&wide, "deep%d deep%d\n", i, i+1)
	}
	fmt.Fprintf(&wide, "deep%d alice\n", maxSize+1)
	for i := range 30 { // each leads to a user, who must be looked up among many
		fmt.Fprintf(&list, "v%d@example.net:{PLAIN}x\n", i)
		fmt.Fprintf(&wide, "v%d v%d, v%d, v%d\n", i, i, min(i+1, 29), min(i+2, 29))
	}
	f := open(t, "")
	write(t, f.list, list.String())
	if err := f.known.Reload(); err != nil {
		t.Fatal(err)
	}
	write(t, f.path, wide.String())
	if err := f.Reload(); err != nil {
		t.Fatal(err)
	}
	if got, err := f.Resolve("just", "example.org"); err != nil || len(got.Targets) != MaxUsers {
		t.Errorf("%d users, %v", len(got.Targets), err)
	}
	for address, want := range map[string]string{
		"too@example.org": "broken", "l5@example.org": "alias: alice", "l40@example.org": "broken", "deep0@example.org": "broken", "deep9001@example.org": "broken", "deep9002@example.org": "alias: alice",
	} {
		if got := found(f.Aliases, address); got != want {
			t.Errorf("%s leads to %q, want %q", address, got, want)
		}
	}
	if got := found(f.Aliases, "v25@example.net"); got != "alias: v25@example.net v26@example.net v27@example.net v28@example.net v29@example.net" {
		t.Errorf("v25 leads to %q", got)
	}
	if got := found(f.Aliases, "v0@example.net"); got != "v0@example.net" {
		t.Errorf("v0 leads to %q", got)
	}
	if log := f.log.String(); !strings.Contains(log, "leads to more than 1000 users") || !strings.Contains(log, "leads through more than 10000 addresses") ||
		!strings.Contains(log, "leads through more than 1000 aliases in a row") {
		t.Errorf("%.2000s", log)
	}
}

// FuzzResolve resolves any address with any aliases file: this must end, with existing users,
// each at most once, and no line may hide the next.
func FuzzResolve(f *testing.F) {
	for _, text := range []string{
		"info alice, bob@example.org\n", "@example.org carol\n@example.net @example.org\n", "# c\n\na b\n\tc,\n#x\n d\n",
		"a b\nb a\n", "alice alice, bob\nbob bob+x alice\n", "postmaster alice\nabuse postmaster", "x \xff\n\xff x\n ,\n", "@ a\na @\n", "info: a\ninfo |x\n", "größe zoe@müller.example\r\n",
	} {
		f.Add(text, "info+x@example.org")
	}
	fix := open(f, "")
	f.Fuzz(func(t *testing.T, text, address string) {
		a := *None(ours, fix.known, "carol@example.org")
		table, problems := parse([]byte(text), a.ours)
		a.table.Store(table)
		lines := strings.Count(text, "\n") + 1
		for _, p := range append(problems, a.problems(t.Context(), table, problems)...) {
			if p.line < 1 || p.line > lines || p.text == "" {
				t.Errorf("%+v of %d lines", p, lines)
			}
		}
		asked := []string{address, "alice@example.org", "info@example.org"}
		for _, e := range table.entries {
			asked = append(asked, e.of.String(), e.of.local+"+d@"+e.of.domain)
		}
		for _, address := range asked[:min(len(asked), 50)] {
			local, domain, _ := strings.Cut(address, "@")
			if domain != "" && a.ours[canonical(domain)] == "" {
				domain = "example.org"
			}
			got, err := a.Resolve(local, domain)
			if (err == nil) == (len(got.Targets) == 0) || len(got.Targets) > MaxUsers {
				t.Fatalf("%q: %+v, %v", address, got, err)
			}
			seen := map[string]bool{}
			for _, to := range got.Targets {
				if _, ok := fix.known.Lookup(to.User.Name); !ok || seen[to.User.Name] {
					t.Fatalf("%q: %+v", address, got)
				}
				seen[to.User.Name] = true
			}
			if address == "alice@example.org" && !seen[address] {
				t.Fatalf("%q robs alice", text)
			}
		}
		if strings.Contains(strings.ToLower(text), "zz") {
			return
		}
		table, _ = parse([]byte(text+"\nzz-top bob\n"), a.ours)
		if e := table.byKey["zz-top"]; e == nil || len(e.targets) != 1 || e.line != lines+1 {
			t.Errorf("%q hides the next line: %+v", text, e)
		}
	})
}
