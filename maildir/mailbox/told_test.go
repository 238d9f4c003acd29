package mailbox

import (
	"encoding/binary"
	"hash/crc32"
	"os"
	"strings"
	"testing"
	"time"

	"maildird/maildir/dirfd"
	"maildird/maildir/filename"
	"maildird/maildir/history"
)

// syncs has a mailbox count how often it syncs its history.
func (b *box) syncs(m *Mailbox) *int {
	b.t.Helper()
	dir, err := dirfd.Open(b.path)
	must(b.t, err)
	b.t.Cleanup(func() { _ = dir.Close() })
	n := new(int)
	m.hist = history.New(dir, history.Options{Fsync: true, Log: m.env.Log, Now: time.Now, DataSync: func(*dirfd.File) error {
		*n++
		return nil
	}})
	return n
}

// TestToldAfterChange: a client that asks for no mod-sequences is told a different one
// after each change, even if it was away: only then does Thunderbird fetch flags. It does
// not wait for the disk.
func TestToldAfterChange(t *testing.T) {
	b := newBox(t)
	name := b.drop("cur/")
	m := b.open(newEnv(t))
	defer m.Close()
	syncs := b.syncs(m)
	last := uint64(0)
	for i, flags := range []string{"", "F", "FS", "S", ""} {
		if i > 0 {
			b.rename(name, strings.TrimRight(name, "FS")+flags)
			name = strings.TrimRight(name, "FS") + flags
		}
		v := connect(t, m, false).v
		told, err := v.TellModSeq(ctx)
		must(t, err)
		v.Close()
		if told <= last {
			t.Errorf("with flags %q told %d, and %d before", flags, told, last)
		}
		last = told
	}
	if *syncs > 0 {
		t.Errorf("the history was synced %d times", *syncs)
	}
}

// TestSaveDateIsDurable: a client is told a save date when it is on disk, whoever found it,
// and only what was found since then is synced.
func TestSaveDateIsDurable(t *testing.T) {
	b := newBox(t)
	b.drop("cur/")
	m, other := b.open(newEnv(t)), b.open(newEnv(t))
	defer m.Close()
	defer other.Close()
	v, o := view(t, m), view(t, other)
	defer v.Close()
	defer o.Close()
	syncs := b.syncs(m)
	ask := func(what string, want int) {
		t.Helper()
		*syncs = 0
		dates(t, v)
		if *syncs != want {
			t.Errorf("%s: synced %d times, want %d", what, *syncs, want)
		}
	}
	ask("the first time", 1)
	ask("again", 0)
	b.drop("new/")
	must(t, v.Poll(ctx))
	v.Updates(0, func(Update) {})
	ask("after mail came", 1)
	ask("again", 0)
	b.drop("new/")
	must(t, o.Poll(ctx))
	o.Updates(0, func(Update) {})
	dates(t, o)
	must(t, v.Poll(ctx))
	v.Updates(0, func(Update) {})
	if _, err := m.settled(ctx); err != nil {
		t.Fatal(err)
	}
	ask("after another process found one", 1)
}

// otherRun changes the run of the machine in a history, or in a memo of it.
func otherRun(text []byte) {
	text[32] ^= 2
	binary.LittleEndian.PutUint32(text[60:], crc32.Checksum(text[:60], crc32.MakeTable(crc32.Castagnoli)))
}

