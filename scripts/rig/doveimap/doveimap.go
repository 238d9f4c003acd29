// Package doveimap talks to a single process of the installed Dovecot's IMAP server over its
// standard input and output. The process serves one Maildir, without a login and without any
// other process of Dovecot. Tests use it to find out how the real program interprets the files,
// and to have it change them.
package doveimap

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"maildird/scripts/rig"
)

// imapServer is the IMAP server of Debian's dovecot-imapd.
const imapServer = "/usr/lib/dovecot/imap"

// answerLimit is how long Dovecot may take to send the next line. It waits up to two
// minutes for a lock.
const answerLimit = 150 * time.Second

// Session is an authenticated connection. It is not safe for concurrent use.
type Session struct {
	t     testing.TB
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string
	tag   int
	log   string
	done  bool
}

// Maildir creates an empty Maildir that Dovecot and the test can write, and returns its path.
// It is removed when the test ends.
func Maildir(t testing.TB) string {
	t.Helper()
	home, err := rig.Dir("doveimap")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	root := filepath.Join(home, "Maildir")
	for _, d := range []string{"", "cur", "new", "tmp"} {
		if err := os.Mkdir(filepath.Join(root, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	own(t, home)
	return root
}

// Configure adds settings, which override others, to the configuration of what is started from
// now on for the Maildir at root.
func Configure(t testing.TB, root, settings string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(filepath.Dir(root), "more.conf"), []byte(settings), 0o644); err != nil {
		t.Fatal(err)
	}
}

func own(t testing.TB, path string) {
	t.Helper()
	if err := rig.Own(path); err != nil {
		t.Fatal(err)
	}
}

// Start starts Dovecot on the Maildir at root, which was created by Maildir. It makes Dovecot
// the owner of the files that the test put there.
func Start(t testing.TB, root string) *Session {
	t.Helper()
	if _, err := os.Stat(imapServer); err != nil {
		t.Fatalf("this test compares with a real Dovecot, which is not installed (Debian: dovecot-imapd): %v", err)
	}
	home := filepath.Dir(root)
	conf := filepath.Join(home, "dovecot.conf")
	text := fmt.Sprintf(`mail_location = maildir:%s
base_dir = %s/run
log_path = %s/dovecot.log
mail_fsync = never
first_valid_uid = 0
first_valid_gid = 0
ssl = no
namespace inbox {
  inbox = yes
  separator = /
}
!include_try %s/more.conf
`, root, home, home, home)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	own(t, home)
	s := &Session{t: t, cmd: exec.Command(imapServer, "-c", conf), lines: make(chan string, 1024), log: filepath.Join(home, "dovecot.log")}
	rig.Prepare(s.cmd, home)
	// The thread that starts the process may end before the test does.
	s.cmd.SysProcAttr.Pdeathsig = 0
	var err error
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.lines)
		r := bufio.NewReader(out)
		for {
			line, err := r.ReadString('\n')
			if line != "" {
				s.lines <- strings.TrimRight(line, "\r\n")
			}
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(s.Kill)
	if greeting := s.next(); !strings.HasPrefix(greeting, "* PREAUTH") {
		t.Fatalf("Dovecot greets with %q%s", greeting, s.tail())
	}
	return s
}

// Kill kills the process.
func (s *Session) Kill() {
	if s.done {
		return
	}
	s.done = true
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	_ = s.in.Close()
	for range s.lines {
	}
	_ = s.cmd.Wait()
}

// Close logs out and waits until the process ends.
func (s *Session) Close() {
	s.t.Helper()
	s.Do("LOGOUT")
	s.done = true
	_ = s.in.Close()
	for range s.lines {
	}
	var exit *exec.ExitError
	if err := s.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		s.t.Error(err)
	}
}

// Do sends a command, given without the tag and CRLF, and returns the untagged responses. The
// test fails unless the tagged response is OK.
func (s *Session) Do(command string) []string {
	s.t.Helper()
	untagged, status := s.Ask(command)
	if !strings.HasPrefix(status, "OK") {
		s.t.Fatalf("Dovecot answers %q to %q%s", status, command, s.tail())
	}
	return untagged
}

// Ask is like Do, but returns the tagged response (without the tag) instead of checking it. It
// is "" if Dovecot ends the connection, as it does when the selected mailbox is removed, and for
// all later commands.
func (s *Session) Ask(command string) (untagged []string, status string) {
	s.t.Helper()
	tag, err := s.send(command)
	if err != nil {
		return nil, ""
	}
	return s.wait(tag)
}

// Idle sends IDLE, calls change, and waits until Dovecot sends a line that contains want. It
// returns the lines sent meanwhile.
func (s *Session) Idle(change func(), want string) []string {
	s.t.Helper()
	tag, err := s.send("IDLE")
	if err != nil {
		s.t.Fatalf("sending to Dovecot: %v%s", err, s.tail())
	}
	if line := s.next(); !strings.HasPrefix(line, "+") {
		s.t.Fatalf("Dovecot answers %q to IDLE%s", line, s.tail())
	}
	change()
	var told []string
	for told == nil || !strings.Contains(told[len(told)-1], want) {
		told = append(told, s.next())
	}
	if _, err := io.WriteString(s.in, "DONE\r\n"); err != nil {
		s.t.Fatalf("sending to Dovecot: %v%s", err, s.tail())
	}
	rest, status := s.wait(tag)
	if status == "" {
		s.t.Fatalf("Dovecot ended the connection%s", s.tail())
	}
	return append(told, rest...)
}

// send sends a command and returns its tag.
func (s *Session) send(command string) (tag string, err error) {
	s.tag++
	tag = "t" + strconv.Itoa(s.tag)
	_, err = io.WriteString(s.in, tag+" "+command+"\r\n")
	return tag, err
}

// wait reads responses until the tagged response with this tag.
func (s *Session) wait(tag string) (untagged []string, status string) {
	s.t.Helper()
	for {
		line, ok := s.line()
		if !ok {
			return untagged, ""
		}
		if status, ok := strings.CutPrefix(line, tag+" "); ok {
			return untagged, status
		}
		untagged = append(untagged, line)
	}
}

// next returns the next line.
func (s *Session) next() string {
	s.t.Helper()
	line, ok := s.line()
	if !ok {
		s.t.Fatalf("Dovecot ended the connection%s", s.tail())
	}
	return line
}

// line returns the next line; false if the connection ended.
func (s *Session) line() (string, bool) {
	s.t.Helper()
	select {
	case line, ok := <-s.lines:
		return line, ok
	case <-time.After(answerLimit):
		s.t.Fatalf("Dovecot did not answer within %s%s", answerLimit, s.tail())
	}
	return "", false
}

// Log returns what Dovecot has logged so far.
func (s *Session) Log() string {
	data, err := os.ReadFile(s.log)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		s.t.Fatal(err)
	}
	return string(data)
}

