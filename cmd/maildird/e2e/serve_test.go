package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"maildird/scripts/rig"
)

// TestReady: one line reports all addresses, and each of them accepts connections.
func TestReady(t *testing.T) {
	m := start(t)
	log := m.Log()
	if strings.Count(log, "msg=ready") != 1 {
		t.Fatalf("log:\n%s", log)
	}
	for _, service := range []string{"smtp", "submission", "lmtp", "imap"} {
		greeting, err := bufio.NewReader(dial(t, m.Address(service))).ReadString('\n')
		if err != nil || !strings.HasPrefix(greeting, "220 mail.example.org ") && !strings.HasPrefix(greeting, "* OK [CAPABILITY IMAP4rev1 ") {
			t.Errorf("%s greets with %q, %v", service, greeting, err)
		}
	}
	for _, service := range []string{"submissions", "imaps"} {
		conn := tls.Client(dial(t, m.Address(service)), trusting(t, m))
		if greeting, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.HasPrefix(greeting, "220 ") && !strings.HasPrefix(greeting, "* OK ") {
			t.Errorf("%s greets with %q, %v", service, greeting, err)
		}
	}
	socket := filepath.Join(m.Dir, "lmtp.sock")
	if !strings.Contains(log, "lmtp="+socket) {
		t.Errorf("the ready line lacks %s:\n%s", socket, log)
	}
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if greeting, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.HasPrefix(greeting, "220 ") {
		t.Errorf("lmtp on a socket greets with %q, %v", greeting, err)
	}
}

// TestNotifyReady: a service manager is notified when every listener accepts connections, on a
// socket like that of systemd.
func TestNotifyReady(t *testing.T) {
	dir, err := rig.Dir("notify")
	if err != nil {
		t.Fatal(err)
	}
	defer rig.RemoveAll(dir)
	socket := filepath.Join(dir, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := os.Chmod(socket, 0o777); err != nil {
		t.Fatal(err)
	}
	t.Setenv("NOTIFY_SOCKET", socket)
	m := start(t)
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	n, err := conn.Read(buf)
	if err != nil || string(buf[:n]) != "READY=1" {
		t.Fatalf("told: %q, %v; log:\n%s", buf[:n], err, m.Log())
	}
	dial(t, m.Address("smtp")).Close()
}

// say sends text and reads lines up to one that begins with want.
func say(t testing.TB, conn net.Conn, lines *bufio.Reader, text, want string) string {
	t.Helper()
	if _, err := fmt.Fprint(conn, text); err != nil {
		t.Fatal(err)
	}
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("after %q, waiting for %q: %q, %v", text, want, line, err)
		}
		if strings.HasPrefix(line, want) {
			return line
		}
		if !strings.HasPrefix(line, "* ") && !regexp.MustCompile(`^\d\d\d-`).MatchString(line) {
			t.Fatalf("after %q: %q, want %q", text, line, want)
		}
	}
}

// edit replaces a text in a file.
func edit(t testing.TB, path, old, new string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), old) {
		t.Fatalf("%s lacks %q:\n%s", path, old, text)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), old, new, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestRefusesToStart: if the server cannot work, it exits with one clear message and status 1,
// and leaves nothing running or written.
func TestRefusesToStart(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() }) // the cases run after this function
	const imapLine = `imap        = ["127.0.0.1:0"]`
	for _, c := range []struct {
		name, want string
		edits      []string
		prepare    func(dir string) error
	}{
		{"port in use", "imap: cannot listen on " + taken.Addr().String() + ": the address is in use by another program",
			[]string{imapLine, `imap = ["` + taken.Addr().String() + `"]`}, nil},
		{"address of another machine", `imap: cannot listen on 192.0.2.1:1430: this machine does not have that address; use ":1430" for all addresses that it has`,
			[]string{imapLine, `imap = ["192.0.2.1:1430"]`}, nil},
		{"unknown key", `maildird.toml:4: unknown setting "hostnam"`, []string{"hostname =", "hostnam ="}, nil},
		{"wrong value", `maildird.toml:11: mail.layout: "mbox" is not one of "maildir++", "fs"`, []string{`"maildir++"`, `"mbox"`}, nil},
		{"no certificate", "cert.pem: no such file or directory", nil,
			func(dir string) error { return os.Remove(filepath.Join(dir, "cert.pem")) }},
		{"unreadable key", "key.pem: permission denied", nil, unreadable("key.pem")},
		{"certificate of another key", "cannot use the certificate ", nil,
			func(dir string) error { return os.Truncate(filepath.Join(dir, "cert.pem"), 100) }},
		{"no users file", "cannot read the users file: ", nil,
			func(dir string) error { return os.Remove(filepath.Join(dir, "users")) }},
		{"something else in the socket's place", "lmtp.sock: the file exists and is not a socket", nil,
			func(dir string) error { return os.Mkdir(filepath.Join(dir, "lmtp.sock"), 0o700) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m, err := prepare(c.edits...)
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(m.Dir)
			if c.prepare != nil {
				if err := c.prepare(m.Dir); err != nil {
					t.Fatal(err)
				}
			}
			if err := m.Start(context.Background()); err == nil {
				_ = m.Kill()
				t.Fatal("it started")
			}
			log := m.Log()
			last := strings.TrimSpace(log[strings.LastIndex("\n"+strings.TrimSpace(log), "\n"):])
			if !strings.HasPrefix(last, "maildird: ") || !strings.Contains(last, c.want) || m.ProcessState.ExitCode() != 1 {
				t.Errorf("exit status %d:\n%s\nwant ...%s", m.ProcessState.ExitCode(), log, c.want)
			}
			if _, err := os.Stat(filepath.Join(m.Dir, "mail")); err == nil {
				t.Error("mail/ was made")
			}
		})
	}
}

