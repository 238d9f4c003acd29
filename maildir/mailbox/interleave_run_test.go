package mailbox

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"maildird/maildir/cache"
	"maildird/maildir/delivery"
	"maildird/maildir/dirfd"
	"maildird/maildir/dotlock"
	"maildird/maildir/filename"
	"maildird/maildir/mailbox/table"
	"maildird/maildir/uidlist"
	"maildird/maildir/watch"
)

// disk is a folder as other programs see it. A message is identified by its text.
type disk struct {
	t    testing.TB
	path string
	told map[uint32]string // text of each UID that anybody was told
}

func (d *disk) file(rel string) string { return filepath.Join(d.path, rel) }

// files returns the text of each file of new/ and cur/, by its path below the folder.
func (d *disk) files() map[string]string {
	out := map[string]string{}
	for _, sub := range []string{"new", "cur"} {
		some, err := os.ReadDir(d.file(sub))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			d.t.Fatal(err)
		}
		for _, one := range some {
			if text, err := os.ReadFile(d.file(sub + "/" + one.Name())); err == nil {
				out[sub+"/"+one.Name()] = strings.TrimSpace(string(text))
			}
		}
	}
	return out
}

// inode identifies the file that has a name.
func (d *disk) inode(rel string) string {
	st, err := os.Lstat(d.file(rel))
	if err != nil {
		return ""
	}
	return fmt.Sprint(st.Sys().(*syscall.Stat_t).Ino)
}

// find returns the path of the message with a text, "" if there is none.
func (d *disk) find(text string) string {
	files := d.files()
	for _, rel := range slices.Sorted(maps.Keys(files)) {
		if files[rel] == text {
			return rel
		}
	}
	return ""
}

func (d *disk) put(rel, text string) {
	tmp := filepath.Join(filepath.Dir(d.path), "delivery")
	must(d.t, os.WriteFile(tmp, []byte(text+"\n"), 0o600))
	date := time.Now().Add(-time.Duration(len(text)+int(text[0])) * time.Hour)
	must(d.t, os.Chtimes(tmp, date, date))
	must(d.t, os.Rename(tmp, d.file(rel)))
}

// meeting is one run of an operation, with what others do before some of its calls.
type meeting struct {
	t        testing.TB
	what     string
	root     string
	a, b     *disk // the mailbox of the operation, and another one to copy to
	cache    *cache.Store
	env      *Env
	m        *Mailbox
	dst      *Mailbox
	some     []*session // sessions of m; the first one performs the operation
	validity uint32
	there    *session // session of dst
	proc     *process // another process with the same folder open

	mu    sync.Mutex
	armed bool
	locks bool           // the operation holds the lock, or is just creating it
	trace []string       // the calls so far
	acts  map[int]func() // what others do, by the number of the call that follows

	log   bytes.Buffer
	logMu sync.Mutex

	faults []string
	// What others did, by the text of the messages.
	gone  map[string]bool           // it may be missing from the mailbox
	need  map[string]filename.Flags // flags that it must have
	reset map[string]bool           // others may have replaced the flags that were stored
	// alike are messages with the same base. One may be mistaken for the other if nobody knows
	// which of them was first, or when one is removed.
	alike    []string
	became   map[string]string // the message whose name it has been given
	other    map[string]bool   // it has another base, or is in another folder
	odd      bool              // a directory is in the place of a message
	waits    bool              // see setting.wait
	reopened bool              // the operation opens the mailbox
	ended    string            // where the folder was moved, or "removed"
	lists    bool              // somebody changed uidlist, history or keywords
	later    []func()          // what others do after the operation

	owed    map[string]*disk // where messages that were acknowledged must be
	flagged map[string]filename.Flags
}

func (r *meeting) fault(format string, args ...any) {
	r.faults = append(r.faults, fmt.Sprintf(format, args...))
}

// Write receives what is logged.
func (r *meeting) Write(p []byte) (int, error) {
	r.logMu.Lock()
	defer r.logMu.Unlock()
	return r.log.Write(p)
}

func (r *meeting) logged() string {
	r.logMu.Lock()
	defer r.logMu.Unlock()
	return r.log.String()
}

// The initial messages of the folder.
var firstFiles = map[string]string{
	"one":   "cur/1700000001.M1P1.h,S=4:2,S",
	"two":   "cur/1700000002.M2P1.h:2,",
	"doom":  "cur/1700000003.M3P1.h:2,ST",
	"word":  "cur/1700000004.M4P1.h:2,a",
	"spare": "cur/1700000005.M5P1.h:2,",
	"fresh": "new/1700000006.M6P1.h",
}

