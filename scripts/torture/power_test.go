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
	"strings"
	"testing"
	"time"

	"maildird/maildir/check"
	"maildird/maildir/delivery"
	"maildird/maildir/dotlock"
	"maildird/maildir/folder"
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

var (
	inbox   = place{"alice", "INBOX"}
	archive = place{"alice", "Archive"}
)
