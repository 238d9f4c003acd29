package faults

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"maildird/scripts/coexist"
	"maildird/scripts/rig"
)

// patience is how long to wait for a response, and until the end of a fault is noticed.
var patience = 60 * time.Second

// cell is a user with a Maildir on a file system of its own, sessions, and the expected state.
type cell struct {
	m       *rig.Maildird
	user    string
	home    string
	client  *coexist.Client // with INBOX selected
	senders map[string]*sender
	lines   int  // length of the messages that are sent during the fault
	trashed bool // a deleted mailbox may be in the trash

	mail     world
	uids     map[string]map[string]uint32 // of mail that clients have seen
	validity map[string]string

	mu          sync.Mutex      // guards the following fields, and mail when several clients work
	unsure      map[string]bool // "FOLDER ID" of mail that may exist
	unsureFlags string          // the message that may be \Answered
}

// start is the initial mail of a cell. In Known, the server has only seen
// "old"; in Unseen, nothing.
var start = world{
	"INBOX":  {"copied": "", "moved": "", "flagged": "", "keyword": "", "fetched": "", "deleted": `\Deleted`, "probed": ""},
	"Box":    {"here": ""},
	"Known":  {"old": ""},
	"Unseen": {"unseen": ""},
}

// newCell creates a Maildir and lets a client use it.
func newCell(m *rig.Maildird, user string) (*cell, error) {
	c := &cell{m: m, user: user, home: m.Home(user), senders: map[string]*sender{}, mail: start.clone(),
		uids: map[string]map[string]uint32{}, validity: map[string]string{},
		unsure: map[string]bool{}}
	if err := c.mount(); err != nil {
		return nil, err
	}
	n := 0
	for _, folder := range slices.Sorted(maps.Keys(c.mail)) {
		for _, sub := range []string{"tmp", "new", "cur"} {
			if err := os.MkdirAll(filepath.Join(c.dir(folder), sub), 0o700); err != nil {
				return nil, err
			}
		}
		for id := range c.mail[folder] {
			n++
			if err := os.WriteFile(filepath.Join(c.dir(folder), "cur", fmt.Sprintf("17000000%02d.M1P1.host:2,", n)), []byte(mailText(id, 3)), 0o600); err != nil {
				return nil, err
			}
		}
	}
	return c, errors.Join(c.own(), c.use())
}

// mount puts the Maildir on a file system of 2 MiB and 400 inodes.
func (c *cell) mount() error {
	if err := os.MkdirAll(c.home, 0o700); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", c.home, "tmpfs", 0, "size=2m,nr_inodes=400,mode=0700"); err != nil {
		return fmt.Errorf("mount a tmpfs: %w", err)
	}
	return nil
}

func (c *cell) unmount() error { return unix.Unmount(c.home, unix.MNT_DETACH) }

func (c *cell) dir(folder string) string {
	if folder == "INBOX" {
		return c.home
	}
	return filepath.Join(c.home, "."+folder)
}

func (c *cell) own() error { return rig.Own(c.home) }

// use connects and opens the mailboxes that must be known.
func (c *cell) use() error {
	if err := c.connect(); err != nil {
		return err
	}
	for _, folder := range []string{"Known", "Box", "INBOX"} {
		if err := c.learn(c.client, folder); err != nil {
			return err
		}
	}
	for _, command := range []string{
		fmt.Sprintf(`UID STORE %d FLAGS.SILENT (\Deleted)`, c.uids["INBOX"]["deleted"]),
		fmt.Sprintf(`UID STORE %d FLAGS.SILENT (known)`, c.uids["INBOX"]["probed"]), fmt.Sprintf(`UID STORE %d FLAGS.SILENT ()`, c.uids["INBOX"]["probed"]),
	} {
		if _, err := c.client.Do("%s", command); err != nil {
			return err
		}
	}
	if err := c.padList("Box"); err != nil {
		return err
	}
	c.mail["Known"]["fresh"] = ""
	if err := os.WriteFile(filepath.Join(c.dir("Known"), "new", "1700000099.M1P1.host"), []byte(mailText("fresh", 3)), 0o600); err != nil {
		return err
	}
	return errors.Join(c.own(), c.rest())
}

// rest lets the program look at open mailboxes once more, so long after the last change that
// no other change can have the same time (package mailbox). After that it need not look
// again if nothing changes.
func (c *cell) rest() error {
	time.Sleep(100 * time.Millisecond)
	for _, command := range []string{"STATUS Box (MESSAGES)", "NOOP"} {
		if _, err := c.client.Do("%s", command); err != nil {
			return err
		}
	}
	return nil
}

