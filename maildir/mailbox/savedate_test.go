package mailbox

import (
	"fmt"
	"io"
	"os"
	"path"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"maildird/maildir/filename"
	"maildird/maildir/history"
	"maildird/maildir/mailbox/table"
)

// nextSecond waits until save dates of now differ from earlier ones, including those that
// files get from the kernel's coarse clock.
func nextSecond() {
	now := time.Now()
	time.Sleep(now.Truncate(time.Second).Add(time.Second).Sub(now))
	for {
		var ts unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &ts); err != nil || ts.Nano()/1e9 > now.Unix() {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// dates returns the save dates of all messages of a view by UID.
func dates(t *testing.T, v *View) map[uint32]int64 {
	t.Helper()
	out := map[uint32]int64{}
	for msg := range v.Messages([]Range{{1, ^uint32(0)}}, true) {
		at, err := v.SaveDate(ctx, msg)
		must(t, err)
		out[msg.UID] = at.Unix()
	}
	return out
}

// ctime returns the change time of a message's file, whatever its flags.
func (b *box) ctime(base string) int64 {
	b.t.Helper()
	for f := range b.files() {
		if filename.Base(path.Base(f)) == base {
			var st syscall.Stat_t
			must(b.t, syscall.Stat(b.file(f), &st))
			return st.Ctim.Nano() / 1e9
		}
	}
	b.t.Fatalf("there is no %s", base)
	return 0
}

// view opens a view that is closed at the end of the test.
func view(t *testing.T, m *Mailbox) *View {
	t.Helper()
	v, err := m.NewView(ctx, false, nil)
	must(t, err)
	return v
}

// TestSaveDateOfOldMail: for mail that was there before, the change time of its file is
// used, from the first request on, for all processes and whatever happens to the file; and
// again if the history is lost.
func TestSaveDateOfOldMail(t *testing.T) {
	t.Parallel()
	b, env := newBox(t), newEnv(t)
	name := b.drop("cur/")
	base := filename.Base(path.Base(name))
	m, other := b.open(env), b.open(newEnv(t))
	v, w := view(t, m), view(t, other)
	for _, m := range []*Mailbox{m, other} {
		if len(m.dates.unwritten) > 0 || m.t.Row(0).Saved != 0 {
			t.Error("the first look at a folder looks at each file")
		}
	}
	want := b.ctime(base)
	if got := dates(t, v)[1]; got != want {
		t.Errorf("saved at %d, the file's change time is %d", got, want)
	}
	nextSecond()
	b.rename(name, "cur/"+base+":2,S") // changes the change time
	must(t, v.Poll(ctx))
	if b.ctime(base) == want {
		t.Fatal("the change time is the same: this test shows nothing")
	}
	late := b.open(newEnv(t))
	x := view(t, late)
	for who, v := range map[string]*View{"who asked before": v, "another process": w, "a new process": x} {
		if got := dates(t, v)[1]; got != want {
			t.Errorf("%s: saved at %d, was %d before", who, got, want)
		}
	}
	for _, end := range []func(){v.Close, w.Close, x.Close, m.Close, other.Close, late.Close} {
		end()
	}
	b.remove(history.Name)
	m = b.open(env)
	defer m.Close()
	v = view(t, m)
	defer v.Close()
	if got := dates(t, v)[1]; got != b.ctime(base) {
		t.Errorf("saved at %d after the history was lost, the change time is %d", got, b.ctime(base))
	}
}

// TestSaveDateBeforeOwnChange: what this process does to a file does not hide when it
// arrived, although nobody asked before.
func TestSaveDateBeforeOwnChange(t *testing.T) {
	t.Parallel()
	b, env := newBox(t), newEnv(t)
	want := map[uint32]int64{}
	for i, where := range []string{"cur/", "cur/", "new/"} { // stored to, copied, moved to cur/
		name := b.drop(where)
		want[uint32(i+1)] = b.ctime(filename.Base(path.Base(name)))
	}
	nextSecond()
	m := b.open(env)
	v := view(t, m)
	_, err := v.Store(ctx, []uint32{1}, Add, filename.Flagged, nil)
	must(t, err)
	before := time.Now().Add(-20 * time.Millisecond).Unix() // the clock of files is behind by a tick
	copies, err := v.Copy(ctx, []uint32{2}, m)
	must(t, err)
	v.Close()
	m.Close()
	m = b.open(env) // what was found is in the history
	defer m.Close()
	v = view(t, m)
	defer v.Close()
	got := dates(t, v)
	for uid, at := range want {
		if got[uid] != at {
			t.Errorf("UID %d: saved at %d, not %d", uid, got[uid], at)
		}
	}
	if at := got[copies.Dest[0]]; at < before || at > time.Now().Unix() {
		t.Errorf("the copy was saved at %d, not at %d or a moment later", at, before)
	}
}

// TestSaveDateOfNewMail: mail gets the time at which it arrived, however it arrives and
// however late somebody looks.
func TestSaveDateOfNewMail(t *testing.T) {
	for _, watched := range []bool{true, false} {
		t.Run(fmt.Sprintf("watched=%v", watched), func(t *testing.T) {
			t.Parallel()
			env := newEnv
			if !watched {
				env = unwatched
			}
			b := newBox(t)
			m := b.open(env(t))
			v := view(t, m)
			from := time.Now().Unix() - 1 // the clock of files is behind by a tick
			in, err := m.NewIncoming(AppendOptions{Date: time.Unix(1_000_000_000, 0)})
			must(t, err)
			_, _ = io.WriteString(in, "Subject: appended\r\n\r\n")
			_, uids, err := m.Append(ctx, Taken{}, in)
			must(t, err)
			v.Updates(0, func(Update) {})
			moved, err := v.Move(ctx, uids, m)
			must(t, err)
			b.drop("cur/")
			b.drop("new/")
			must(t, v.Poll(ctx))
			to := time.Now().Unix()
			// A message that arrives while no maildird process is running.
			v.Close()
			m.Close()
			name := b.drop("new/")
			away := b.ctime(filename.Base(path.Base(name)))
			nextSecond()
			m = b.open(env(t))
			defer m.Close()
			v = view(t, m)
			defer v.Close()
			nextSecond()
			got := dates(t, v)
			for uid, at := range got {
				if uid == 5 && at != away {
					t.Errorf("what came meanwhile was saved at %d, not %d", at, away)
				} else if uid != 5 && (at < from || at > to) {
					t.Errorf("UID %d was saved at %d, not in %d to %d", uid, at, from, to)
				}
			}
			if len(got) != 4 || got[moved.Dest[0]] == 0 {
				t.Errorf("the dates are %v", got)
			}
		})
	}
}

// TestSaveDateReadOnly: if nothing can be written, there are dates all the same; they do
// not change, and are written when that is possible again.
func TestSaveDateReadOnly(t *testing.T) {
	b := newBox(t)
	name := b.drop("cur/")
	b.open(newEnv(t)).Close() // which makes the list
	writable := readOnlyBox(b)
	writable(false)
	m := b.open(newEnv(t))
	v := view(t, m)
	want := b.ctime(filename.Base(path.Base(name)))
	if got := dates(t, v)[1]; got != want {
		t.Errorf("saved at %d, not %d", got, want)
	}
	nextSecond()
	writable(true)
	b.rename(name, name+"S")
	b.drop("new/")
	v.Close()
	v = view(t, m)
	if got := dates(t, v)[1]; got != want {
		t.Errorf("writable again: saved at %d, not %d", got, want)
	}
	v.Close()
	m.Close()
	m = b.open(newEnv(t))
	defer m.Close()
	v = view(t, m)
	defer v.Close()
	if got := dates(t, v)[1]; got != want {
		t.Errorf("another process: saved at %d, not %d", got, want)
	}
}

// TestSaveDatesStay lets two processes, which end and start again, and a program without
// locks change a folder, while clients ask for save dates: every answer agrees with the
// earlier ones.
func TestSaveDatesStay(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			env := newEnv
			if seed%2 == 0 {
				env = unwatched
			}
			r := newResync(t, seed, env(t), env(t))
			told := map[uint32]int64{}
			again := 0
			for range 200 {
				switch r.rng.IntN(6) {
				case 0:
					r.end(r.rng.IntN(len(r.boxes)))
				case 1:
					r.act()
				case 2:
					r.comeAndGo()
				case 3:
					again += r.askDates(told)
				default:
					r.stranger()
				}
				time.Sleep(15 * time.Millisecond) // the dates are of whole seconds
			}
			for i := range r.boxes {
				r.end(i)
			}
			if again == 0 {
				t.Error("nobody was asked twice")
			}
		})
	}
}

