package torture

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"maildird/maildir/delivery"
	"maildird/maildir/dirfd"
	"maildird/scripts/coexist"
	"maildird/scripts/rig"
)

var flagRounds = flag.Int("rounds", 50, "how often TestKill kills the program")

var killFolders = []string{"INBOX", "Archive", "Junk"}

// TestKill kills the program with SIGKILL at random moments while eight clients
// write, restarts it, and compares the mail that it shows and the files on disk with
// what the clients were told.
func TestKill(t *testing.T) {
	seed := seedOf(t)
	k := &killer{t: t, m: newMaildird(t), l: newLedger(), left: map[string]bool{}}
	k.home = k.m.Home("alice@example.org")
	must(t, k.m.Start(context.Background()))
	must(t, k.provision())
	began := time.Now()
	// On a slow machine, more rounds are needed until something of each kind was done.
	round := 0
	for ; round < *flagRounds || k.lacks() != "" && round < 10**flagRounds; round++ {
		rng := rand.New(rand.NewPCG(seed, uint64(round)))
		k.round(rng)
		if t.Failed() {
			t.Fatalf("in round %d of -seed %d", round, seed)
		}
	}
	t.Logf("%d rounds in %s; acknowledged %v; cut off %v; left in tmp/ %d", round, time.Since(began).Round(time.Second), k.l.done, k.l.cut, len(k.left))
	if what := k.lacks(); what != "" {
		t.Errorf("only %d of %q were acknowledged", k.l.done[what], what)
	}
	k.leftovers()
}

// lacks returns an operation that was acknowledged too seldom to prove anything, ""
// if there is none.
func (k *killer) lacks() string {
	for _, what := range []string{"smtp", "lmtp", "append", "store", "copy", "move", "expunge"} {
		if k.l.done[what] < *flagRounds/5 {
			return what
		}
	}
	return ""
}

type killer struct {
	t    *testing.T
	m    *rig.Maildird
	l    *ledger
	home string
	left map[string]bool // files in tmp/ that no running program uses
}

func (k *killer) imap() (*coexist.Client, error) {
	return coexist.Dial("maildird", k.m.Address("imap"), "alice@example.org", "secret")
}

// provision creates the Maildir.
func (k *killer) provision() error {
	c, err := k.imap()
	if err == nil {
		c.Close()
	}
	return err
}

// writers are the eight clients. Each runs until an error occurs.
var writers = []struct {
	name string
	run  func(*killer, *rand.Rand) error
}{
	{"smtp", func(k *killer, rng *rand.Rand) error { return k.send(rng, "smtp") }},
	{"lmtp", func(k *killer, rng *rand.Rand) error { return k.send(rng, "lmtp") }},
	{"append", (*killer).append},
	{"append 2", (*killer).append},
	{"store", func(k *killer, rng *rand.Rand) error { return k.work(rng, k.store) }},
	{"copy", func(k *killer, rng *rand.Rand) error { return k.work(rng, k.copy) }},
	{"move", func(k *killer, rng *rand.Rand) error { return k.work(rng, k.move) }},
	{"expunge", func(k *killer, rng *rand.Rand) error { return k.work(rng, k.expunge) }},
}

func (k *killer) round(rng *rand.Rand) {
	var running sync.WaitGroup
	for i, w := range writers {
		own := rand.New(rand.NewPCG(rng.Uint64(), uint64(i)))
		running.Go(func() {
			err := w.run(k, own)
			var refused *coexist.RefusedError
			if errors.As(err, &refused) {
				k.t.Errorf("%s: %v", w.name, err)
			}
		})
	}
	// Logins take about as long as the work does.
	time.Sleep(time.Duration(50+rng.IntN(400)) * time.Millisecond)
	_ = k.m.Kill()
	running.Wait()
	must(k.t, k.onDisk())
	must(k.t, k.m.Start(context.Background()))
	k.compare()
}

// compare compares everything that the program shows.
func (k *killer) compare() {
	c, err := k.imap()
	must(k.t, err)
	defer c.Close()
	for _, folder := range killFolders {
		responses, err := c.Do("SELECT %s", folder)
		must(k.t, err)
		validity := ""
		for _, r := range responses {
			if _, rest, ok := strings.Cut(r.Text, "[UIDVALIDITY "); ok {
				validity, _, _ = strings.Cut(rest, "]")
			}
		}
		responses, err = c.Do("UID FETCH 1:* (UID FLAGS BODY.PEEK[])")
		must(k.t, err)
		for _, wrong := range k.l.compare(folder, validity, messages(responses)) {
			k.t.Error(wrong)
		}
		if k.t.Failed() {
			k.t.Log(listing(k.home))
		}
	}
	for _, wrong := range k.l.settle() {
		k.t.Error(wrong)
	}
}

