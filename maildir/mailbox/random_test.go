package mailbox

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"

	"maildird/maildir/filename"
)

// TestRandom lets two processes with two sessions each, and a program that takes no locks,
// change one folder, one step at a time, and compares after each round: every session knows
// exactly the files that are there, under UIDs that nobody ever had for another file.
func TestRandom(t *testing.T) {
	seeded(t, 8, func(t *testing.T, seed uint64, one, two *Env) {
		w := newWorld(t, seed, one, two)
		defer w.close()
		for range 60 {
			for range 1 + w.rng.IntN(6) {
				w.step()
			}
			w.compare()
		}
	})
}

// seeded runs a random test of two processes with several seeds, with events and without.
func seeded(t *testing.T, seeds uint64, run func(t *testing.T, seed uint64, one, two *Env)) {
	for name, env := range map[string]func(testing.TB) *Env{"watched": newEnv, "polled": unwatched} {
		for seed := range seeds {
			t.Run(fmt.Sprintf("%s/seed=%d", name, seed), func(t *testing.T) { run(t, seed, env(t), env(t)) })
		}
	}
}

type world struct {
	t       *testing.T
	rng     *rand.Rand
	b       *box
	boxes   []*Mailbox
	clients []*client
	uids    map[uint32]string // every UID ever seen, and the base it stood for
}

func newWorld(t *testing.T, seed uint64, envs ...*Env) *world {
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 99)), b: newBox(t), uids: map[uint32]string{}}
	for range 10 {
		w.b.drop([]string{"new/", "cur/"}[w.rng.IntN(2)])
	}
	for _, env := range envs {
		m := w.b.open(env)
		if seed%2 == 1 { // as if each command were about many messages
			m.watch.muteFrom, m.shortList = 1, 0
		}
		w.boxes = append(w.boxes, m)
		w.clients = append(w.clients, connect(t, m, false), connect(t, m, false))
	}
	return w
}

func (w *world) close() {
	for _, c := range w.clients {
		c.v.Close()
	}
	for _, m := range w.boxes {
		m.Close()
	}
}

// anyFile returns some file, "" if there is none.
func (w *world) anyFile() string {
	var all []string
	for f := range w.b.files() {
		all = append(all, f)
	}
	slices.Sort(all)
	if len(all) == 0 {
		return ""
	}
	return all[w.rng.IntN(len(all))]
}

func (w *world) flags() filename.Flags {
	return filename.Flags(w.rng.Uint32()) & (filename.Seen | filename.Flagged | filename.Deleted | filename.Answered)
}

// step does one thing as one of the programs.
func (w *world) step() {
	if w.rng.IntN(2) == 0 {
		w.stranger()
		return
	}
	c := w.clients[w.rng.IntN(len(w.clients))]
	var uids []uint32
	for _, uid := range c.uids {
		if w.rng.IntN(3) == 0 {
			uids = append(uids, uid)
		}
	}
	var err error
	switch w.rng.IntN(6) {
	case 0, 1:
		var words []string
		if w.rng.IntN(3) == 0 {
			words = []string{fmt.Sprint("word", w.rng.IntN(5))}
		}
		_, err = c.v.Store(ctx, uids, Op(w.rng.IntN(3)), w.flags(), words)
	case 2:
		_, err = c.v.Expunge(ctx, uids)
	case 3:
		in, nerr := c.v.m.NewIncoming(AppendOptions{Flags: w.flags()})
		must(w.t, nerr)
		_, _ = io.WriteString(in, "Subject: appended\r\n\r\n")
		_, _, err = c.v.m.Append(ctx, Taken{}, in)
	case 4:
		_, err = c.v.Copy(ctx, uids[:min(len(uids), 3)], w.boxes[w.rng.IntN(len(w.boxes))])
	case 5:
		c.poll(w.rng.IntN(2) == 0)
	}
	if err != nil && !errors.Is(err, ErrGone) {
		w.t.Fatal(err)
	}
}

