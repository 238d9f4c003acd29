package imap

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"maildird/server/servertest"
)

const netMail = "Subject: %s\r\n\r\n"

func netAppend(mailbox, subject string) string {
	text := fmt.Sprintf(netMail, subject) + strings.Repeat("text\r\n", 60)
	return fmt.Sprintf("APPEND %s (\\Seen word) {%d+}\r\n%s", mailbox, len(text), text)
}

// netCommands are sent after LOGIN.
var netCommands = []string{
	"CREATE A", netAppend("INBOX", "one"), netAppend("INBOX", "two"), netAppend("A", "three"), "SELECT INBOX",
	"STORE 1:2 +FLAGS (\\Flagged new)", "FETCH 1:* (ENVELOPE BODY[])", "COPY 1:2 A", "MOVE 1 A", "STATUS A (MESSAGES SIZE)",
	"SELECT A", "UID SEARCH SUBJECT two", "STORE 1,2 +FLAGS.SILENT (\\Deleted)", "EXPUNGE", "IDLE\r\nDONE", "SUBSCRIBE A", "UNSELECT", "RENAME A B",
	`SETMETADATA INBOX (/private/comment "x")`, "LIST \"\" * RETURN (STATUS (MESSAGES))", netAppend("B", "four"), "CREATE C", "DELETE C",
}

// TestNetworkFails makes reads and writes fail at all points of a connection on which a client
// sends commands, all at once or each after the answer to the previous one. The final state
// must be the result of the first commands, each complete, including all that were
// acknowledged. The session must end, and leave neither files nor locks.
func TestNetworkFails(t *testing.T) {
	states := make([]string, len(netCommands)+1)
	for n := range states {
		_, _, states[n] = runNetCommands(t, n, -1, servertest.Reset, false)
	}
	t.Run("commands at once", func(t *testing.T) { networkFails(t, states, false) })
	t.Run("one after the other", func(t *testing.T) { networkFails(t, states, true) })
}

func networkFails(t *testing.T, states []string, waits bool) {
	step := 4 // with a different failure each time
	if testing.Short() {
		step = 13
	}
	for at := 0; ; at += step {
		how := servertest.Failures[at/step%len(servertest.Failures)]
		calls, told, state := runNetCommands(t, len(netCommands), at, how, waits)
		fits := false
		for n := told; n < len(states); n++ {
			fits = fits || states[n] == state
		}
		if !fits {
			t.Errorf("%s at call %d: the client was told of %d commands, the state is\n%s\nand not\n%s", how, at, told, state, strings.Join(states[told:], "\nor\n"))
		}
		if calls <= at {
			t.Logf("%d calls", calls)
			return
		}
	}
}

// runNetCommands sends the first n commands on a connection that fails at one call. It
// returns the number of calls, the number of commands that were acknowledged, and the state
// that a client sees afterwards.
func runNetCommands(t *testing.T, n, at int, how servertest.Failure, waits bool) (calls, told int, state string) {
	t.Helper()
	home := t.TempDir()
	defer os.RemoveAll(home)
	ts := startServerOn(t, home, "")
	must(t, ts.provision("alice"))
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	l := &servertest.Network{Listener: inner}
	l.Fail(at, how)
	ended := make(chan error, 1)
	go func() { ended <- ts.Serve(l, false) }()
	script := []string{"l LOGIN alice secret\r\n"}
	for i, command := range netCommands[:n] {
		script = append(script, fmt.Sprintf("c%d %s\r\n", i, command))
	}
	script = append(script, "z LOGOUT\r\n")
	if !waits {
		script = []string{strings.Join(script, "")}
	}
	answers := sendAll(t, inner.Addr().String(), script...)
	for i := range n {
		if !regexp.MustCompile(fmt.Sprintf(`(?m)^c%d OK .*\r$`, i)).MatchString(answers) {
			if at < 0 {
				t.Fatalf("%q is answered %s", netCommands[i], answers)
			}
			break
		}
		told = i + 1
	}
	for end := time.Now().Add(time.Minute); ts.sessions.Len() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s at call %d: the session does not end", how, at)
		}
	}
	must(t, filepath.WalkDir(home, func(path string, d fs.DirEntry, err error) error {
		if err == nil && (strings.HasSuffix(path, ".lock") || filepath.Base(filepath.Dir(path)) == "tmp") {
			t.Errorf("%s at call %d: %s is left", how, at, path)
		}
		return err
	}))
	look := "l LOGIN alice secret\r\nm LIST \"\" * RETURN (SUBSCRIBED)\r\nn GETMETADATA INBOX /private/comment\r\n"
	for _, name := range []string{"INBOX", "A", "B", "C"} {
		look += fmt.Sprintf("s EXAMINE %s\r\nf UID FETCH 1:* (FLAGS BODY.PEEK[])\r\nu UNSELECT\r\n", name)
	}
	state = netChanging.ReplaceAllString(sendAll(t, ts.addr, look+"z LOGOUT\r\n"), "")
	must(t, l.Err())
	if log := ts.log.String(); strings.Contains(log, "level=ERROR") || strings.Contains(log, `reason="unexpected EOF"`) {
		t.Errorf("%s at call %d: the log:\n%s", how, at, log)
	}
	calls = l.Calls()
	ts.stop()
	if err := <-ended; !errors.Is(err, ErrServerClosed) {
		t.Errorf("serve: %v", err)
	}
	return calls, told, state
}

// netChanging matches what differs between runs of the same commands.
var netChanging = regexp.MustCompile(`\\Recent|\* OK \[(UIDVALIDITY|HIGHESTMODSEQ|MAILBOXID)[^\r]*\r\n|\* \d+ RECENT\r\n|(?m)^\w+ (OK|BAD) [^\r]*\r\n`)

// sendAll sends commands, each (if there are several) after the answer to the previous one, and
// returns all output until the connection ends.
func sendAll(t *testing.T, addr string, commands ...string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	var answers strings.Builder
	r := bufio.NewReader(conn)
	for i, command := range commands {
		_, _ = io.WriteString(conn, command)
		tag, _, _ := strings.Cut(command, " ")
		for i < len(commands)-1 {
			line, err := r.ReadString('\n')
			answers.WriteString(line)
			if err != nil {
				return answers.String()
			}
			if strings.HasPrefix(line, tag+" ") {
				break
			}
		}
	}
	_, _ = io.Copy(&answers, r)
	return answers.String()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
