package torture

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"maildird/maildir/check"
	"maildird/maildir/delivery"
	"maildird/maildir/dotlock"
	"maildird/maildir/folder"
	"maildird/scripts/coexist"
	"maildird/scripts/rig"
)

var flagOutcomes = flag.Float64("outcomes", 0.4, "how many outcomes of each power cut are looked at, at most; below 1, of how many of them one is")

// TestPower cuts the power between any two system calls of the program, while it
// delivers, appends, flags, copies, moves and removes messages, and examines what the
// file system may have left: the check of Maildirs must find nothing wrong, and
// everything that was acknowledged must exist.
func TestPower(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Fatal("strace is needed; scripts/test-tools installs it")
	}
	rec := record(t)
	for _, loose := range []bool{false, true} {
		name := "renames are whole"
		if loose {
			name = "renames may leave both names"
		}
		t.Run(name, func(t *testing.T) { replay(t, rec, loose) })
	}
}

// recording is a run of the program under strace.
type recording struct {
	before string // a copy of its directory before the run
	dir    string // the path of that directory
	trace  string
	worlds []*world // after each acknowledgement
	what   []string // what was acknowledged
	told   []told
	texts  map[string]string
}

var accounts = []rig.Account{{Address: "alice@example.org", Password: "secret"}, {Address: "bob@example.org", Password: "secret"}}

// record runs the program under strace, with a client that does one thing at a time.
func record(t *testing.T) *recording {
	m := newMaildird(t)
	rec := &recording{dir: m.Dir, before: t.TempDir(), trace: filepath.Join(m.Dir, "trace"), texts: map[string]string{}}
	must(t, os.CopyFS(filepath.Join(rec.before, "disk"), noSockets(m.Dir)))
	script := fmt.Sprintf("#!/bin/sh\n[ \"$1\" = serve ] || exec %[1]s \"$@\"\nexec strace -f -xx -s 4000000 -o %[2]s -e trace=%[3]s %[1]s \"$@\"\n",
		m.Binary, rec.trace, straceCalls)
	m.Binary = filepath.Join(m.Dir, "traced")
	must(t, os.WriteFile(m.Binary, []byte(script), 0o755))
	must(t, m.Start(context.Background()))
	d := &driver{t: t, m: m, rec: rec, world: &world{mail: map[place]map[string]letter{}, validity: map[place]uint32{}}}
	rec.worlds = append(rec.worlds, d.world.clone())
	d.run()
	// strace ignores the signal and ends with the program.
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", m.Process.Process.Pid))
	must(t, err)
	pid := strings.Fields(string(children))[0]
	must(t, exec.Command("kill", pid).Run())
	select {
	case <-m.Done():
	case <-time.After(patience):
		t.Fatal("the program did not end")
	}
	m.Process = nil
	return rec
}

// replay follows the trace and cuts the power wherever something changed.
func replay(t *testing.T, rec *recording, loose bool) {
	seed := seedOf(t)
	rng := rand.New(rand.NewPCG(seed, 0))
	d, err := newDisk(filepath.Join(rec.before, "disk"), loose)
	must(t, err)
	d.path = rec.dir
	r := &replayer{t: t, rec: rec, rng: rng, seen: map[[sha256.Size]byte]bool{}, scratch: scratch(t), data: map[int]bool{}}
	r.follower = &follower{disk: d, syncs: map[string]int{}, said: r.said}
	must(t, r.follow())
	if r.acks != len(rec.what) {
		t.Fatalf("%d acknowledgements in the trace, %d came: the trace is not understood", r.acks, len(rec.what))
	}
	t.Logf("%d acknowledgements, %d places to cut the power, %d outcomes looked at", r.acks, r.cuts, r.looked)
	if r.looked < 150 || r.cuts < 300 {
		t.Error("that is too little to prove anything")
	}
}

// replayer is one pass through the trace.
type replayer struct {
	t        *testing.T
	rec      *recording
	rng      *rand.Rand
	follower *follower
	acks     int
	cuts     int
	looked   int
	seen     map[[sha256.Size]byte]bool
	scratch  string
	data     map[int]bool // connections on which the program has requested a message
	failed   int
}

func (r *replayer) follow() error {
	f, err := os.Open(r.rec.trace)
	if err != nil {
		return err
	}
	defer f.Close()
	return readTrace(f, func(c call) error {
		acks := r.acks
		changed, err := r.follower.take(c)
		if err != nil || !changed && acks == r.acks {
			return err
		}
		r.cuts++
		if err := r.cut(); err != nil {
			return err
		}
		if len(r.follower.syncs) == 0 {
			r.follower.fold()
		}
		return nil
	})
}