func newMeeting(t testing.TB, root string, how setting) *meeting {
	must(t, os.MkdirAll(root, 0o700))
	r := &meeting{t: t, root: root, acts: map[int]func(){}, gone: map[string]bool{}, need: map[string]filename.Flags{},
		reset: map[string]bool{}, became: map[string]string{}, other: map[string]bool{}, owed: map[string]*disk{}, flagged: map[string]filename.Flags{}}
	for i, d := range []**disk{&r.a, &r.b} {
		*d = &disk{t, filepath.Join(root, []string{"a", "b"}[i]), map[uint32]string{}}
		for _, sub := range []string{"", "cur", "new", "tmp"} {
			must(t, os.Mkdir((*d).file(sub), 0o700))
		}
	}
	r.b.put("cur/1700000009.M9P1.h:2,", "there")
	must(t, os.WriteFile(r.a.file("dovecot-keywords"), []byte("0 word\n"), 0o600))
	for text, rel := range firstFiles {
		if text != "fresh" {
			r.a.put(rel, text)
			r.owed[text] = r.a
		}
	}
	if how.cached {
		r.cache = cache.New(cache.Options{Dir: filepath.Join(root, "cache"), Log: slog.New(slog.DiscardHandler)})
	}
	r.env = r.newEnv(how.watched, how.fsync)
	r.env.Cache = r.cache
	if how.known { // the folder was open before
		m, err := r.open(r.newEnv(false, false), r.a, false)
		must(t, err)
		r.validity = m.UIDValidity()
		s, err := r.connect(m, r.a, true)
		must(t, err)
		s.v.Close()
		m.Close()
	}
	r.a.put(firstFiles["fresh"], "fresh")
	r.owed["fresh"] = r.a
	for _, d := range []*disk{r.a, r.b} { // so that changes from now on show in the times
		for _, sub := range []string{"new", "cur"} {
			past := time.Now().Add(-time.Hour)
			must(t, os.Chtimes(d.file(sub), past, past))
		}
	}
	return r
}

func (r *meeting) newEnv(watched, fsync bool) *Env {
	log := slog.New(slog.NewTextHandler(r, &slog.HandlerOptions{Level: slog.LevelInfo}))
	env := &Env{
		Log: log, Now: time.Now, Watcher: watch.New(log), Locker: dotlock.NewLocker("host.test"), Account: r.root, Fsync: fsync,
		Delivery: &delivery.Options{Host: "host.test", PID: os.Getpid(), Now: time.Now, Fsync: fsync},
	}
	if !watched {
		must(r.t, env.Watcher.Close())
	}
	return env
}

// open opens a folder; if hooked, others act before the calls on it.
func (r *meeting) open(env *Env, d *disk, hooked bool) (*Mailbox, error) {
	dir, err := dirfd.Open(d.path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReplaced, err)
	}
	if hooked {
		dir.Before(r.before)
	}
	path := d.path
	m, err := New(ctx, env, dir, func() (uint32, func() error, error) {
		v, err := uidlist.NextValidity(dir, env.Now(), false)
		return v, nil, err
	}, func() bool {
		now, err := dirfd.Open(path)
		if err != nil {
			return false
		}
		defer now.Close()
		is, err := now.ID()
		was, werr := dir.ID()
		return err == nil && werr == nil && is == was
	})
	if err != nil {
		_ = dir.Close()
		return nil, err
	}
	m.shortList = 0
	return m, nil
}

// before is called before every system call.
func (r *meeting) before(op, path string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.armed {
		return nil
	}
	act := r.acts[len(r.trace)]
	r.trace = append(r.trace, op+" "+strings.TrimPrefix(path, r.root+"/"))
	if act != nil {
		r.trace = append(r.trace[:len(r.trace)-1], "*** "+r.trace[len(r.trace)-1])
		act()
	}
	if path == r.a.file(uidlistLock) && (op == "create" || op == "remove") {
		r.locks = op == "create"
	}
	return nil
}

func (r *meeting) arm(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.armed = on
	if on {
		return
	}
	for _, i := range slices.Sorted(maps.Keys(r.acts)) { // those for which the operation made too few calls
		if i >= len(r.trace) {
			r.acts[i]()
		}
	}
}

// ready opens everything that the operation needs.
func (r *meeting) ready(opened bool) error {
	var err error
	if r.dst, err = r.open(r.env, r.b, true); err != nil {
		return err
	}
	if r.there, err = r.connect(r.dst, r.b, false); err != nil || !opened {
		return err
	}
	return r.begin()
}

// begin opens the mailbox for two sessions, the second of which is told mod-sequences.
func (r *meeting) begin() (err error) {
	if r.m, err = r.open(r.env, r.a, true); err != nil {
		return err
	}
	if now := r.m.UIDValidity(); now != r.validity { // its list was removed while nobody had it open
		clear(r.a.told)
		r.validity = now
	}
	for i := range 2 {
		s, err := r.connect(r.m, r.a, i > 0)
		if err != nil {
			return err
		}
		r.some = append(r.some, s)
		cached := s.v.Cached()
		for _, msg := range s.all() { // fills the cache
			_, _ = s.v.Size(msg, func() error { return nil })
			_, _ = s.v.Date(msg)
		}
		cached.Close()
	}
	return nil
}