// connect begins a session of each protocol.
func (c *cell) connect() (err error) {
	c.close()
	if c.client, err = coexist.Dial("maildird", c.m.Address("imap"), c.user, "secret"); err != nil {
		return err
	}
	for _, service := range []string{"lmtp", "smtp", "submission"} {
		if c.senders[service], err = dialSender(c.m, service, c.user); err != nil {
			return err
		}
	}
	return nil
}

// padList adds messages until the last block of a uidlist is full, so that the next
// line needs another block.
func (c *cell) padList(folder string) error {
	const block, long = 4096, 200
	list := filepath.Join(c.dir(folder), "dovecot-uidlist")
	n := 0
	pad := func(length int) error {
		n++
		id := fmt.Sprintf("pad%d", n)
		name := fmt.Sprintf("18.M%06dP1.", n)
		if length < len(name) {
			return fmt.Errorf("%s cannot be filled: %d bytes are left", list, length)
		}
		c.mail[folder][id] = ""
		name += strings.Repeat("x", length-len(name)) + ":2,"
		return os.WriteFile(filepath.Join(c.dir(folder), "cur", name), []byte(mailText(id, 3)), 0o600)
	}
	for {
		st, err := os.Stat(list)
		if err != nil {
			return err
		}
		left := int((block - st.Size()%block) % block)
		if left == 0 {
			return nil
		}
		// A line is "UID :BASE
		// ". The first ones leave room for one more, and the last one fills it.
		line := len(fmt.Sprint(c.nextUID(folder))) + len(" :\n")
		if left <= long+line {
			err = pad(left - line)
		}
		for ; err == nil && left > long+line; left -= long + len("10 :\n") {
			if left < 2*long {
				err = pad(long / 2)
				break
			}
			err = pad(long)
		}
		if err == nil {
			_, err = c.client.Do("STATUS %s (MESSAGES)", folder)
		}
		if err != nil {
			return err
		}
	}
}

func (c *cell) nextUID(folder string) (next uint32) {
	responses, err := c.client.Do("STATUS %s (UIDNEXT)", folder)
	if err != nil || len(responses) != 1 || len(responses[0].Args) != 2 {
		return 0
	}
	_, _ = fmt.Sscan(responses[0].Args[1].List[1].Text, &next)
	return next
}

func (c *cell) close() {
	if c.client != nil {
		c.client.Close()
	}
	for _, s := range c.senders {
		if s != nil {
			s.Close()
		}
	}
}

// learn selects a mailbox and records the UIDs.
func (c *cell) learn(client *coexist.Client, folder string) error {
	mail, uids, validity, err := fetchAll(client, "SELECT", folder)
	if err != nil {
		return err
	}
	if len(mail) == 0 {
		return fmt.Errorf("%s of %s shows no mail", folder, c.user)
	}
	c.uids[folder], c.validity[folder] = uids, validity
	return nil
}

// fetchAll returns the contents of a mailbox.
func fetchAll(client *coexist.Client, how, folder string) (mail map[string]string, uids map[string]uint32, validity string, err error) {
	responses, err := client.Do("%s %s", how, folder)
	if err != nil {
		return nil, nil, "", err
	}
	for _, r := range responses {
		if _, rest, ok := strings.Cut(r.Text, "[UIDVALIDITY "); ok {
			validity, _, _ = strings.Cut(rest, "]")
		}
	}
	if responses, err = client.Do("UID FETCH 1:* (UID FLAGS BODY.PEEK[])"); err != nil {
		return nil, nil, "", err
	}
	mail, uids = map[string]string{}, map[string]uint32{}
	for _, r := range responses {
		if r.Name != "FETCH" || len(r.Args) != 1 {
			continue
		}
		var uid uint32
		var flags, text string
		items := r.Args[0].List
		for i := 0; i+1 < len(items); i += 2 {
			switch value := items[i+1]; items[i].Text {
			case "UID":
				_, _ = fmt.Sscan(value.Text, &uid)
			case "FLAGS":
				words := slices.DeleteFunc(value.Words(), func(w string) bool { return w == `\Recent` })
				slices.Sort(words)
				flags = strings.Join(words, " ")
			case "BODY[]":
				text = value.Text
			}
		}
		id := idOf(text)
		if id == "" {
			return nil, nil, "", fmt.Errorf("UID %d of %s is not a message that was sent: %.300q", uid, folder, text)
		}
		if _, again := mail[id]; again {
			return nil, nil, "", fmt.Errorf("%s is in %s twice", id, folder)
		}
		mail[id], uids[id] = flags, uid
	}
	return mail, uids, validity, nil
}

