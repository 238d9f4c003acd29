package torture

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"maildird/scripts/coexist"
	"maildird/scripts/rig"
)

// hostile contains what the owner of a Maildir may put into it. outside is a
// directory of another user with the files "canary" and, for links to a whole folder,
// "new", "cur" and "tmp".
var hostile = map[string]func(h *hostileMaildir){
	"message is a link":      func(h *hostileMaildir) { h.link("canary", "cur/17.link.x:2,") },
	"new message is a link":  func(h *hostileMaildir) { h.link("canary", "new/17.link.x") },
	"message is a hard link": func(h *hostileMaildir) { h.must(os.Link(h.out("canary"), h.in("cur/17.hard.x:2,"))) },
	"new one is a hard link": func(h *hostileMaildir) { h.must(os.Link(h.out("canary"), h.in("new/17.hard.x"))) },
	"message is a FIFO":      func(h *hostileMaildir) { h.must(unix.Mkfifo(h.in("cur/17.fifo.x:2,"), 0o666)) },
	"new message is a FIFO":  func(h *hostileMaildir) { h.must(unix.Mkfifo(h.in("new/17.fifo.x"), 0o666)) },
	"message is /dev/zero":   func(h *hostileMaildir) { h.must(os.Symlink("/dev/zero", h.in("cur/17.zero.x:2,"))) },
	"message is a device":    func(h *hostileMaildir) { h.device("cur/17.zero.x:2,") },
	"message is a socket":    func(h *hostileMaildir) { h.socket("cur/17.sock.x:2,") },
	"message is a directory": func(h *hostileMaildir) { h.mkdir("cur/17.dir.x:2,") },
	"message is unreadable": func(h *hostileMaildir) {
		h.file("cur/17.deny.x:2,", "Subject: x\n\nx\n")
		h.must(os.Chmod(h.in("cur/17.deny.x:2,"), 0))
	},
	"message is sparse":                func(h *hostileMaildir) { h.sparse("cur/17.sparse.x:2,") },
	"message is sparse, its name lies": func(h *hostileMaildir) { h.sparse("cur/17.sparse.x,S=10,W=10:2,") },
	"message has the longest name": func(h *hostileMaildir) {
		h.file("cur/17.M1P1."+strings.Repeat("x", 243)+":2,", "Subject: long\n\nx\n")
	},
	"new message has the longest name": func(h *hostileMaildir) {
		h.file("new/17.M1P1."+strings.Repeat("x", 246), "Subject: long\n\nx\n")
	},
	"new message is a device":    func(h *hostileMaildir) { h.device("new/17.zero.x") },
	"new message is a socket":    func(h *hostileMaildir) { h.socket("new/17.sock.x") },
	"new message is a directory": func(h *hostileMaildir) { h.mkdir("new/17.dir.x") },
	"new message is unreadable": func(h *hostileMaildir) {
		h.file("new/17.deny.x", "Subject: x\n\nx\n")
		h.must(os.Chmod(h.in("new/17.deny.x"), 0))
	},
	"folder names are odd":     (*hostileMaildir).oddFolders,
	"names are odd":            (*hostileMaildir).oddNames,
	"many files":               (*hostileMaildir).many,
	"cur is a link":            func(h *hostileMaildir) { h.instead("cur", "cur") },
	"new is a link":            func(h *hostileMaildir) { h.instead("new", "new") },
	"tmp is a link":            func(h *hostileMaildir) { h.instead("tmp", "tmp") },
	"tmp is a file":            func(h *hostileMaildir) { h.must(os.RemoveAll(h.in("tmp"))); h.file("tmp", "x") },
	"folder is a link":         func(h *hostileMaildir) { h.instead(".Box", "") },
	"another folder is a link": func(h *hostileMaildir) { h.link("", ".Other") },
	"unreadable cur":           func(h *hostileMaildir) { h.must(os.Chmod(h.in("cur"), 0)) },
	"folder's cur is a link":   func(h *hostileMaildir) { h.instead(".Box/cur", "cur") },
}

