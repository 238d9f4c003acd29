package torture

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"maildird/scripts/coexist"
	"maildird/scripts/rig"
)

// swapRounds is the number of times that each client goes through its commands, and swaps the
// minimum number of swaps meanwhile: on a fast machine, there are more rounds.
const swapRounds, swaps = 10, 10

// TestSwappedDirectories: while mail arrives by LMTP and APPEND and clients read, flag and
// copy, the owner of the Maildir keeps moving its directories away and back, and replaces them
// by links to a directory of another user, empty directories, files and FIFOs. Nothing outside
// may be read or changed, everything that was acknowledged must be in a directory that the
// owner had put there, and the program must work when he is done.
func TestSwappedDirectories(t *testing.T) {
	m := startHostile(t)
	h := newHostileMaildir(t, m)
	watch := watchCanary(t, h)
	s := &swapper{hostileMaildir: h, rng: rand.New(rand.NewPCG(1, 2)), decoys: filepath.Join(m.Dir, "decoys")}
	must(t, os.Mkdir(s.decoys, 0o777))

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var swapping, clients sync.WaitGroup
	swapping.Go(func() { s.run(ctx) })
	acknowledged := &acks{}
	for i := range 2 {
		clients.Go(func() { deliverSwapped(t, m, i, acknowledged, s) })
		clients.Go(func() { useSwapped(t, m, i, acknowledged) })
	}
	clients.Wait()
	cancel()
	swapping.Wait()
	watch()

	there := acknowledged.missing(t, h.home, s.decoys)
	t.Logf("%d swaps, %d messages acknowledged, %d refused", s.swaps.Load(), acknowledged.n, acknowledged.refused)
	for _, id := range there {
		t.Errorf("%s was acknowledged and is nowhere", id)
	}
	if acknowledged.n == 0 || s.swaps.Load() < swaps {
		t.Error("nothing was tried")
	}
	if log := m.Log(); strings.Contains(log, "panic") {
		t.Errorf("a panic:\n%s", log)
	}
	useHostile(t, m)
}

// swapper is the owner of a Maildir while he replaces its directories.
type swapper struct {
	*hostileMaildir
	rng    *rand.Rand
	decoys string // where the replacements of directories are moved afterwards
	swaps  atomic.Int64
}

func (s *swapper) run(ctx context.Context) {
	names := []string{"cur", "new", "tmp", ".Box", ".Box/cur", ".Box/new", ".Box/tmp"}
	for ctx.Err() == nil {
		s.swap(names[s.rng.IntN(len(names))])
		time.Sleep(time.Duration(s.rng.IntN(10)) * time.Millisecond)
	}
}

// swap replaces a directory by something else for a moment.
func (s *swapper) swap(name string) {
	n := s.swaps.Add(1)
	place, away := s.in(name), filepath.Join(s.decoys, "away")
	s.must(os.Rename(place, away))
	// Files that others created in the meantime may prevent this. Then it fails,
	// which does no harm.
	switch s.rng.IntN(5) {
	case 0, 1:
		_ = os.Symlink(s.out(strings.TrimPrefix(filepath.Base(name), ".Box")), place)
	case 2:
		for _, dir := range []string{"", "cur", "new", "tmp"} {
			if dir == "" || strings.HasPrefix(filepath.Base(name), ".") {
				path := filepath.Join(place, dir)
				if os.Mkdir(path, 0o700) == nil {
					id := rig.Self()
					_ = os.Lchown(path, id.UID, id.GID)
				}
			}
		}
	case 3:
		_ = os.WriteFile(place, []byte("x"), 0o600)
	case 4:
		_ = unix.Mkfifo(place, 0o666)
	}
	time.Sleep(time.Duration(s.rng.IntN(4)) * time.Millisecond)
	for try := 0; ; try++ {
		err := os.Rename(place, filepath.Join(s.decoys, fmt.Sprintf("%d.%d.%s", n, try, filepath.Base(name))))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.t.Error(err)
			return
		}
		if err = unix.Renameat2(unix.AT_FDCWD, away, unix.AT_FDCWD, place, unix.RENAME_NOREPLACE); err == nil {
			return
		}
		if try == 1000 {
			s.t.Errorf("cannot put %s back: %v", name, err)
			return
		}
	}
}

