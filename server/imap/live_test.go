package imap

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"maildird/scripts/rig"
	"maildird/server/dialogue"
)

// scripts reads the dialogues of testdata/imap.
func scripts(t *testing.T) []*dialogue.Script {
	t.Helper()
	files, err := filepath.Glob("../../testdata/imap/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no dialogues", err)
	}
	var out []*dialogue.Script
	for _, file := range files {
		script, err := dialogue.Parse(file)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, script)
	}
	return out
}

// firstLogin logs in and out, which creates the Maildir of a user. Dovecot creates those
// folders that are selected.
func firstLogin(t *testing.T, addr, user, password string, folders ...string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := newTestClient(t, conn)
	c.line()
	c.ok(fmt.Sprintf("LOGIN %s %s", user, password))
	for _, name := range folders {
		c.ok("SUBSCRIBE " + name)
		c.ok("SELECT " + name)
	}
	c.ok("LOGOUT")
}

// liveEdits returns the changes to maildird.toml that a dialogue requires.
func liveEdits(t *testing.T, s *dialogue.Script) []string {
	t.Helper()
	var keys []string
	for key := range s.Options {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	var edits []string
	for _, key := range keys {
		switch value := s.Options[key]; key {
		case "rev2":
			edits = append(edits, "# [imap]\n# rev2 = true ", "[imap]\nrev2 = false #")
		case "unauthenticate":
			edits = append(edits, "# [imap]", "[imap]\nunauthenticate = false")
		case "uidonly":
			edits = append(edits, "# [imap]", "[imap]\nuidonly = true")
		case "plaintext":
			edits = append(edits, `plaintext_from = ["127.0.0.1/32", "::1/128"]`, "plaintext_from = []")
		case "separator":
			edits = append(edits, `separator = "/"`, fmt.Sprintf("separator = %q", value))
		case "prefix":
			edits = append(edits, `prefix   = ""`, fmt.Sprintf("prefix = %q", value))
		case "layout":
			edits = append(edits, `layout = "maildir++"`, fmt.Sprintf("layout = %q", value))
		case "tls": // there is a certificate
		default:
			t.Fatalf("%s: unknown option %s", s.Name, key)
		}
	}
	return edits
}

// TestTranscriptsLive plays the dialogues with the program as users run it.
func TestTranscriptsLive(t *testing.T) {
	t.Parallel()
	dir, err := rig.Dir("live") // the program may run as another user, who needs access to it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	binary, err := rig.Build(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	groups := map[string][]*dialogue.Script{}
	for _, s := range scripts(t) {
		edits := strings.Join(liveEdits(t, s), "\x00")
		groups[edits] = append(groups[edits], s)
	}
	for edits, group := range groups {
		playLive(t, binary, edits, group)
	}
}

func playLive(t *testing.T, binary, edits string, group []*dialogue.Script) {
	var pairs []string
	if edits != "" {
		pairs = strings.Split(edits, "\x00")
	}
	for _, other := range []string{"smtp        = ", "submission  = ", "submissions = "} {
		pairs = append(pairs, other+`["127.0.0.1:0"]`, "# none")
	}
	pairs = append(pairs, `lmtp        = ["127.0.0.1:0", "unix:lmtp.sock"]`, "# none")
	m, err := rig.InitMaildird(binary, []rig.Account{{Address: "alice@example.org", Password: "secret"}}, pairs...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := m.Start(ctx); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}()
	root := m.Home("alice@example.org")
	addr := m.Address("imap")
	for _, script := range group {
		t.Run(filepath.Base(script.Name), func(t *testing.T) {
			if script.Options["plaintext"] == "" {
				firstLogin(t, addr, "alice", "secret")
			}
			dialogue.Play(t, script, dialogue.Target{
				Root: root,
				Dial: func() (net.Conn, error) { return net.Dial("tcp", addr) },
				Made: func(string) {
					if err := rig.Own(root); err != nil {
						t.Error(err)
					}
				},
			})
			awaitNoClients(t, addr) // a session that is just ending would see the files of the next dialogue
			if err := rig.RemoveAll(root); err != nil {
				t.Error(err)
			}
		})
	}
}

// awaitNoClients waits until the server has closed all connections to an address, which is the
// last action of its sessions.
func awaitNoClients(t *testing.T, addr string) {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	const listening, timeWait = "0A", "06"
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(2 * time.Millisecond) {
		table, err := os.ReadFile("/proc/net/tcp")
		if err != nil {
			t.Fatal(err)
		}
		open := 0
		for line := range strings.Lines(string(table)) {
			f := strings.Fields(line)
			if strings.HasSuffix(f[1], fmt.Sprintf(":%04X", number)) && f[3] != listening && f[3] != timeWait {
				open++
			}
		}
		if open == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d connections to %s do not end", open, addr)
		}
	}
}

// knownDifferences is the table of Dovecot's different answers.
const knownDifferences = "../../testdata/imap/dovecot.md"

// dovecotReasons reads the table and returns the reasons by "file tag".
func dovecotReasons(t *testing.T) map[string]string {
	t.Helper()
	f, err := os.Open(knownDifferences)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	known := map[string]string{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		cells := strings.Split(lines.Text(), "|")
		if len(cells) < 6 || strings.HasPrefix(strings.TrimSpace(cells[1]), "-") || strings.TrimSpace(cells[1]) == "Dialogue" {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if cells[3] == "" || cells[4] == "" {
			t.Errorf("%s: no reason in %s", knownDifferences, lines.Text())
		}
		for tag := range strings.FieldsSeq(cells[2]) {
			known[cells[1]+" "+strings.Trim(tag, ",")] = cells[4]
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return known
}

// TestTranscriptsDovecot plays the dialogues with Dovecot. The table must explain every
// difference, and contain nothing else.
func TestTranscriptsDovecot(t *testing.T) {
	t.Parallel()
	known := dovecotReasons(t)
	d, err := rig.StartDovecot(t.Context(), rig.DovecotOptions{
		Accounts: []rig.Account{{Address: "alice", Password: "secret"}},
		Extra: `mail_fsync = never
auth_mechanisms = plain login
auth_failure_delay = 0
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
`,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	root := filepath.Join(d.Dir, "mail", "alice")
	met := map[string]bool{}
	for _, script := range scripts(t) {
		name := filepath.Base(script.Name)
		if script.Ours != "" {
			continue
		}
		firstLogin(t, d.IMAP, "alice", "secret", "INBOX", "Drafts", "Sent", "Junk", "Trash", "Archive")
		differences := dialogue.Compare(t, script, dialogue.Target{
			Root: root,
			Dial: func() (net.Conn, error) { return net.Dial("tcp", d.IMAP) },
			Made: func(string) {
				if err := rig.Own(root); err != nil {
					t.Error(err)
				}
			},
		})
		awaitNoClients(t, d.IMAP)
		for _, diff := range differences {
			key := name + " " + diff.Tag
			if met[key] = true; known[key] == "" {
				t.Errorf("Dovecot differs in %s, %s\n\tand %s has no reason", name, diff, knownDifferences)
			}
		}
		if err := rig.RemoveAll(root); err != nil {
			t.Error(err)
		}
	}
	for key := range known {
		if !met[key] {
			t.Errorf("%s says that Dovecot differs in %s, and it does not", knownDifferences, key)
		}
	}
}
