package coexist

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"maildird/scripts/rig"
)

// facts are what the files of a folder contain and a client can see, each with a shell command
// that changes it in the folder's directory. m3 is the file of the third of six messages, whose
// text and date the server knows; w waits a moment.
var facts = []struct{ name, change string }{
	{"flags", `mv cur/$m3 cur/${m3}FRT`},
	{"a letter that has no name yet", `mv cur/$m3 cur/${m3}c; w; printf '0 kw\n2 other\n' >dovecot-keywords`},
	{"the name of a letter", `printf '0 another\n' >dovecot-keywords`},
	{"the name of a letter, by a file of the time before", `touch -r dovecot-keywords tmp/t; printf '0 kx\n' >dovecot-keywords; touch -r tmp/t dovecot-keywords; rm tmp/t`},
	{"no names of letters", `rm dovecot-keywords`},
	{"times of directories in the past", `mv cur/$m3 cur/${m3}F; touch -d '2020-05-05 10:00Z' cur new`},
	{"times of directories in the future", `mv cur/$m3 cur/${m3}F; touch -d '2040-05-05 10:00Z' cur new`},
	{"times of directories put back", `touch -r cur tmp/t; mv cur/$m3 cur/${m3}F; touch -r tmp/t cur; rm tmp/t`},
	{"a message more", `printf 'Subject: more\n\nx\n' >tmp/t; mv tmp/t new/1710000000.x`},
	{"a message with a keyword more", `printf 'Subject: more\n\nx\n' >tmp/t; mv tmp/t cur/1710000000.x:2,a`},
	{"a message that is written slowly", `{ printf 'Subject: mo'; w; printf 're\n\nx\n'; } >new/1710000000.x`},
	{"a message less", `rm cur/$m3`},
	{"a message away and back", `mv cur/$m3 tmp; w; mv tmp/$m3 cur`},
	{"another base", `mv cur/$m3 cur/1700000003.M1P1.h,U=5:2,S`},
	{"another file of the name", `rm cur/$m3; printf 'Subject: other\n\nx\n' >tmp/t; mv tmp/t cur/$m3`},
	{"another file renamed onto the name", `printf 'Subject: other\n\nx\n' >tmp/t; mv -f tmp/t cur/$m3`},
	{"another file by rsync", `mkdir tmp/d; printf 'Subject: other\n\nx\n' >tmp/d/$m3; rsync -a tmp/d/ cur/; rm -r tmp/d`},
	{"names of two files exchanged", `mv cur/$m3 tmp/t; mv cur/1700000004.M1P1.h:2,S cur/$m3; mv tmp/t cur/1700000004.M1P1.h:2,S`},
	{"no uidlist", `rm dovecot-uidlist`},
	{"a uidlist of nothing", `: >dovecot-uidlist`},
	{"another UIDVALIDITY", `sed -i '1s/V[0-9]*/V1999999999/' dovecot-uidlist`},
	{"another UIDNEXT, in place", `sed '1s/N[0-9]*/N5000/' dovecot-uidlist >tmp/t; cat tmp/t >dovecot-uidlist; rm tmp/t`},
	{"a record less", `sed -i 3d dovecot-uidlist`},
	{"other UIDs", `awk 'NR==1 {sub(/N[0-9]+/, "N100")} NR>1 {$1 += 50} {print}' dovecot-uidlist >tmp/t; mv tmp/t dovecot-uidlist`},
	{"an older uidlist", `cp -p dovecot-uidlist tmp/t; printf 'x\n' >new/1710000000.x; w; mv tmp/t dovecot-uidlist`},
	{"no history", `rm -f maildird-history`},
	{"a folder that cannot be written", `chmod 500 .`},
	{"a folder that could not be written", `chmod 500 .; w; chmod 700 .`},
	{"a folder with another cur", `cp -a cur c; rm -r cur; mv c cur`},
	{"another folder of the name", `d=$PWD; cp -a . ../t; rm -r "$d"; mv ../t "$d"`},
	{"no folder", `rm -r "$PWD"`},
	{"another name of the folder", `mv "$PWD" "$PWD"-renamed`},
	{"a subscription", `printf 'V\t2\n\n%s\n' "${PWD##*/.}" >../subscriptions`},
	{"a special use", `printf '\\Sent %s\n' "${PWD##*/.}" >../maildird-specialuse`},
}