// askDates asks for some of the save dates, and returns how many had been told before.
func (r *resync) askDates(told map[uint32]int64) (again int) {
	m := r.open(r.rng.IntN(len(r.boxes)))
	v := view(r.t, m)
	defer v.Close()
	for msg := range v.Messages([]Range{{1, ^uint32(0)}}, true) {
		if r.rng.IntN(2) == 0 {
			continue
		}
		at, err := v.SaveDate(ctx, msg)
		must(r.t, err)
		was, known := told[msg.UID]
		if known {
			again++
		}
		if known && was != at.Unix() {
			r.t.Fatalf("UID %d was saved at %d, and now at %d", msg.UID, was, at.Unix())
		}
		told[msg.UID] = at.Unix()
	}
	return again
}

// TestSaveDatesLostElsewhere: a process that told clients dates keeps them when the history
// is lost and another process starts a new one.
func TestSaveDatesLostElsewhere(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	name := b.drop("cur/")
	m := b.open(newEnv(t))
	v := view(t, m)
	want := dates(t, v)
	b.remove(history.Name)
	other := b.open(newEnv(t))
	view(t, other).Close()
	other.Close()
	if _, err := os.Stat(b.file(history.Name)); err != nil {
		t.Fatal("nobody began the history anew")
	}
	nextSecond()
	b.rename(name, name+"S")
	_, err := v.Store(ctx, []uint32{1}, Add, filename.Flagged, nil)
	must(t, err)
	v.Close()
	m.Close()
	late := b.open(newEnv(t))
	defer late.Close()
	v = view(t, late)
	defer v.Close()
	if got := dates(t, v); got[1] != want[1] || len(got) != 1 {
		t.Errorf("saved at %v, was %v before", got, want)
	}
}