// acks is what clients were told.
type acks struct {
	mu      sync.Mutex
	ids     []string
	n       int
	refused int
}

func (a *acks) add(id string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.refused++
		return
	}
	a.n++
	a.ids = append(a.ids, id)
}

// missing looks for all messages in the directories with mail below roots, and returns those
// that are in none. Sessions of disconnected clients may still be moving files, so it looks
// again for messages that are missing.
func (a *acks) missing(t *testing.T, roots ...string) (out []string) {
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		found := map[string]bool{}
		for _, root := range roots {
			must(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
				if err != nil || !d.Type().IsRegular() || strings.HasSuffix(filepath.Dir(path), "tmp") {
					return passOver(err)
				}
				text, err := os.ReadFile(path)
				if strings.Contains(string(text), "The end of ") {
					found[coexist.MessageID(string(text))] = true
				}
				return passOver(err)
			}))
		}
		out = out[:0]
		for _, id := range a.ids {
			if !found[id] {
				out = append(out, id)
			}
		}
		if len(out) == 0 || time.Now().After(deadline) {
			return out
		}
	}
}

// passOver ignores errors about missing files.
func passOver(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// deliverSwapped delivers mail by LMTP until the swapper has done enough.
func deliverSwapped(t *testing.T, m *rig.Maildird, who int, a *acks, by *swapper) {
	s, err := dialSender(m, "lmtp")
	if err != nil {
		t.Error(err)
		return
	}
	defer s.Close()
	for i := 0; i < 4*swapRounds || by.swaps.Load() < swaps; i++ {
		if t.Failed() {
			return
		}
		id := fmt.Sprintf("lmtp.%d.%d@swap", who, i)
		err := s.Deliver(from, mailText(id, 500), "user@example.org")[0]
		if err != nil && !strings.HasPrefix(err.Error(), "4") {
			t.Errorf("delivery: %v", err)
			return
		}
		a.add(id, err)
		_ = s.Command(250, "RSET")
	}
}

// useSwapped does what a client does. Mailboxes may disappear at any moment, and
// the connection with them.
func useSwapped(t *testing.T, m *rig.Maildird, who int, a *acks) {
	var c *coexist.Client
	defer func() {
		if c != nil {
			c.Close()
		}
	}()
	for i := range swapRounds {
		id := fmt.Sprintf("append.%d.%d@swap", who, i)
		text := strings.ReplaceAll(mailText(id, 500), "\n", "\r\n")
		for _, command := range []string{
			"SELECT INBOX", fmt.Sprintf("APPEND INBOX {%d+}\r\n%s", len(text), text), "FETCH 1:* (FLAGS RFC822.SIZE BODY.PEEK[])", "STORE 1:* +FLAGS (\\Flagged key)",
			"COPY 1 Box", "STATUS Box (MESSAGES SIZE)", "SELECT Box", "FETCH 1:* BODY[]", "SEARCH TEXT secret", `LIST "" *`,
		} {
			if c == nil {
				var err error
				if c, err = coexist.Dial("maildird", m.Address("imap"), "user@example.org", "secret"); err != nil {
					c = nil
					continue // refused while the Maildir is invalid
				}
			}
			_, responses, err := c.Tagged("%s", command)
			for _, r := range responses {
				if strings.Contains(r.Text, "the secret") {
					t.Errorf("%.20s shows %q", command, r.Text)
				}
			}
			var refused *coexist.RefusedError
			if errors.As(err, &refused) && strings.Contains(refused.Answer, "SERVERBUG") {
				t.Errorf("%.20s: %s", command, refused.Answer)
			}
			if strings.HasPrefix(command, "APPEND") {
				a.add(id, err)
			}
			if err != nil && refused == nil {
				c.Close()
				c = nil
			}
		}
	}
}