func init() {
	// Everything that is read, written, or waited for, apart from the messages.
	for _, name := range []string{
		"dovecot-uidlist", "dovecot-uidlist.lock", "dovecot-uidlist.tmp", "dovecot-keywords", "dovecot-keywords.lock", "dovecot-uidvalidity",
		"subscriptions", "mailboxes.lock", "maildird-history", "maildird-history.tmp", "maildird-specialuse", "maildirsize", "maildird-cache",
	} {
		hostile[name+" is a link"] = func(h *hostileMaildir) { h.link("canary", name) }
		hostile[name+" is a FIFO"] = func(h *hostileMaildir) { h.must(unix.Mkfifo(h.in(name), 0o666)); h.own(name) }
		if strings.HasSuffix(name, ".lock") {
			continue // the program waits for a regular file that is a lock, which packages dotlock and folder test
		}
		hostile[name+" is a hard link"] = func(h *hostileMaildir) { h.must(os.Link(h.out("canary"), h.in(name))) }
	}
}

type hostileMaildir struct {
	t             *testing.T
	home, outside string
}

func (h *hostileMaildir) in(name string) string  { return filepath.Join(h.home, name) }
func (h *hostileMaildir) out(name string) string { return filepath.Join(h.outside, name) }

func (h *hostileMaildir) must(err error) {
	h.t.Helper()
	must(h.t, err)
}

func (h *hostileMaildir) link(to, name string) { h.must(os.Symlink(h.out(to), h.in(name))) }

func (h *hostileMaildir) own(name string) {
	id := rig.Self()
	h.must(os.Lchown(h.in(name), id.UID, id.GID))
}

func (h *hostileMaildir) file(name, text string) {
	h.must(os.WriteFile(h.in(name), []byte(text), 0o600))
	h.own(name)
}

func (h *hostileMaildir) mkdir(name string) {
	h.must(os.Mkdir(h.in(name), 0o700))
	h.own(name)
}

func (h *hostileMaildir) instead(name, to string) {
	h.must(os.RemoveAll(h.in(name)))
	h.link(to, name)
}

func (h *hostileMaildir) device(name string) {
	err := unix.Mknod(h.in(name), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5)))
	if errors.Is(err, unix.EPERM) { // only root can create it
		err = unix.Mkfifo(h.in(name), 0o666)
	}
	h.must(err)
}

func (h *hostileMaildir) socket(name string) {
	// Use a short path: the paths of sockets are limited.
	dir, err := os.Open(filepath.Dir(h.in(name)))
	h.must(err)
	defer dir.Close()
	l, err := net.Listen("unix", fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(name)))
	h.must(err)
	h.t.Cleanup(func() { l.Close() })
}

func (h *hostileMaildir) sparse(name string) {
	h.file(name, "Subject: sparse\n\n")
	err := os.Truncate(h.in(name), 1<<40)
	if errors.Is(err, unix.EFBIG) {
		err = os.Truncate(h.in(name), 5<<30)
	}
	h.must(err)
}

func (h *hostileMaildir) oddNames() {
	for _, name := range []string{"new\nline", "tab\tand\rreturn", "bad\xff\xfeutf8", "nul-like\x01\x7f", " ", ":2,S", strings.Repeat("x", 250), "..17.dots", `"quoted" \back`} {
		h.file("cur/"+name, "Subject: odd\n\nx\n")
		h.file("new/n"+name, "Subject: odd\n\nx\n")
	}
	h.mkdir(".bad\xff\xfefolder")
	h.mkdir(".new\nline")
}

