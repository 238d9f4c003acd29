package mailbox

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"maildird/maildir/filename"
)

// check brings the sessions up to date and compares what they know with the files, and with
// what a process that opens the folder now knows.
func (r *meeting) check() {
	for _, f := range r.later {
		f()
	}
	r.noErrors()
	if r.m == nil || r.ended != "" || len(r.some) < 2 {
		r.checkEnded()
		return
	}
	r.comeToRest()
	r.checkSessions(r.a, r.some...)
	r.checkSessions(r.b, r.there)
	r.checkPromises()
	r.anew("another process", r.newEnv(false, false), nil)
	old := r.some[1]
	r.close()
	restarted := func() *Env {
		env := r.newEnv(false, false)
		env.Cache = r.cache
		return env
	}
	r.anew("a restart", restarted(), old)
	if r.cache != nil {
		r.swap()
		r.anew("a restart after a file was put over another", restarted(), nil)
	}
	r.nothingLeft(r.a)
	r.nothingLeft(r.b)
}

// swap replaces one message by another one while nobody has the folder open. Each of them has
// only one file.
func (r *meeting) swap() {
	files := r.a.files()
	times := map[string]int{}
	for _, text := range files {
		times[text]++
	}
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(files)), func(rel string) bool { return times[files[rel]] > 1 })
	if len(names) < 2 {
		return
	}
	text, victim := files[names[0]], files[names[1]]
	r.over(text, victim)
	for uid, was := range r.a.told {
		if was == victim {
			r.a.told[uid] = text
		}
	}
}

// checkEnded is check for a folder that was renamed, removed or replaced.
func (r *meeting) checkEnded() {
	for _, s := range r.some {
		s.v.m.NameChanged()
		if _, err := s.poll(); !errors.Is(err, ErrReplaced) && !r.reopened {
			r.fault("after the end of the folder Poll gives %v", err)
		}
	}
	r.close()
	if r.ended == "removed" {
		return
	}
	if r.ended != "" {
		r.a.path = r.ended
	}
	r.checkPromises()
	if r.lists { // the list may not have been rewritten
		clear(r.a.told)
	}
	r.anew("another process", r.newEnv(false, false), nil)
	r.nothingLeft(r.a)
}

// close closes everything.
func (r *meeting) close() {
	for _, s := range append(slices.Clone(r.some), r.there) {
		if s != nil {
			s.v.Close()
		}
	}
	r.some, r.there = nil, nil
	for _, m := range []**Mailbox{&r.m, &r.dst} {
		if *m != nil {
			(*m).Close()
			*m = nil
		}
	}
	if r.proc != nil {
		r.proc.close()
		r.proc = nil
	}
	_ = r.env.Watcher.Close() // it may have been closed already
}

// noErrors looks for logged errors that an operator would have to handle.
func (r *meeting) noErrors() {
	for line := range strings.Lines(r.logged()) {
		if strings.Contains(line, "level=ERROR") && !r.lists {
			r.fault("logged: %s", strings.TrimSpace(line))
		}
	}
}

// comeToRest polls until there is no news.
func (r *meeting) comeToRest() {
	for round := 0; ; round++ {
		moving := false
		before := fmt.Sprint(r.a.files(), r.b.files())
		for _, s := range append(slices.Clone(r.some), r.there) {
			news, err := s.poll()
			if err != nil {
				r.fault("Poll: %v", err)
				return
			}
			moving = moving || news
		}
		if !moving && before == fmt.Sprint(r.a.files(), r.b.files()) && round > 1 {
			return
		}
		if round == 8 {
			r.fault("the sessions do not come to rest")
			return
		}
	}
}

// checkSessions compares what sessions know with the files.
func (r *meeting) checkSessions(d *disk, some ...*session) {
	for i, s := range some {
		files := d.files()
		met := map[string]bool{}
		for _, msg := range s.all() {
			e, err := s.v.m.location(msg)
			if err != nil {
				r.fault("session %d: UID %d: %v", i, msg.UID, err)
				continue
			}
			rel := relOf(e)
			text, ok := files[rel]
			if !ok {
				r.fault("session %d: UID %d is said to be %s, the files are %v", i, msg.UID, rel, d.files())
				continue
			}
			delete(files, rel)
			met[d.inode(rel)+filename.Base(e.name)] = true
			if got := s.text(msg); got != text {
				r.fault("session %d: UID %d is %s with %q, read as %q", i, msg.UID, rel, text, got)
			}
			if s.anew || r.waits || r.became[text] == "" && !slices.Contains(r.alike, text) { // otherwise it may show only when the text is read
				r.checkFacts(d, s, msg, rel, text)
			}
			r.tell(d, msg.UID, text)
			if flags := filename.FlagsOf(e.name); msg.Flags != flags || s.flags[msg.UID] != flags {
				r.fault("session %d: UID %d is %s, the view has flags %b, the client was told %b", i, msg.UID, rel, msg.Flags, s.flags[msg.UID])
			}
		}
		for rel, text := range files {
			if met[d.inode(rel)+filename.Base(path.Base(rel))] {
				continue // a second name of the same message
			}
			r.fault("session %d does not have %s with %q", i, rel, text)
		}
		if listed := s.all(); len(listed) != len(s.uids) {
			r.fault("session %d: the view has %d messages, the client was told of %v", i, len(listed), s.uids)
		}
	}
}