// tail returns the log for the message of a failing test.
func (s *Session) tail() string {
	if log := s.Log(); log != "" {
		return "\nDovecot's log:\n" + log
	}
	return ""
}

// Append makes Dovecot store a message in the mailbox, with flags such as
// "(\\Seen $Work)" or "".
func (s *Session) Append(mailbox, flags, subject string) {
	s.t.Helper()
	text := "Subject: " + subject + "\r\n\r\nhello\r\n"
	if flags != "" {
		flags += " "
	}
	s.Do(fmt.Sprintf("APPEND %s %s{%d+}\r\n%s", mailbox, flags, len(text), text))
}

// Message is what Dovecot reports about a message.
type Message struct {
	UID     uint32
	Subject string
	Flags   []string // without \Recent
}

// Messages fetches all messages of the selected mailbox.
func (s *Session) Messages() []Message {
	s.t.Helper()
	var out []Message
	for _, line := range s.Do("UID FETCH 1:* (UID FLAGS ENVELOPE)") {
		rest, ok := cutAfter(line, "UID ")
		if !ok || !strings.Contains(line, " FETCH (") {
			continue
		}
		digits, rest, _ := strings.Cut(rest, " ")
		uid, err := strconv.ParseUint(digits, 10, 32)
		if err != nil {
			s.t.Fatalf("Dovecot sent %q", line)
		}
		m := Message{UID: uint32(uid)}
		flags, _ := cutAfter(rest, "FLAGS (")
		flags, rest, _ = strings.Cut(flags, ")")
		for f := range strings.FieldsSeq(flags) {
			if f != `\Recent` {
				m.Flags = append(m.Flags, f)
			}
		}
		// ENVELOPE begins with date and subject.
		if env, ok := cutAfter(rest, "ENVELOPE (NIL \""); ok {
			m.Subject, _, _ = strings.Cut(env, `"`)
		}
		out = append(out, m)
	}
	return out
}

func cutAfter(s, sep string) (string, bool) {
	_, after, ok := strings.Cut(s, sep)
	return after, ok
}

// Status is the result of STATUS.
type Status struct{ Messages, UIDNext, UIDValidity uint32 }

// Status requests the STATUS of a mailbox that is not selected.
func (s *Session) Status(mailbox string) Status {
	s.t.Helper()
	for _, line := range s.Do("STATUS " + mailbox + " (MESSAGES UIDNEXT UIDVALIDITY)") {
		if !strings.HasPrefix(line, "* STATUS") {
			continue
		}
		var st Status
		for key, to := range map[string]*uint32{"MESSAGES ": &st.Messages, "UIDNEXT ": &st.UIDNext, "UIDVALIDITY ": &st.UIDValidity} {
			rest, ok := cutAfter(line, key)
			n, err := strconv.ParseUint(rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))], 10, 32)
			if !ok || err != nil {
				s.t.Fatalf("Dovecot sent %q", line)
			}
			*to = uint32(n)
		}
		return st
	}
	s.t.Fatal("Dovecot sent no STATUS")
	return Status{}
}