// unreadable makes a file unreadable for the servers' user.
func unreadable(name string) func(string) error {
	return func(dir string) error {
		path := filepath.Join(dir, name)
		if os.Geteuid() == 0 {
			if err := os.Chown(path, 0, 0); err != nil {
				return err
			}
			return os.Chmod(path, 0o600)
		}
		return os.Chmod(path, 0)
	}
}

// TestStaleSocket: the socket of a killed server is replaced, that of a running one is not.
func TestStaleSocket(t *testing.T) {
	m := start(t)
	second := &rig.Maildird{Binary: binary, Dir: m.Dir, Config: m.Config}
	if err := second.Start(context.Background()); err == nil {
		_ = second.Kill()
		t.Fatal("two servers on one socket")
	} else if !strings.Contains(err.Error(), "lmtp.sock: the address is in use by another program") {
		t.Error(err)
	}
	if err := m.Kill(); err == nil {
		t.Error("SIGKILL left status 0")
	}
	run(t, m)
}

// TestBadUsersLine: an invalid line is reported, and the other users are served.
func TestBadUsersLine(t *testing.T) {
	m := setUp(t)
	edit(t, filepath.Join(m.Dir, "users"), alice, "no password here\n"+alice)
	run(t, m)
	if log := m.Log(); !regexp.MustCompile(`level=WARN .*users line=1 `).MatchString(log) {
		t.Errorf("the log does not name line 1:\n%s", log)
	}
	login(t, m, alice, nil)
	login(t, m, bob, nil)
}

// TestMaildirThatIsNone: the user gets a clear answer, the log contains the reason, and the
// existing files are not changed.
func TestMaildirThatIsNone(t *testing.T) {
	m, err := prepare()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	path := m.Home(bob)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("a file of mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := rig.Own(filepath.Join(m.Dir, "mail")); err != nil {
		t.Fatal(err)
	}
	run(t, m)
	conn := dial(t, m.Address("imap"))
	lines := bufio.NewReader(conn)
	say(t, conn, lines, "", "* OK")
	say(t, conn, lines, fmt.Sprintf("a LOGIN %s %q\r\n", bob, password), "a NO [UNAVAILABLE] ")
	say(t, conn, lines, fmt.Sprintf("b LOGIN %s %q\r\n", alice, password), "b OK")
	out := dial(t, m.Address("smtp"))
	replies := bufio.NewReader(out)
	say(t, out, replies, "", "220 ")
	say(t, out, replies, "HELO client.example\r\n", "250 ")
	say(t, out, replies, "MAIL FROM:<carol@example.net>\r\n", "250 ")
	if reply := say(t, out, replies, "RCPT TO:<"+bob+">\r\n", ""); strings.HasPrefix(reply, "250 ") {
		say(t, out, replies, "DATA\r\n", "354 ")
		say(t, out, replies, "Subject: x\r\n\r\nx\r\n.\r\n", "4")
	} else if !strings.HasPrefix(reply, "4") {
		t.Errorf("RCPT: %q", reply)
	}
	eventually(t, func() error {
		if log := m.Log(); !strings.Contains(log, path) {
			return fmt.Errorf("the log does not name %s:\n%s", path, log)
		}
		return nil
	})
	if text, err := os.ReadFile(path); err != nil || string(text) != "a file of mine" {
		t.Errorf("the file is %q, %v", text, err)
	}
}