// stranger changes files as mutt, cp and rm do.
func (w *world) stranger() {
	f := w.anyFile()
	switch w.rng.IntN(5) {
	case 0:
		w.b.drop("new/")
	case 1:
		w.b.drop("cur/")
	case 2:
		if f != "" {
			to := "cur/" + filename.WithFlags(path.Base(f), w.flags())
			if !w.b.files()[to] {
				w.b.rename(f, to)
			}
		}
	case 3:
		if f != "" {
			w.b.remove(f)
		}
	case 4: // link and unlink instead of rename
		if f != "" {
			to := "cur/" + filename.WithFlags(path.Base(f), w.flags())
			if !w.b.files()[to] {
				must(w.t, os.Link(w.b.file(f), w.b.file(to)))
				w.b.remove(f)
			}
		}
	}
}

// compare brings all sessions up to date and compares them with the files.
func (w *world) compare() {
	w.t.Helper()
	// Twice: what one process moves to cur/ is a change to the other.
	for range 2 {
		for _, c := range w.clients {
			c.poll(true)
		}
	}
	var want []string
	for f := range w.b.files() {
		want = append(want, f)
	}
	slices.Sort(want)
	var first []string
	for i, c := range w.clients {
		var have, said []string
		for _, msg := range c.all() {
			e, err := c.v.m.location(msg)
			must(w.t, err)
			have = append(have, []string{"new/", "cur/"}[e.where]+e.name)
			base := filename.Base(e.name)
			if old, ok := w.uids[msg.UID]; ok && old != base {
				w.t.Fatalf("UID %d was %s and is %s", msg.UID, old, base)
			}
			w.uids[msg.UID] = base
			said = append(said, fmt.Sprintf("%d %s %b", msg.UID, base, msg.Flags))
		}
		slices.Sort(have)
		if !slices.Equal(have, want) {
			w.t.Fatalf("session %d has\n  %s\nthe files are\n  %s", i, strings.Join(have, "\n  "), strings.Join(want, "\n  "))
		}
		if first == nil {
			first = said
		} else if !slices.Equal(first, said) {
			w.t.Fatalf("session %d says\n  %s\nthe first says\n  %s", i, strings.Join(said, "\n  "), strings.Join(first, "\n  "))
		}
	}
}

// TestConcurrent does the same from several goroutines at once; the race detector watches,
// and at the end everybody must agree.
func TestConcurrent(t *testing.T) {
	w := newWorld(t, 7, newEnv(t), newEnv(t))
	defer w.close()
	var wg sync.WaitGroup
	for i, c := range w.clients {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 5))
			for range 60 {
				must(t, c.v.Poll(ctx))
				c.v.Updates(0, func(Update) {})
				var uids []uint32
				for msg := range c.v.Messages([]Range{{1, ^uint32(0)}}, true) {
					if rng.IntN(4) == 0 {
						uids = append(uids, msg.UID)
					}
				}
				var err error
				switch rng.IntN(4) {
				case 0:
					_, err = c.v.Store(ctx, uids, Op(rng.IntN(3)), filename.Flags(rng.Uint32())&(filename.Seen|filename.Deleted), nil)
				case 1:
					_, err = c.v.Expunge(ctx, uids)
				case 2:
					var in *Incoming
					if in, err = c.v.m.NewIncoming(AppendOptions{}); err == nil {
						_, _ = io.WriteString(in, "Subject: x\r\n\r\n")
						_, _, err = c.v.m.Append(ctx, Taken{}, in)
					}
				case 3:
					_, err = c.v.Copy(ctx, uids[:min(len(uids), 2)], c.v.m)
				}
				if err != nil && !errors.Is(err, ErrGone) {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Go(func() {
		for i := range 150 {
			os.Rename(w.b.file("new/none"), w.b.file("cur/none")) //nolint:errcheck // a failed call is one of the things that happen
			rel := fmt.Sprintf("19%08d.M1P1.dropped", i)
			must(t, os.WriteFile(w.b.file("tmp/"+rel), []byte("Subject: y\n\n"), 0o600))
			must(t, os.Rename(w.b.file("tmp/"+rel), w.b.file("new/"+rel)))
		}
	})
	wg.Wait()
	last := 0
	for i, line := range strings.Split(strings.TrimSuffix(w.b.read(uidlistName), "\n"), "\n")[1:] {
		var uid int
		if _, err := fmt.Sscan(line, &uid); err != nil || uid <= last {
			t.Fatalf("record %d of the list is %q after UID %d", i, line, last)
		}
		last = uid
	}
	for _, c := range w.clients {
		c.v.Updates(0, func(Update) {})
		c.uids = c.list()
	}
	w.compare()
}