// checkFacts compares what the session may have from the cache with the file.
func (r *meeting) checkFacts(d *disk, s *session, msg Message, rel, text string) {
	st, err := os.Lstat(d.file(rel))
	must(r.t, err)
	if size, err := s.v.Size(msg, func() error { return nil }); err != nil || size != int64(len(text)+2) {
		r.fault("UID %d is %s with %q, its size is said to be %d (%v)", msg.UID, rel, text, size, err)
	}
	if date, err := s.v.Date(msg); err != nil || !date.Equal(st.ModTime()) {
		r.fault("UID %d is %s of %v, its date is said to be %v (%v)", msg.UID, rel, st.ModTime(), date, err)
	}
}

// checkPromises checks that everything that was acknowledged or done by others is on the disk.
func (r *meeting) checkPromises() {
	if r.ended != "" { // the messages went with the folder
		old, _ := os.ReadDir(r.a.file("cur.old"))
		for _, one := range old {
			text, _ := os.ReadFile(r.a.file("cur.old/" + one.Name()))
			r.gone[strings.TrimSpace(string(text))] = true
		}
	}
	for text, d := range r.owed {
		rel := d.find(text)
		if rel == "" && slices.Contains(r.alike, text) { // the other of the two was moved
			rel = r.a.find(text) + r.b.find(text)
		}
		if rel == "" {
			if !r.gone[text] {
				r.fault("%q is lost, the files are %v and %v", text, r.a.files(), r.b.files())
			}
			continue
		}
		if r.reset[text] || r.gone[text] || slices.Contains(r.alike, text) {
			continue
		}
		flags := filename.FlagsOf(rel)
		if lost := r.flagged[text] &^ flags; lost != 0 {
			r.fault("%q lost flags %b that were stored, it is %s", text, lost, rel)
		}
		need := r.need[text]
		if d == r.b { // it has other keyword letters
			need &^= filename.Keywords
		}
		if d == r.b && r.other[text] { // it had another base by then, so the copy is another message
			need = 0
		}
		if lost := need &^ flags; lost != 0 {
			r.fault("%q lost flags %b that another program gave it, it is %s", text, lost, rel)
		}
	}
}

// anew opens the folder as a process that knows nothing of it except what is in the cache,
// and compares what it says with what clients were told. old, which is closed, is a client
// that comes back.
func (r *meeting) anew(who string, env *Env, old *session) {
	defer env.Watcher.Close()
	before := fmt.Sprint(r.a.files())
	m, err := r.open(env, r.a, false)
	if err != nil {
		r.fault("%s cannot open the folder: %v", who, err)
		return
	}
	defer m.Close()
	s, err := r.view(m, r.a, true, true)
	if err != nil {
		r.fault("%s cannot select the folder: %v", who, err)
		return
	}
	defer s.v.Close()
	s.anew = true
	s.v.Cached().Close() // reads everything in the cache
	faults := len(r.faults)
	r.checkSessions(r.a, s)
	for _, other := range r.some {
		if _, err := other.poll(); err != nil { // its last answer may have been about a message that has come back since
			r.fault("Poll: %v", err)
		}
		if !slices.Equal(s.uids, other.uids) {
			r.fault("%s has %v, a session %v", who, s.uids, other.uids)
		}
		if have, want := s.v.KeywordNames(), other.v.KeywordNames(); !slices.Equal(have, want) {
			r.fault("%s has keywords %v, a session %v", who, have, want)
		}
	}
	if old != nil {
		r.comeBack(s, old)
	}
	for i := faults; i < len(r.faults); i++ {
		r.faults[i] = who + ": " + r.faults[i]
	}
	if after := fmt.Sprint(r.a.files()); r.ended == "" && after != before {
		r.fault("%s changed the files from %s to %s", who, before, after)
	}
	r.noErrors()
}

// comeBack lets a client that was away ask for the changes (RFC 7162). Afterwards it must know
// the same as a new client.
func (r *meeting) comeBack(s, old *session) {
	gone, err := s.v.Vanished(ctx, []Range{{1, ^uint32(0)}}, old.upTo)
	if err != nil {
		r.fault("VANISHED: %v", err)
		return
	}
	knows := map[uint32]filename.Flags{}
	for _, uid := range old.uids {
		if !slices.ContainsFunc(gone, func(r Range) bool { return uid >= r.First && uid <= r.Last }) {
			knows[uid] = old.flags[uid]
		}
	}
	for _, m := range s.all() {
		if m.ModSeq > old.upTo {
			knows[m.UID] = m.Flags
		}
	}
	if have, want := fmt.Sprint(knows), fmt.Sprint(s.flags); have != want {
		r.fault("a client that comes back with %d has %s, the files say %s", old.upTo, have, want)
	}
}

// nothingLeft checks that the operation left no temporary file or lock.
func (r *meeting) nothingLeft(d *disk) {
	for _, sub := range []string{"", "tmp"} {
		names, err := os.ReadDir(d.file(sub))
		if err != nil {
			if sub == "" {
				r.fault("%v", err)
			}
			continue
		}
		for _, one := range names {
			if sub == "tmp" || strings.HasSuffix(one.Name(), ".lock") || strings.Contains(one.Name(), ".tmp") {
				r.fault("%s/%s is left", sub, one.Name())
			}
		}
	}
}