// TestLostEnd: a crash of the machine takes away the end of the history, and of a message
// all is as it was before. A client that was told of what is lost is told of the message
// again, whatever it asks; one that was away is not told of more than it missed.
func TestLostEnd(t *testing.T) {
	b := newBox(t)
	b.drop("cur/")
	b.drop("cur/")
	m := b.open(newEnv(t))
	c := connect(t, m, false)
	store := func(op Op) uint64 {
		t.Helper()
		done, err := c.v.Store(ctx, []uint32{1}, op, filename.Flagged, nil)
		must(t, err)
		return done[0].ModSeq
	}
	store(Add)
	before := store(Remove)
	kept, err := os.ReadFile(b.file(history.Name))
	must(t, err)
	told, undone := store(Add), store(Remove)
	c.v.Close()
	m.Close()
	otherRun(kept)
	must(t, os.WriteFile(b.file(history.Name), kept, 0o600)) // keeps the inode

	m = b.open(newEnv(t))
	defer m.Close()
	v := view(t, m)
	defer v.Close()
	now, err := v.TellModSeq(ctx)
	must(t, err)
	if now <= undone {
		t.Errorf("the highest mod-sequence is %d, clients know %d", now, undone)
	}
	for modseq, want := range map[uint64]uint64{before: before, told: 0, undone: 0, now: now, now + 1: 0} {
		if since, err := v.Since(ctx, modseq); err != nil || since != want {
			t.Errorf("who knows %d is told what changed after %d, want %d (%v)", modseq, since, want, err)
		}
	}
	for msg := range v.Messages([]Range{{1, 2}}, true) {
		if msg.ModSeq > before {
			t.Errorf("UID %d counts as changed after %d", msg.UID, before)
		}
	}
	for since, want := range map[uint64]int{told: 0, before: 1} {
		done, modified, err := v.StoreUnchangedSince(ctx, since, []uint32{2}, Add, filename.Seen, nil)
		if err != nil || len(done) != want || len(modified) != 1-want {
			t.Errorf("unless changed after %d: done %v, modified %v (%v)", since, done, modified, err)
		}
	}
}

// TestSnapshotInAnotherRun: a mailbox that continues from the snapshot of another run of the
// machine tells clients a new mod-sequence, and does not write the whole history anew, which
// would make it wait for the disk.
func TestSnapshotInAnotherRun(t *testing.T) {
	b := newBox(t)
	b.drop("cur/")
	m := b.open(newEnv(t))
	defer m.Close()
	syncs := b.syncs(m)
	c := connect(t, m, false)
	before, err := c.v.TellModSeq(ctx)
	must(t, err)
	c.v.Close()
	memo, ok := m.hist.Memo()
	if !ok {
		t.Fatal("the history has no memo")
	}
	otherRun(memo)
	if ok, same := m.hist.Recall(memo, m.UIDValidity()); !ok || !same {
		t.Fatalf("recalled: %v, %v", ok, same)
	}
	old, err := os.Stat(b.file(history.Name))
	must(t, err)
	v := view(t, m)
	defer v.Close()
	if now := v.HighestModSeq(); now <= before+1 || v.UID(1) != 1 {
		t.Errorf("the highest mod-sequence is %d, was %d", now, before)
	}
	if st, err := os.Stat(b.file(history.Name)); err != nil || !os.SameFile(st, old) || st.Size() == old.Size() || *syncs > 0 {
		t.Errorf("the history was written anew (%v), or is as it was, or was synced %d times", err, *syncs)
	}
	for modseq, want := range map[uint64]uint64{before: before, before + 1: 0} {
		if since, err := v.Since(ctx, modseq); err != nil || since != want {
			t.Errorf("who knows %d is told what changed after %d, want %d (%v)", modseq, since, want, err)
		}
	}
}

// TestSnapshotOutlivesRun: a mailbox that was only asked for its status in a new run of the
// machine does not lose its snapshot.
func TestSnapshotOutlivesRun(t *testing.T) {
	b := newBox(t)
	b.drop("cur/")
	env := keeping(t, t.TempDir())
	b.settle()
	for range 2 {
		m := b.open(env)
		view(t, m).Close()
		m.Close()
	}
	m := b.open(env)
	memo, ok := m.hist.Memo()
	if !ok || m.snap.state == nil {
		t.Fatal("the mailbox was not opened with its snapshot")
	}
	otherRun(memo)
	if ok, same := m.hist.Recall(memo, m.UIDValidity()); !ok || !same || !m.hist.EndLost() {
		t.Fatalf("recalled: %v, %v", ok, same)
	}
	_, err := m.Status(ctx, false, nil)
	must(t, err)
	m.Close()
	m = b.open(env)
	defer m.Close()
	if m.snap.state == nil {
		t.Error("the snapshot is gone")
	}
}