func (h *hostileMaildir) oddFolders() {
	for _, name := range []string{
		".\x01", ".&bad-", ".&AOk", ".a..b", ".end.", "..x", ". ", ".*", ".%", `."q"\`, ".~", ".\r\n", ".{5}", ".INBOX", ".inbox", "." + strings.Repeat("x", 254),
	} {
		h.mkdir(name)
		for _, dir := range []string{"cur", "new", "tmp"} {
			h.mkdir(name + "/" + dir)
		}
		h.file(name+"/cur/17.x:2,", "Subject: odd\n\nx\n")
	}
}

func (h *hostileMaildir) many() {
	for i := range 5000 {
		h.file(fmt.Sprintf("cur/17.%d.many:2,", i), "Subject: many\n\nx\n")
	}
}

const canaryText = "Subject: canary\n\nthis is the secret of somebody else\n"

// refuses matches what makes a folder invalid, or unusable for the program.
var refuses = regexp.MustCompile(`^(cur|new|tmp|unreadable cur|dovecot-uidlist(\.lock)?|dovecot-keywords)( |$)`)

// TestHostile puts each of these into a separate Maildir and uses it: nothing outside may be
// read or changed, nothing may hang, and the valid mail must be served.
func TestHostile(t *testing.T) {
	m := startHostile(t)
	for name, plant := range hostile {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			hostileCase(t, m, plant, !refuses.MatchString(name))
		})
	}
}

// startHostile starts the program for the user with the hostile Maildir.
func startHostile(t *testing.T) *rig.Maildird {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("files of somebody else can be made by root only")
	}
	m, err := rig.InitMaildird(binary, []rig.Account{{Address: "user@example.org", Password: "secret"}})
	must(t, err)
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	must(t, m.Start(context.Background()))
	return m
}

// newHostileMaildir gives the user a Maildir with some mail, and creates files of
// another user beside it.
func newHostileMaildir(t *testing.T, m *rig.Maildird) *hostileMaildir {
	h := &hostileMaildir{t: t, home: m.Home("user@example.org"), outside: filepath.Join(m.Dir, "outside")}
	must(t, rig.RemoveAll(h.home))
	must(t, os.RemoveAll(h.outside))
	for _, dir := range []string{"", "new", "cur", "tmp"} {
		must(t, os.MkdirAll(h.out(dir), 0o777))
		must(t, os.Chmod(h.out(dir), 0o777))
	}
	for _, name := range []string{"canary", "cur/16.canary.x:2,", "new/16.canary.x"} {
		must(t, os.WriteFile(h.out(name), []byte(canaryText), 0o666))
		must(t, os.Chmod(h.out(name), 0o666))
	}
	for _, dir := range []string{"new", "cur", "tmp", ".Box/new", ".Box/cur", ".Box/tmp"} {
		must(t, os.MkdirAll(h.in(dir), 0o700))
	}
	must(t, rig.Own(filepath.Join(m.Dir, "mail")))
	h.file("cur/16.good.x:2,", "Subject: good\n\na good message\n")
	h.file(".Box/cur/16.good.x:2,", "Subject: good\n\na good message\n")
	return h
}

func hostileCase(t *testing.T, m *rig.Maildird, plant func(*hostileMaildir), good bool) {
	h := newHostileMaildir(t, m)
	plant(h)
	watch := watchCanary(t, h)
	if good {
		findGood(t, m)
	}
	useHostile(t, m)
	watch()
}

// findGood looks for the valid message in INBOX.
func findGood(t *testing.T, m *rig.Maildird) {
	c, err := coexist.Dial("maildird", m.Address("imap"), "user@example.org", "secret")
	must(t, err)
	defer c.Close()
	_, err = c.Do("SELECT INBOX")
	must(t, err)
	found, err := c.Do("SEARCH SUBJECT good TEXT %q", "a good message")
	if len(found) == 0 || len(strings.Fields(found[0].Text)) < 2 {
		t.Errorf("the good message is not found: %+v, %v", found, err)
	}
}

// watchCanary returns a function that fails the test if anything outside was read or changed.
func watchCanary(t *testing.T, h *hostileMaildir) func() {
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	must(t, err)
	for _, name := range []string{"canary", "cur/16.canary.x:2,", "new/16.canary.x", "new", "cur", "tmp", ""} {
		_, err := unix.InotifyAddWatch(fd, h.out(name), unix.IN_ACCESS|unix.IN_MODIFY|unix.IN_CREATE|unix.IN_DELETE|unix.IN_MOVE)
		must(t, err)
	}
	before, err := os.Stat(h.out("canary"))
	must(t, err)
	return func() {
		defer unix.Close(fd)
		after, err := os.Stat(h.out("canary"))
		if err != nil || !after.ModTime().Equal(before.ModTime()) || after.Mode() != before.Mode() || after.Sys().(*syscall.Stat_t).Uid != before.Sys().(*syscall.Stat_t).Uid {
			t.Errorf("the canary was %v and is %v, %v", before, after, err)
		}
		buf := make([]byte, 64<<10)
		if n, err := unix.Read(fd, buf); n > 0 || !errors.Is(err, unix.EAGAIN) {
			t.Errorf("something outside was read or changed: %q, %v", buf[:max(n, 0)], err)
		}
		if text, err := os.ReadFile(h.out("canary")); err != nil || string(text) != canaryText {
			t.Errorf("the canary is %q, %v", text, err)
		}
	}
}

// useHostile does everything that a client does, within a time limit.
func useHostile(t *testing.T, m *rig.Maildird) {
	began := time.Now()
	c, err := coexist.Dial("maildird", m.Address("imap"), "user@example.org", "secret")
	must(t, err)
	defer func() { c.Close() }()
	for _, command := range []string{
		`LIST "" *`, "STATUS INBOX (MESSAGES UNSEEN SIZE)", "STATUS Box (MESSAGES)", "EXAMINE INBOX", "SELECT INBOX", "FETCH 1:* (FLAGS RFC822.SIZE BODY.PEEK[TEXT]<0.100>)",
		"FETCH 1:* (BODY.PEEK[HEADER] ENVELOPE BODYSTRUCTURE INTERNALDATE)", "SEARCH TEXT secret", "STORE 1:* +FLAGS (\\Flagged key)", "COPY 1:* Box",
		"APPEND INBOX (\\Seen) {19+}\r\nSubject: x\r\n\r\nhello", "SUBSCRIBE Box", "CREATE Made", "SELECT Box", "FETCH 1:* BODY.PEEK[]<0.100000>", "MOVE 1:* INBOX",
		"SELECT INBOX", "STORE 1:* +FLAGS (\\Deleted)", "EXPUNGE", "DELETE Box", "NOOP",
	} {
		tagged, responses, err := c.Tagged("%s", command)
		var refused *coexist.RefusedError
		if err != nil && (!errors.As(err, &refused) || strings.HasPrefix(refused.Answer, "BAD") &&
			!strings.Contains(refused.Answer, "No mailbox is selected") && !strings.Contains(refused.Answer, "The mailbox is empty")) {
			t.Fatalf("%s: %v", command, err)
		}
		for _, r := range responses {
			if strings.Contains(r.Text, "the secret") {
				t.Errorf("%s shows %q", command, r.Text)
			}
		}
		if refused != nil && strings.Contains(refused.Answer, "SERVERBUG") {
			t.Errorf("%s: %s", command, refused.Answer)
		}
		_ = tagged
	}
	s, err := dialSender(m, "lmtp")
	must(t, err)
	defer s.Close()
	if err := s.Deliver(from, "Subject: x\n\nx\n", "user@example.org")[0]; err != nil && !strings.HasPrefix(err.Error(), "4") {
		t.Errorf("delivery: %v", err)
	}
	if d := time.Since(began); d > 5*patience {
		t.Errorf("it took %s", d)
	}
	t.Logf("%s", time.Since(began).Round(time.Millisecond))
}