// cut examines outcomes that were not examined since the last acknowledgement.
func (r *replayer) cut() (err error) {
	d := r.follower.disk
	look := *flagOutcomes
	if look < 1 && r.rng.Float64() >= look {
		return nil
	}
	d.fates(r.rng, func(f fate) bool {
		l := d.after(f)
		mail := l.find("mail", "example.org")
		if mail == nil {
			if r.acks > 0 {
				err = errors.New("all mail is lost")
			}
			return err == nil
		}
		sum := l.sum(mail)
		if r.seen[sum] {
			return true
		}
		r.seen[sum] = true
		r.looked++
		look--
		err = r.look(l, d.loose)
		return err == nil && look > 0
	})
	return err
}

// said looks for acknowledgements: the tagged OK of an IMAP command, or the reply to
// a message after 354.
func (r *replayer) said(fd int, text string) {
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(line, "354 "):
			r.data[fd] = true
		case strings.HasPrefix(line, "250 ") && r.data[fd], taggedOK(line):
			delete(r.data, fd)
			r.acks++
			clear(r.seen)
		}
	}
}

// told returns what the client knew at some time so far.
func (r *replayer) told() (all []told) {
	for _, c := range r.rec.told {
		if c.acks <= r.acks {
			all = append(all, c)
		}
	}
	return all
}

func taggedOK(line string) bool {
	tag, rest, ok := strings.Cut(line, " ")
	return ok && strings.HasPrefix(tag, "t") && strings.HasPrefix(rest, "OK ")
}

// look opens what is left, as the program would after the restart.
func (r *replayer) look(l left, loose bool) error {
	before := r.rec.worlds[r.acks]
	after := before
	if r.acks+1 < len(r.rec.worlds) {
		after = r.rec.worlds[r.acks+1]
	}
	root := filepath.Join(r.scratch, "left")
	defer os.RemoveAll(root)
	if err := errors.Join(l.write(l.find("mail", "example.org"), root), restarted(root)); err != nil {
		return err
	}
	var users []string
	for _, a := range accounts {
		user, _, _ := strings.Cut(a.Address, "@")
		if l.find("mail", "example.org", user) != nil {
			users = append(users, user)
		}
	}
	err := checkLeft(root, users, before, loose)
	if err == nil {
		var f *found
		if f, err = openWorld(root, users, r.rec.texts, r.told()); err == nil {
			err = f.compare(before, after)
		}
	}
	if err == nil {
		return nil
	}
	done, next := "the start", "nothing"
	if r.acks > 0 {
		done = r.rec.what[r.acks-1]
	}
	if r.acks < len(r.rec.what) {
		next = r.rec.what[r.acks]
	}
	r.t.Errorf("power cut after %s, during %s:\n%v\nleft:\n%s", done, next, err, listing(root))
	if r.failed++; r.failed >= 5 {
		return errors.New("too many failures")
	}
	return nil
}

// checkLeft runs the check of Maildirs. A mailbox whose creation was not acknowledged
// may be incomplete. Where the file system may leave both names of a renamed file, the
// check may report that.
func checkLeft(root string, users []string, before *world, loose bool) error {
	var wrong []string
	for _, user := range users {
		_, err := check.Run(context.Background(), check.Options{
			Root: filepath.Join(root, user), Folder: folder.Options{Layout: folder.LayoutMaildirPP, Separator: '/'},
			Locker: dotlock.NewLocker("torture.test"), Delivery: &delivery.Options{Host: "torture.test", PID: os.Getpid()},
			Tell: func(f check.Finding) {
				name := strings.TrimPrefix(f.Folder, ".")
				_, made := before.mail[place{user, name}]
				incomplete := strings.Contains(f.Cause, "the directory is missing") || strings.Contains(f.Cause, "not a Maildir yet")
				if !made && incomplete || loose && strings.Contains(f.Cause, "the same message also exists as") {
					return
				}
				wrong = append(wrong, "check: "+user+": "+f.String())
			},
		})
		if _, made := before.mail[place{user, "INBOX"}]; errors.Is(err, check.ErrNoMaildir) && !made {
			continue
		}
		if err != nil {
			return err
		}
	}
	if len(wrong) > 0 {
		return errors.New(strings.Join(wrong, "\n"))
	}
	return nil
}

func listing(root string) string {
	var lines []string
	_ = filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			text, _ := os.ReadFile(path)
			lines = append(lines, fmt.Sprintf("%s %d octets", strings.TrimPrefix(path, root), len(text)))
			if strings.HasSuffix(path, "dovecot-uidlist") {
				lines = append(lines, string(text))
			}
		}
		return nil
	})
	return strings.Join(lines, "\n")
}