func messages(responses []coexist.Response) (all []seen) {
	for _, r := range responses {
		if r.Name != "FETCH" || len(r.Args) != 1 {
			continue
		}
		var s seen
		items := r.Args[0].List
		for i := 0; i+1 < len(items); i += 2 {
			switch value := items[i+1]; items[i].Text {
			case "UID":
				_, _ = fmt.Sscan(value.Text, &s.uid)
			case "FLAGS":
				words := slices.DeleteFunc(value.Words(), func(w string) bool { return w == `\Recent` })
				slices.Sort(words)
				s.flags = strings.Join(words, " ")
			case "BODY[]":
				s.text = value.Text
			}
		}
		all = append(all, s)
	}
	return all
}

// onDisk checks the files while no program runs: none in new/ and cur/ may be partial, and none
// in tmp/ that an earlier program left behind may have disappeared.
func (k *killer) onDisk() error {
	now := map[string]bool{}
	err := filepath.WalkDir(k.home, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		switch filepath.Base(filepath.Dir(path)) {
		case "tmp":
			now[path] = true
		case "new", "cur":
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if sent, ok := k.l.texts[coexist.MessageID(string(text))]; !ok || !strings.HasSuffix(string(text), sent) {
				return fmt.Errorf("%s is partial: %d octets, %.200q", path, len(text), text)
			}
		}
		return nil
	})
	for path := range k.left {
		if !now[path] {
			err = errors.Join(err, fmt.Errorf("%s was removed before 36 hours", path))
		}
	}
	k.left = now
	return err
}

// leftovers simulates that 36 hours pass.
func (k *killer) leftovers() {
	for _, folder := range killFolders {
		dir := k.home
		if folder != "INBOX" {
			dir = filepath.Join(k.home, "."+folder)
		}
		tmp, err := dirfd.Open(filepath.Join(dir, "tmp"))
		must(k.t, err)
		defer tmp.Close()
		if n, err := delivery.CleanTemp(tmp, time.Now().Add(35*time.Hour)); n > 0 || err != nil {
			k.t.Errorf("%s: %d files are removed after 35 hours, %v", folder, n, err)
		}
		if _, err := delivery.CleanTemp(tmp, time.Now().Add(37*time.Hour)); err != nil {
			k.t.Error(err)
		}
		if names, err := os.ReadDir(filepath.Join(dir, "tmp")); err != nil || len(names) > 0 {
			k.t.Errorf("%s: after 37 hours there is %v, %v", folder, names, err)
		}
	}
}

// send delivers a message to INBOX.
func (k *killer) send(rng *rand.Rand, service string) error {
	s, err := dialSender(k.m, service)
	if err != nil {
		return err
	}
	defer s.Close()
	for {
		if k.l.crowded(100) {
			if err := s.Command(250, "NOOP"); err != nil {
				return err
			}
			time.Sleep(time.Millisecond)
			continue
		}
		it, text := k.l.invent(rng, "INBOX")
		if err := errors.Join(s.Deliver(from, text, "alice@example.org")...); err != nil {
			k.l.unanswered(service)
			return err
		}
		k.l.arrived(service, it, 0)
	}
}

func (k *killer) append(rng *rand.Rand) error {
	c, err := k.imap()
	if err != nil {
		return err
	}
	defer c.Close()
	for {
		if k.l.crowded(100) {
			if _, err := c.Do("NOOP"); err != nil {
				return err
			}
			time.Sleep(time.Millisecond)
			continue
		}
		folder := killFolders[rng.IntN(len(killFolders))]
		it, text := k.l.invent(rng, folder)
		flags := someFlags(rng)
		k.l.change(func() { it.flags = flags })
		text = strings.ReplaceAll(text, "\n", "\r\n")
		tagged, _, err := c.Tagged("APPEND %s (%s) {%d+}\r\n%s", folder, flags, len(text), text)
		if err != nil {
			k.l.unanswered("append")
			return err
		}
		k.l.arrived("append", it, lastUID(tagged, "APPENDUID"))
	}
}