// onDisk compares the messages in new/ and cur/ with a world, ignoring flags.
// tmp/ must be empty.
func (c *cell) onDisk(w world) error {
	found := map[string][]string{}
	var wrong []error
	err := filepath.WalkDir(c.home, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		dir := filepath.Dir(path)
		switch filepath.Base(dir) {
		case "tmp":
			wrong = append(wrong, fmt.Errorf("%s was left behind", path))
		case "new", "cur":
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			folder := "INBOX"
			if dir = filepath.Dir(dir); dir != c.home {
				folder = strings.TrimPrefix(filepath.Base(dir), ".")
			}
			id := idOf(string(text))
			if id == "" {
				id = "a partial message, " + filepath.Base(path)
			}
			found[folder] = append(found[folder], id)
		}
		return nil
	})
	for folder := range found {
		if _, ok := w[folder]; !ok && (!c.trashed || folder != ".DOVECOT-TRASHED") {
			wrong = append(wrong, fmt.Errorf("there is mail in %s, which has to be gone: %q", folder, found[folder]))
		}
	}
	for folder, mail := range w {
		want := slices.Sorted(maps.Keys(mail))
		got := slices.Sorted(slices.Values(found[folder]))
		if !slices.Equal(want, got) {
			wrong = append(wrong, fmt.Errorf("in the files of %s there is %q, has to be %q", folder, got, want))
		}
	}
	return errors.Join(append(wrong, err)...)
}

// compare checks the expected state in a new session.
func (c *cell) compare() error {
	client, err := coexist.Dial("maildird", c.m.Address("imap"), c.user, "secret")
	if err != nil {
		return err
	}
	defer client.Close()
	var wrong []error
	for folder, want := range c.mail {
		mail, uids, validity, err := fetchAll(client, "EXAMINE", folder)
		if err != nil {
			return err
		}
		for id, flags := range want {
			if got, ok := mail[id]; !ok {
				wrong = append(wrong, fmt.Errorf("%s is not in %s", id, folder))
			} else if got != flags && (c.unsureFlags != id || got != `\Answered`) {
				wrong = append(wrong, fmt.Errorf("%s in %s has the flags %q, has to have %q", id, folder, got, flags))
			}
			if was := c.uids[folder][id]; was != 0 && uids[id] != was {
				wrong = append(wrong, fmt.Errorf("%s in %s had UID %d and has %d", id, folder, was, uids[id]))
			}
		}
		for id := range mail {
			if _, ok := want[id]; !ok && !c.unsure[folder+" "+id] {
				wrong = append(wrong, fmt.Errorf("%s is in %s, and nobody put it there", id, folder))
			}
		}
		if was := c.validity[folder]; was != "" && validity != was {
			wrong = append(wrong, fmt.Errorf("UIDVALIDITY of %s was %s and is %s", folder, was, validity))
		}
	}
	return errors.Join(wrong...)
}

// everything performs each kind of operation in the old session. All must succeed.
func (c *cell) everything() error {
	for _, s := range []string{"lmtp", "smtp", "submission"} {
		id := "later-" + s
		if answer, words := c.senders[s].deliver(mailText(id, 3), c.user); answer != "250" {
			return fmt.Errorf("%s: %s %s", s, answer, words)
		}
		c.mail["INBOX"][id] = ""
	}
	if _, err := c.client.Do("SELECT INBOX"); err != nil {
		return err
	}
	uid := c.uids["INBOX"]["probed"]
	text := strings.ReplaceAll(mailText("later-append", 3), "\n", "\r\n")
	for _, command := range []string{
		"CREATE Later", fmt.Sprintf("APPEND Later {%d+}\r\n%s", len(text), text), fmt.Sprintf("UID COPY %d Later", uid),
		fmt.Sprintf(`UID STORE %d +FLAGS (\Deleted evenlater)`, uid), fmt.Sprintf("UID EXPUNGE %d", uid),
	} {
		if _, err := c.client.Do("%s", command); err != nil {
			return err
		}
	}
	delete(c.mail["INBOX"], "probed")
	c.mail["Later"] = map[string]string{"later-append": "", "probed": ""}
	return nil
}

// logSince returns the lines of the log from an offset on.
func (c *cell) logSince(offset int) []string {
	return strings.Split(c.m.Log()[offset:], "\n")
}

// sleepUntil waits until f returns true, at most as long as a response may take.
func sleepUntil(f func() bool) bool {
	deadline := time.Now().Add(patience)
	for !f() {
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(10 * time.Millisecond)
	}
	return true
}

// until repeats f like sleepUntil, and returns its last error.
func until(f func() error) (err error) {
	sleepUntil(func() bool {
		err = f()
		return err == nil
	})
	return err
}