// driver is the client, and records what it was told.
type driver struct {
	t     *testing.T
	m     *rig.Maildird
	rec   *recording
	world *world
	c     *coexist.Client
	n     int

	selected place
	modseq   uint64 // up to which the client knows the selected mailbox
}

// ack records that something was acknowledged.
func (d *driver) ack(what string) {
	d.rec.what = append(d.rec.what, what)
	d.rec.worlds = append(d.rec.worlds, d.world.clone())
}

var (
	inbox   = place{"alice", "INBOX"}
	archive = place{"alice", "Archive"}
)

func (d *driver) text(size int) (id, text string) {
	d.n++
	id = fmt.Sprintf("m%02d@torture.test", d.n)
	text = mailText(id, size)
	d.rec.texts[id] = text
	return id, text
}

func (d *driver) put(p place, id string, l letter) {
	if d.world.mail[p] == nil {
		d.world.mail[p] = map[string]letter{}
	}
	d.world.mail[p][id] = l
}

// deliver sends a message to some users.
func (d *driver) deliver(size int, lmtp bool, users ...string) string {
	d.t.Helper()
	service := "smtp"
	if lmtp {
		service = "lmtp"
	}
	s, err := dialSender(d.m, service)
	must(d.t, err)
	defer s.Close()
	id, text := d.text(size)
	var to []string
	for _, u := range users {
		to = append(to, u+"@example.org")
		d.put(place{u, "INBOX"}, id, letter{})
	}
	if d.world.subscribed == "" {
		d.world.subscribed = "Archive Drafts INBOX Junk Sent Trash"
	}
	must(d.t, errors.Join(s.Deliver(from, text, to...)...))
	d.ack(service + " of " + id)
	return id
}

// do runs an IMAP command. change records its effect in the world.
func (d *driver) do(change func(tagged string, responses []coexist.Response), format string, args ...any) {
	d.t.Helper()
	command := fmt.Sprintf(format, args...)
	tagged, responses, err := d.c.Tagged("%s", command)
	must(d.t, err)
	if change != nil {
		change(tagged, responses)
	}
	d.ack(strings.SplitN(command, "\r\n", 2)[0])
	d.hear(tagged, responses)
}

// learn tells the client the UIDs of a mailbox; they count from here on.
func (d *driver) learn(p place) {
	d.t.Helper()
	d.do(func(_ string, responses []coexist.Response) {
		for _, r := range responses {
			if r.Name != "FETCH" {
				continue
			}
			var uid uint32
			var flags []string
			id := ""
			for i := 0; i+1 < len(r.Args[0].List); i += 2 {
				value := r.Args[0].List[i+1]
				switch key := r.Args[0].List[i].Text; {
				case key == "UID":
					_, err := fmt.Sscan(value.Text, &uid)
					must(d.t, err)
				case key == "MODSEQ":
				case key == "FLAGS":
					flags = slices.DeleteFunc(value.Words(), func(w string) bool { return w == `\Recent` })
					slices.Sort(flags)
				default:
					id = coexist.MessageID(value.Text)
				}
			}
			if l, ok := d.world.mail[p][id]; !ok || l.flags != strings.Join(flags, " ") {
				d.t.Fatalf("%q with %v in %v, known is %v", id, flags, p, l)
			}
			d.put(p, id, letter{strings.Join(flags, " "), uid})
		}
	}, "UID FETCH 1:* (UID FLAGS BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")
}

func (d *driver) sel(p place) {
	d.t.Helper()
	d.selected, d.modseq = p, 0
	d.do(func(_ string, responses []coexist.Response) {
		for _, r := range responses {
			var n uint32
			if _, rest, ok := strings.Cut(r.Text, "[UIDVALIDITY "); ok {
				_, err := fmt.Sscan(strings.Trim(strings.SplitN(rest, "]", 2)[0], " "), &n)
				must(d.t, err)
				d.world.validity[p] = n
			}
		}
	}, "SELECT %s", p.folder)
}

// flag stores flags, which replace those of the message.
func (d *driver) flag(p place, flags string, ids ...string) {
	d.t.Helper()
	d.do(func(string, []coexist.Response) {
		for _, id := range ids {
			words := strings.Fields(flags)
			slices.Sort(words)
			d.put(p, id, letter{strings.Join(words, " "), d.world.mail[p][id].uid})
		}
	}, "UID STORE %s FLAGS (%s)", d.uids(p, ids), flags)
}