// TestFirstMailOfUser: mail for a user without a Maildir is stored in a new one, even right below
// the only directory of the mail that the program may look at.
func TestFirstMailOfUser(t *testing.T) {
	disk, err := rig.Dir("disk")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(disk) })
	mail := filepath.Join(disk, "mail")
	m := setUp(t, "mail/%d/%n", mail+"/%n")
	t.Setenv("TMPDIR", m.Dir) // the directory for temporary files is accessible anyway
	if err := errors.Join(os.Mkdir(mail, 0o700), rig.Own(mail)); err != nil {
		t.Fatal(err)
	}
	run(t, m)
	deliver(t, m, alice, "x", "x\r\n")
	if found, err := filepath.Glob(mail + "/*/new/*"); err != nil || len(found) != 1 {
		t.Errorf("mail in %s: %q, %v", mail, found, err)
	}
}

// TestThreads: a server runs code on twice as many threads as there are processors,
// or on GOMAXPROCS threads.
func TestThreads(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	runtime.SetDefaultGOMAXPROCS()
	t.Setenv("GODEBUG", "schedtrace=20") // the runtime reports how many it uses
	for _, c := range []struct {
		configured string
		want       int
	}{{"", 2 * runtime.GOMAXPROCS(0)}, {"3", 3}} {
		t.Setenv("GOMAXPROCS", c.configured)
		m := start(t)
		want, told := fmt.Sprintf(" gomaxprocs=%d ", c.want), 0
		eventually(t, func() error {
			_, log, _ := strings.Cut(m.Log(), "msg=ready")
			told = strings.Count(log, " gomaxprocs=")
			if told < 100 && !strings.Contains(log, want) {
				return fmt.Errorf("the runtime told %d times:\n%s", told, log)
			}
			return nil
		})
		if told >= 100 {
			t.Errorf("with GOMAXPROCS=%q there is no %q", c.configured, want)
		}
	}
}

// TestCheckRights: a missing permission to create Maildirs is reported before
// the first mail arrives.
func TestCheckRights(t *testing.T) {
	m := setUp(t, `cache_dir = "cache"`, `cache_dir = "mail/cache"`)
	if out, err := m.Run("", "config", "check", "--config", m.Config); err != nil {
		t.Fatalf("%v, %s", err, out)
	}
	mail := filepath.Join(m.Dir, "mail")
	if err := os.Mkdir(mail, 0o755); err != nil { // not owned by the server's user, or not writable
		t.Fatal(err)
	}
	if err := os.Chmod(mail, 0o555); err != nil {
		t.Fatal(err)
	}
	out, err := m.Run("", "config", "check", "--config", m.Config)
	if err == nil {
		t.Error("config check finds nothing wrong")
	}
	for _, what := range []string{"mail of alice@example.org: " + filepath.Dir(m.Home("alice@example.org")), "cache_dir: " + mail + "/cache"} {
		if want := fmt.Sprintf("%s cannot be made: write in %s: permission denied\n", what, mail); !strings.Contains(out, want) {
			t.Errorf("%s, want %q", out, want)
		}
	}
	// The same for an existing Maildir.
	must(t, os.Chmod(mail, 0o755))
	alices := m.Home(alice)
	for _, name := range []string{filepath.Join(alices, "cur"), filepath.Join(alices, "new"), filepath.Join(mail, "cache")} {
		must(t, os.MkdirAll(name, 0o555))
	}
	must(t, os.Chmod(alices, 0o555))
	must(t, os.Chmod(mail, 0o555))
	edit(t, m.Config, `"unix:lmtp.sock"`, `"unix:mail/lmtp.sock", "unix:run/lmtp.sock"`)
	out, err = m.Run("", "config", "check", "--config", m.Config)
	if err == nil {
		t.Error("config check finds nothing wrong")
	}
	for _, want := range []string{
		"mail of " + alice + ": read and write in " + alices + ": permission denied\n",
		"cache_dir: read and write in " + mail + "/cache: permission denied\n",
		"listen.lmtp: " + mail + "/lmtp.sock cannot be created: read and write in " + mail + ": permission denied\n",
		"warning: listen.lmtp: " + m.Dir + "/run/lmtp.sock cannot be created: read and write in " + m.Dir + "/run: no such file or directory\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%s, want %q", out, want)
		}
	}
	edit(t, m.Config, `# reserve = "64MiB"`, `reserve = "900000TiB"`)
	if out, err := m.Run("", "config", "check", "--config", m.Config); err == nil || !strings.Contains(out, "\nmail.reserve: ") {
		t.Errorf("%v, %s", err, out)
	}
}