// openAgain opens the mailbox after that failed, as a user would.
func (r *meeting) openAgain() {
	for _, s := range r.some {
		s.v.Close()
	}
	if r.m != nil {
		r.m.Close()
	}
	r.m, r.some = nil, nil
	if err := r.begin(); err != nil {
		r.fault("and again: %v", err)
	}
}

// session is a client and what it has been told.
type session struct {
	r     *meeting
	d     *disk
	v     *View
	uids  []uint32
	flags map[uint32]filename.Flags
	upTo  uint64 // HIGHESTMODSEQ
	anew  bool   // its process has just opened the folder
}

func (r *meeting) connect(m *Mailbox, d *disk, modseqs bool) (*session, error) {
	return r.view(m, d, modseqs, false)
}

func (r *meeting) view(m *Mailbox, d *disk, modseqs, readOnly bool) (*session, error) {
	v, err := m.NewView(ctx, readOnly, nil)
	if err != nil {
		return nil, err
	}
	s := &session{r: r, d: d, v: v, flags: map[uint32]filename.Flags{}}
	if modseqs {
		if _, err := v.EnableModSeq(ctx); err != nil {
			v.Close()
			return nil, err
		}
	}
	s.list()
	s.upTo = v.HighestModSeq()
	return s, nil
}

func (s *session) all() (out []Message) {
	for m := range s.v.Messages([]Range{{1, ^uint32(0)}}, true) {
		out = append(out, m)
	}
	return out
}

// list fetches the flags of messages that are new to the client.
func (s *session) list() {
	s.uids = nil
	for i, m := range s.all() {
		if int(m.Seq) != i+1 {
			s.r.fault("message %d of the view has sequence number %d", i+1, m.Seq)
		}
		s.uids = append(s.uids, m.UID)
		if _, known := s.flags[m.UID]; !known {
			s.flags[m.UID] = m.Flags
			if e, err := s.v.m.location(m); err == nil {
				if text, err := os.ReadFile(s.d.file(relOf(e))); err == nil {
					s.r.tell(s.d, m.UID, strings.TrimSpace(string(text)))
				}
			}
		}
	}
}

func relOf(e entry) string {
	if e.where == table.InNew {
		return "new/" + e.name
	}
	return "cur/" + e.name
}

// tell records that somebody was told of a message.
func (r *meeting) tell(d *disk, uid uint32, text string) {
	if was, ok := d.told[uid]; ok && was != text && r.became[text] != was && !(slices.Contains(r.alike, was) && slices.Contains(r.alike, text)) {
		r.fault("UID %d was %q and is %q", uid, was, text)
	}
	d.told[uid] = text
}

// poll looks at the files and applies the updates; news reports whether there were any.
func (s *session) poll() (news bool, err error) {
	if err := s.v.Poll(ctx); err != nil {
		return false, err
	}
	s.v.Updates(0, func(u Update) {
		news = true
		switch u.Kind {
		case Expunge:
			if u.Seq == 0 || int(u.Seq) > len(s.uids) || s.uids[u.Seq-1] != u.UID {
				s.r.fault("told EXPUNGE %d for UID %d, the client has %v", u.Seq, u.UID, s.uids)
				return
			}
			s.uids = slices.Delete(s.uids, int(u.Seq)-1, int(u.Seq))
			delete(s.flags, u.UID)
		case Exists:
			s.list()
			if len(s.uids) != int(u.Count) {
				s.r.fault("told EXISTS %d, the view has %d", u.Count, len(s.uids))
			}
		case Flags:
			if int(u.Seq) > len(s.uids) || s.uids[u.Seq-1] != u.UID {
				s.r.fault("told FETCH %d for UID %d, the client has %v", u.Seq, u.UID, s.uids)
				return
			}
			s.flags[u.UID] = u.Message.Flags
		}
	})
	s.upTo = s.v.HighestModSeq()
	return news, nil
}

// text returns the text of a message as the session can read it.
func (s *session) text(m Message) string {
	f, err := openText(s.v, m)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	text, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<10))
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(text))
}

// uid finds a message by the text that it had when the session was told of it.
func (s *session) uid(text string) uint32 {
	for _, uid := range s.uids {
		if s.d.told[uid] == text {
			return uid
		}
	}
	return 0
}

func (s *session) uidsOf(texts ...string) (uids []uint32) {
	for _, text := range texts {
		if uid := s.uid(text); uid != 0 {
			uids = append(uids, uid)
		}
	}
	return uids
}