// work does something to messages, one folder after the other.
func (k *killer) work(rng *rand.Rand, do func(*rand.Rand, *coexist.Client, *item) error) error {
	c, err := k.imap()
	if err != nil {
		return err
	}
	defer c.Close()
	for {
		folder := killFolders[rng.IntN(len(killFolders))]
		if _, err := c.Do("SELECT %s", folder); err != nil {
			return err
		}
		for range 4 {
			it := k.l.claim(rng, folder)
			if it == nil {
				break
			}
			// A UID that was not reported to the session yet would be ignored.
			if _, err := c.Do("NOOP"); err != nil {
				return err
			}
			if err := do(rng, c, it); err != nil {
				return err
			}
		}
	}
}

func someFlags(rng *rand.Rand) string {
	var some []string
	for _, f := range []string{"$label1", `\Answered`, `\Flagged`, `\Seen`, "later"} {
		if rng.IntN(3) == 0 {
			some = append(some, f)
		}
	}
	slices.Sort(some)
	return strings.Join(some, " ")
}

func (k *killer) store(rng *rand.Rand, c *coexist.Client, it *item) error {
	flags := someFlags(rng)
	k.l.change(func() { it.other = flags })
	told, err := c.Do("UID STORE %d FLAGS (%s)", it.uid, flags)
	if err != nil {
		k.l.unanswered("store")
		return err
	}
	k.l.change(func() {
		it.other, it.busy = "-", false
		if toldOf(told, it.uid) {
			it.flags = flags
			k.l.done["store"]++
		}
	})
	return nil
}

// toldOf reports whether there was a FETCH response for the message: there is none for a
// message that the session did not know yet, but there may be some for changes by others.
func toldOf(responses []coexist.Response, uid uint32) bool {
	return slices.ContainsFunc(messages(responses), func(s seen) bool { return s.uid == uid })
}

func (k *killer) copy(rng *rand.Rand, c *coexist.Client, it *item) error {
	defer k.l.release(it)
	folder := killFolders[rng.IntN(len(killFolders))]
	to := k.l.target(it, folder)
	if to == nil || k.l.crowded(200) {
		if to != nil {
			k.l.left(to)
		}
		return nil
	}
	tagged, _, err := c.Tagged("UID COPY %d %s", it.uid, folder)
	if err != nil {
		k.l.unanswered("copy")
		return err
	}
	if uid := lastUID(tagged, "COPYUID"); uid != 0 {
		k.l.arrived("copy", to, uid)
	} else {
		k.l.left(to)
	}
	return nil
}

func (k *killer) move(rng *rand.Rand, c *coexist.Client, it *item) error {
	folder := killFolders[rng.IntN(len(killFolders))]
	to := k.l.target(it, folder)
	if to == nil {
		k.l.release(it)
		return nil
	}
	k.l.change(func() { it.unsure, it.twin, to.twin = true, to, it })
	tagged, untagged, err := c.Tagged("UID MOVE %d %s", it.uid, folder)
	if err != nil {
		k.l.unanswered("move")
		return err
	}
	for _, r := range untagged {
		tagged += r.Text
	}
	k.l.change(func() { it.unsure, it.twin, to.twin = false, nil, nil })
	if uid := lastUID(tagged, "COPYUID"); uid != 0 {
		k.l.left(it)
		k.l.arrived("move", to, uid)
	} else {
		k.l.left(to)
		k.l.release(it)
	}
	return nil
}

func (k *killer) expunge(_ *rand.Rand, c *coexist.Client, it *item) error {
	const deleted = `\Deleted`
	k.l.change(func() { it.other = deleted })
	told, err := c.Do("UID STORE %d FLAGS (%s)", it.uid, deleted)
	if err != nil {
		return err
	}
	k.l.change(func() { it.other = "-" })
	if !toldOf(told, it.uid) {
		k.l.release(it)
		return nil
	}
	k.l.change(func() { it.flags, it.unsure = deleted, true })
	if _, err := c.Do("UID EXPUNGE %d", it.uid); err != nil {
		k.l.unanswered("expunge")
		return err
	}
	k.l.left(it)
	k.l.change(func() { k.l.done["expunge"]++ })
	return nil
}

// lastUID returns the last number of APPENDUID or COPYUID, 0 if there is none.
func lastUID(text, code string) (uid uint32) {
	_, rest, _ := strings.Cut(text, "["+code+" ")
	rest, _, _ = strings.Cut(rest, "]")
	words := strings.Fields(rest)
	if len(words) > 0 {
		_, _ = fmt.Sscan(words[len(words)-1], &uid)
	}
	return uid
}