func (d *driver) uids(p place, ids []string) string {
	var words []string
	for _, id := range ids {
		uid := d.world.mail[p][id].uid
		if uid == 0 {
			d.t.Fatalf("the client does not know the UID of %s", id)
		}
		words = append(words, fmt.Sprint(uid))
	}
	return strings.Join(words, ",")
}

func (d *driver) transfer(verb string, from, to place, ids ...string) {
	d.t.Helper()
	d.do(func(string, []coexist.Response) {
		for _, id := range ids {
			d.put(to, id, letter{flags: d.world.mail[from][id].flags})
			if verb == "MOVE" {
				delete(d.world.mail[from], id)
			}
		}
	}, "UID %s %s %s", verb, d.uids(from, ids), to.folder)
}

func (d *driver) append(p place, size int, flags string) string {
	d.t.Helper()
	id, text := d.text(size)
	text = strings.ReplaceAll(text, "\n", "\r\n")
	d.do(func(string, []coexist.Response) { d.put(p, id, letter{flags: flags}) }, "APPEND %s (%s) {%d+}\r\n%s", p.folder, flags, len(text), text)
	return id
}

func (d *driver) expunge(p place, ids ...string) {
	d.t.Helper()
	d.do(func(string, []coexist.Response) {
		for _, id := range ids {
			delete(d.world.mail[p], id)
		}
	}, "EXPUNGE")
}

// run does everything once. Some operations follow each other closely, in an
// order that invites mistakes.
func (d *driver) run() {
	t := d.t
	m1 := d.deliver(0, false, "alice") // creates her Maildir
	for _, p := range []string{"Archive", "Drafts", "Junk", "Sent", "Trash"} {
		d.put(place{"alice", p}, "", letter{})
		delete(d.world.mail[place{"alice", p}], "")
	}
	d.rec.worlds[len(d.rec.worlds)-1] = d.world.clone()
	m2 := d.deliver(30_000, true, "alice")
	d.deliver(80_000, false, "alice", "bob")
	var err error
	d.c, err = coexist.Dial("maildird", d.m.Address("imap"), "alice@example.org", "secret")
	must(t, err)
	defer d.c.Close()
	d.ack("LOGIN")
	d.do(nil, "ENABLE QRESYNC")
	d.sel(inbox) // moves the new mail to cur/
	d.learn(inbox)
	d.do(nil, "UID FETCH 1:* SAVEDATE") // puts the history on disk
	d.flag(inbox, `\Flagged`, m1)
	d.flag(inbox, `\Flagged urgent`, m1)
	m4 := d.deliver(0, false, "alice")
	d.do(nil, "NOOP")
	d.learn(inbox)
	d.flag(inbox, `\Seen urgent later`, m4, m2)
	m5 := d.append(inbox, 0, `\Draft`)
	d.append(archive, 60_000, "")
	d.append(archive, 0, `\Seen new-keyword`)
	work := place{"alice", "Work"}
	d.do(func(string, []coexist.Response) { d.world.mail[work] = map[string]letter{} }, "CREATE Work")
	d.transfer("COPY", inbox, work, m1, m4)
	d.transfer("MOVE", inbox, archive, m2)
	d.learn(inbox)
	d.flag(inbox, "", m1)
	d.flag(inbox, `\Deleted`, m1, m5)
	d.expunge(inbox, m1, m5)
	m6 := d.deliver(0, true, "alice")
	d.do(nil, "NOOP")
	d.learn(inbox)
	d.transfer("MOVE", inbox, work, m6) // which was in new/ a moment ago
	m7 := d.deliver(0, true, "alice", "bob")
	d.do(nil, "NOOP")
	d.learn(inbox)
	d.flag(inbox, `\Deleted`, m7)
	d.expunge(inbox, m7)
	kept := place{"alice", "Kept"}
	d.do(func(string, []coexist.Response) {
		d.world.mail[kept] = d.world.mail[work]
		delete(d.world.mail, work)
	}, "RENAME Work Kept")
	d.do(func(string, []coexist.Response) { d.world.subscribed = "Archive Drafts INBOX Junk Kept Sent Trash" }, "SUBSCRIBE Kept")
	d.sel(archive)
	d.learn(archive)
	d.transfer("MOVE", archive, kept, m2)
	d.do(func(string, []coexist.Response) { d.world.mail[place{"alice", "Old"}] = map[string]letter{} }, "CREATE Old (USE (\\Archive))")
	d.do(func(string, []coexist.Response) { delete(d.world.mail, place{"alice", "Old"}) }, "DELETE Old")
	d.sel(kept)
	d.learn(kept)
	d.flag(kept, `\Deleted`, m4)
	d.expunge(kept, m4)
	d.selected, d.modseq = place{}, 0
	d.do(nil, "UNSELECT")
}