// TestFacts changes each fact while a session has the folder selected, and compares this
// session, new sessions, and a server that has just started and has no cache: after a while,
// all must report the same.
func TestFacts(t *testing.T) {
	site := newSite(t, Options{Maildirds: 2})
	must(t, site.MakeMaildir())
	when := time.Unix(1_700_000_000, 0)
	for i := range facts {
		dir := filepath.Join(site.Root, "."+factFolder(i))
		for _, sub := range []string{"cur", "new", "tmp"} {
			must(t, os.MkdirAll(filepath.Join(dir, sub), 0o700))
		}
		must(t, os.WriteFile(filepath.Join(dir, "dovecot-keywords"), []byte("0 kw\n"), 0o600))
		for n := 1; n <= 6; n++ {
			path := filepath.Join(dir, "cur", sprintf("17000000%02d.M1P1.h:2,S", n))
			if n == 6 {
				path += "a"
			}
			text := sprintf("Subject: m%d\nMessage-ID: <%d@x.test>\n\n%s\n", n, n, strings.Repeat("x", 100+n))
			must(t, os.WriteFile(path, []byte(text), 0o600))
			must(t, os.Chtimes(path, when, when.Add(time.Duration(n)*time.Hour)))
		}
	}
	must(t, site.Own())
	running := startMaildird(t, site, 0)
	sessions := make([]*Client, len(facts))
	for i := range facts {
		sessions[i] = dial(t, running)
		factsOf(sessions[i], i) // leaves the folder selected and its contents in the cache
	}
	time.Sleep(3 * time.Second) // so that later notifications are not about the creation
	for i, f := range facts {
		script := "set -e; m3=1700000003.M1P1.h:2,S; w() { sleep 0.5; }\n" + f.change
		cmd := exec.CommandContext(context.Background(), "bash", "-c", script)
		rig.Prepare(cmd, site.Dir())
		cmd.Dir = filepath.Join(site.Root, "."+factFolder(i))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", f.name, err, out)
		}
	}
	fresh := startMaildird(t, site, 1)
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Second) {
		var wrong []string
		now, want := dial(t, running), dial(t, fresh)
		compare := func(what string, got, want []string) {
			if !slices.Equal(got, want) {
				wrong = append(wrong, sprintf("%s: a server that runs tells\n  %s\none that was just started\n  %s", what, strings.Join(got, "\n  "), strings.Join(want, "\n  ")))
			}
		}
		compare("folders", seen(now), seen(want))
		for i, f := range facts {
			must := factsOf(want, i)
			compare(f.name+", to a new session", factsOf(now, i), must)
			if _, err := sessions[i].Do("NOOP"); err == nil {
				compare(f.name+", to a session that has it selected", messagesOf(sessions[i]), messagesOf(want))
			}
		}
		now.Close()
		want.Close()
		if wrong == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal(strings.Join(wrong, "\n"))
		}
	}
	now, want := dial(t, running), dial(t, fresh)
	for i, f := range facts {
		const text = "UID FETCH 1:* (UID BODY.PEEK[])"
		factsOf(now, i)
		factsOf(want, i)
		if got, must := told(now, []string{"FETCH"}, text), told(want, []string{"FETCH"}, text); !slices.Equal(got, must) {
			t.Errorf("%s: the texts are %q and %q", f.name, got, must)
		}
	}
	complaints := slices.DeleteFunc(site.Complaints(), func(line string) bool { return strings.Contains(line, "gives no UIDVALIDITY") })
	if len(complaints) > 0 {
		t.Errorf("maildird complains:\n%s", strings.Join(complaints, "\n"))
	}
}

func factFolder(i int) string { return sprintf("fact%02d", i) }

// told returns the responses of these kinds, or the answer to a refused command, without
// what differs between sessions.
func told(c *Client, kinds []string, format string, args ...any) []string {
	responses, err := c.Do(format, args...)
	var lines []string
	for _, r := range responses {
		if slices.Contains(kinds, r.Name) && !strings.Contains(r.Text, "MODSEQ") {
			lines = append(lines, strings.NewReplacer(` \Recent`, "", `\Recent `, "", `\Recent`, "").Replace(r.Text))
		}
	}
	var refused *RefusedError
	if errors.As(err, &refused) {
		return append(lines, fmt.Sprint(refused.Answer))
	}
	if err != nil {
		return append(lines, err.Error())
	}
	return lines
}

// seen returns what a client sees of the folders without opening one.
func seen(c *Client) []string {
	return slices.Concat(
		told(c, []string{"LIST"}, `LIST "" * RETURN (SUBSCRIBED SPECIAL-USE CHILDREN)`),
		told(c, []string{"STATUS"}, `LIST "" * RETURN (STATUS (MESSAGES UIDNEXT UIDVALIDITY UNSEEN DELETED SIZE MAILBOXID))`),
		told(c, []string{"LSUB"}, `LSUB "" *`))
}

// factsOf opens a folder and returns what a client sees of it.
func factsOf(c *Client, i int) []string {
	opened := told(c, []string{"FLAGS", "EXISTS", "OK"}, "SELECT %s", factFolder(i))
	opened = slices.DeleteFunc(opened, func(line string) bool { return strings.Contains(line, "[CLOSED]") })
	return slices.Concat(opened, messagesOf(c))
}

// messagesOf returns what a client sees of the messages in its selected folder. It reads no
// text that the cache contains: that would show the server what it missed.
func messagesOf(c *Client) []string {
	const items = "(UID FLAGS INTERNALDATE RFC822.SIZE EMAILID THREADID SAVEDATE ENVELOPE BODYSTRUCTURE)"
	return slices.Concat(
		told(c, []string{"FETCH"}, "UID FETCH 1:* %s", items),
		told(c, []string{"SORT"}, "SORT (ARRIVAL SIZE) UTF-8 ALL"),
		told(c, []string{"SEARCH"}, "UID SEARCH OR SUBJECT other KEYWORD other"))
}