// TestRowSize: a save date uses no extra memory.
func TestRowSize(t *testing.T) {
	if n := unsafe.Sizeof(table.Row{}); n > 32 {
		t.Errorf("a row takes %d bytes", n)
	}
}

// TestSaveDateWhileSnapshotIsWritten: a save date that a copy to another mailbox finds while
// a snapshot is being written, which may be in the table there but not among the dates that
// the history lacks, does not get into the cache.
func TestSaveDateWhileSnapshotIsWritten(t *testing.T) {
	b := newBox(t)
	b.drop("cur/")
	m := b.open(keeping(t, t.TempDir()))
	defer m.Close()
	must(t, m.acquire(ctx))
	defer m.release()
	for _, found := range []bool{false, true} {
		st, ok := m.snapshot()
		if !ok {
			t.Fatal("there is no state")
		}
		if found {
			m.foundSaved(0, time.Unix(1700000000, 0))
		}
		f, err := os.Create(b.file("snapshot"))
		must(t, err)
		if err := m.writeSnapshot(f, time.Now(), st, st.encode()); (err != nil) != found {
			t.Errorf("a date was found: %t, written with %v", found, err)
		}
		must(t, f.Close())
	}
}

// TestSaveDates: clients are told a date once it is in the history, on disk.
func TestSaveDates(t *testing.T) {
	var d saveDates
	for i, step := range []struct {
		do    func()
		final bool
	}{
		{func() {}, false}, // the history has not been synced
		{func() { d.durable = true }, true},
		{func() { d.found(4) }, false},
		{func() { d.found(3) }, false},
		{func() { d.wrote(1) }, false}, // the other was found meanwhile
		{func() { d.wrote(1) }, false},
		{func() { d.durable = true }, true},
		{func() { d.wrote(0) }, true},
	} {
		if step.do(); d.final() != step.final {
			t.Errorf("step %d: final %v, %+v", i, d.final(), d)
		}
	}
}

// TestSaveDatesOfOthers: dates that another process wrote to the history are told once they are on
// disk, too.
func TestSaveDatesOfOthers(t *testing.T) {
	b := newBox(t)
	b.drop("cur/")
	m := b.open(newEnv(t))
	defer m.Close()
	must(t, m.acquire(ctx))
	defer m.release()
	var dated rowBits
	m.dates.durable = true
	if m.takeSaved(nil, &dated); !m.dates.durable {
		t.Error("the dates count as not on disk, although there is no other")
	}
	if m.takeSaved([]history.Saved{{UID: m.t.Row(0).UID, At: 1700000000}}, &dated); m.dates.durable {
		t.Error("another date counts as on disk")
	}
}
