package mailbox

import (
	"errors"
	"io"
	"os"
	"path"
	"strings"
	"syscall"

	"maildird/maildir/filename"
)

// other is a single action of another program. If it concerns one message, do gets its text.
type other struct {
	name    string
	about   bool // it concerns one message
	process bool // it is done by another server process, which tells clients UIDs
	ready   func(r *meeting)
	do      func(r *meeting, text string)
}

// others are what mutt, mbsync, offlineimap, rsync, Dovecot and people do.
var others = []other{
	{name: "answers", about: true, do: func(r *meeting, text string) { r.flag(text, filename.Answered, 0) }},
	{name: "flags twice", about: true, do: func(r *meeting, text string) {
		r.flag(text, filename.Answered, 0)
		r.flag(text, filename.Draft, 0)
	}},
	{name: "flags and takes it back", about: true, do: func(r *meeting, text string) {
		rel := r.a.find(text)
		r.flag(text, filename.Answered, 0)
		delete(r.need, text)
		if now := r.a.find(text); now != "" {
			r.move(now, rel)
		}
	}},
	{name: "takes all flags", about: true, do: func(r *meeting, text string) {
		r.reset[text] = true
		r.flag(text, 0, ^filename.Flags(0))
	}},
	{name: "removes", about: true, do: func(r *meeting, text string) { r.removed(r.a.find(text), text) }},
	{name: "takes back to new", about: true, do: func(r *meeting, text string) {
		if rel := r.a.find(text); rel != "" {
			r.reset[text] = true
			r.move(rel, "new/"+filename.Base(path.Base(rel)))
		}
	}},
	{name: "links and unlinks", about: true, do: func(r *meeting, text string) { r.linkFlag(text)() }},
	{name: "links, and unlinks later", about: true, do: func(r *meeting, text string) { r.later = append(r.later, r.linkFlag(text)) }},
	{name: "puts another message in its place", about: true, do: func(r *meeting, text string) { r.over("spare", text) }},
	{name: "puts it in another's place", about: true, do: func(r *meeting, text string) { r.over(text, "spare") }},
	{name: "delivers under its base", about: true, do: func(r *meeting, text string) {
		if rel := r.a.find(text); rel != "" {
			r.alike = append(r.alike, text, "twin")
			r.deliver("cur/"+filename.WithFlags(filename.Base(path.Base(rel)), filename.Flagged|filename.Answered), "twin")
		}
	}},
	{name: "delivers to new under its base", about: true, do: func(r *meeting, text string) {
		if rel := r.a.find(text); strings.HasPrefix(rel, "cur/") {
			r.alike = append(r.alike, text, "twin")
			r.deliver("new/"+filename.Base(path.Base(rel)), "twin")
		}
	}},
	{name: "gives it another base", about: true, do: func(r *meeting, text string) { // mbsync
		if rel := r.a.find(text); rel != "" {
			r.other[text] = true
			base := filename.Base(path.Base(rel))
			r.move(rel, "cur/"+filename.WithFlags(base+",U=77", filename.FlagsOf(rel)))
		}
	}},
	{name: "moves it to the other folder", about: true, do: func(r *meeting, text string) { r.away(text) }},
	{name: "moves it to the other folder and back", about: true, do: func(r *meeting, text string) {
		back := r.away(text)
		r.later = append(r.later, back)
	}},
	{name: "gives it a letter and names it later", about: true, do: func(r *meeting, text string) {
		r.flag(text, filename.Keyword(1), 0)
		r.later = append(r.later, func() { r.name("1 other\n") })
	}},
	{name: "names a letter and gives it", about: true, do: func(r *meeting, text string) {
		r.name("1 other\n")
		r.flag(text, filename.Keyword(1), 0)
	}},
	{name: "puts a directory in its place", about: true, do: func(r *meeting, text string) {
		if rel := r.a.find(text); rel != "" {
			r.removed(rel, text)
			r.odd = true
			must(r.t, os.Mkdir(r.a.file(rel), 0o700))
		}
	}},
	{name: "delivers to new", do: func(r *meeting, _ string) { r.deliver("new/1700000020.M1P1.x", "delivered") }},
	{name: "delivers to cur", do: func(r *meeting, _ string) { r.deliver("cur/1700000020.M1P1.x:2,FS", "delivered") }},
	{name: "delivers and flags", do: func(r *meeting, _ string) {
		r.deliver("new/1700000020.M1P1.x", "delivered")
		r.flag("delivered", filename.Seen, 0)
	}},
	{name: "delivers a name that is too long", do: func(r *meeting, _ string) {
		r.deliver("cur/1700000020."+strings.Repeat("x", 238)+":2,", "delivered")
	}},
	{name: "removes the list", do: func(r *meeting, _ string) { r.beside("dovecot-uidlist", "") }},
	{name: "removes the history", do: func(r *meeting, _ string) { r.beside("maildird-history", "") }},
	{name: "removes the keywords", do: func(r *meeting, _ string) { r.beside("dovecot-keywords", "") }},
	{name: "cuts the list short", do: func(r *meeting, _ string) {
		r.rewrite(uidlistName, true, func(old string) string { return old[:len(old)-len(old)/3] })
	}},
	{name: "empties the list", do: func(r *meeting, _ string) { r.rewrite(uidlistName, true, func(string) string { return "" }) }},
	{name: "copies the list over itself", do: func(r *meeting, _ string) { r.rewrite(uidlistName, false, strings.Clone) }},
	{name: "replaces the keywords", do: func(r *meeting, _ string) {
		r.rewrite("dovecot-keywords", false, func(string) string { return "0 theirs\n1 word\n" })
	}},
	{name: "delivers by a link", do: func(r *meeting, _ string) { r.deliverByLink("new/1700000021.M1P1.x", "linked") }},
	{name: "puts back the list", ready: keepList, do: func(r *meeting, _ string) { r.beside("dovecot-uidlist", "list") }},
	{name: "opens", process: true, do: func(r *meeting, _ string) { r.process(func(*process) error { return nil }) }},
	{name: "looks", process: true, ready: withProcess, do: func(r *meeting, _ string) {
		r.process(func(p *process) error { _, err := p.s.poll(); return err })
	}},
	{name: "stores", process: true, ready: withProcess, about: true, do: func(r *meeting, text string) {
		r.process(func(p *process) error {
			done, err := p.s.v.Store(ctx, p.s.uidsOf(text), Add, filename.Answered, nil)
			if len(done) > 0 {
				r.need[text] |= filename.Answered
			}
			return err
		})
	}},
	{name: "stores a new keyword", process: true, ready: withProcess, about: true, do: func(r *meeting, text string) {
		r.process(func(p *process) error {
			_, err := p.s.v.Store(ctx, p.s.uidsOf(text), Add, 0, []string{"other"})
			return err
		})
	}},
	{name: "expunges", process: true, ready: withProcess, about: true, do: func(r *meeting, text string) {
		r.process(func(p *process) error {
			uid := p.s.uid(text)
			if uid == 0 {
				return nil
			}
			removed, err := p.s.v.Remove(ctx, uid)
			if len(removed) > 0 {
				r.gone[text] = true
				r.overtaken(text)
			}
			return err
		})
	}},
	{name: "appends", process: true, ready: withProcess, do: func(r *meeting, _ string) {
		r.process(func(p *process) error {
			uids, err := appendTo(p.m, filename.Seen, "appended elsewhere")
			if err == nil {
				r.owed["appended elsewhere"] = r.a
				r.tell(r.a, uids[0], "appended elsewhere")
			}
			return err
		})
	}},
	{name: "renames the folder", do: func(r *meeting, _ string) { r.rename() }},
	{name: "removes the folder", do: func(r *meeting, _ string) {
		must(r.t, os.RemoveAll(r.a.path))
		r.end("removed")
	}},
	{name: "replaces the folder", do: func(r *meeting, _ string) {
		r.rename()
		for _, sub := range []string{"", "/cur", "/new", "/tmp"} {
			must(r.t, os.Mkdir(r.a.path+sub, 0o700))
		}
	}},
	{name: "replaces cur", do: func(r *meeting, _ string) {
		must(r.t, os.Rename(r.a.file("cur"), r.a.file("cur.old")))
		must(r.t, os.Mkdir(r.a.file("cur"), 0o700))
		for text := range r.owed {
			r.gone[text] = r.gone[text] || r.a.find(text) == ""
		}
		r.end(r.a.path)
	}},
}

// flag renames a message of the folder as mutt does.
func (r *meeting) flag(text string, add, remove filename.Flags) {
	rel := r.a.find(text)
	if rel == "" {
		return
	}
	to := "cur/" + filename.WithFlags(path.Base(rel), filename.FlagsOf(rel)&^remove|add)
	if r.move(rel, to) {
		r.need[text] |= add
	}
}

// move renames a file to a free name, or fails.
func (r *meeting) move(from, to string) bool {
	if _, err := os.Lstat(r.a.file(to)); err == nil && from != to {
		return false
	}
	return os.Rename(r.a.file(from), r.a.file(to)) == nil
}

// linkFlag is flag by a link; the returned function removes the old name.
func (r *meeting) linkFlag(text string) (unlink func()) {
	rel := r.a.find(text)
	if rel == "" {
		return func() {}
	}
	to := "cur/" + filename.WithFlags(path.Base(rel), filename.FlagsOf(rel)|filename.Answered)
	if os.Link(r.a.file(rel), r.a.file(to)) != nil {
		return func() {}
	}
	r.reset[text] = true // one of the names may be gone by then
	return func() {
		if now := r.a.files()[rel]; now != text {
			r.gone[now] = true
		}
		if err := os.Remove(r.a.file(rel)); err != nil && !errors.Is(err, os.ErrNotExist) {
			r.t.Fatal(err)
		}
		if r.a.find(text) == "" { // the other name was removed or renamed back meanwhile
			r.gone[text] = true
		}
	}
}

func (r *meeting) removed(rel, text string) {
	if rel != "" {
		must(r.t, os.Remove(r.a.file(rel)))
		r.gone[text] = true
	}
}

// over renames a message to the name of another one.
func (r *meeting) over(text, victim string) {
	from, to := r.a.find(text), r.a.find(victim)
	if from == "" || to == "" || text == victim {
		return
	}
	must(r.t, os.Rename(r.a.file(from), r.a.file(to)))
	r.gone[victim] = true
	if r.a.find(victim) != "" { // by its second name, which has the same base
		r.alike = append(r.alike, text, victim)
	}
	r.other[text] = true
	if r.became[text] = victim; r.became[victim] != "" { // it already had the name of a third one
		r.became[text] = r.became[victim]
	}
	r.reset[text] = true
}

// away moves a message to the other folder; the returned function moves it back.
func (r *meeting) away(text string) (back func()) {
	rel := r.a.find(text)
	if rel == "" {
		return func() {}
	}
	to := rel
	if _, err := os.Lstat(r.b.file(rel)); err == nil {
		return func() {}
	}
	must(r.t, os.Rename(r.a.file(rel), r.b.file(to)))
	was := r.owed[text]
	r.owed[text], r.reset[text], r.other[text] = r.b, true, true
	return func() {
		if r.ended != "" {
			return
		}
		if victim := r.a.files()[rel]; victim != "" {
			r.gone[victim] = true
		}
		if err := os.Rename(r.b.file(to), r.a.file(rel)); err == nil {
			r.owed[text] = was
		}
	}
}

func (r *meeting) deliver(rel, text string) {
	if r.a.find(text) != "" {
		return
	}
	if _, err := os.Lstat(r.a.file(rel)); err == nil {
		return
	}
	r.a.put(rel, text)
	r.owed[text] = r.a
}

// name adds lines to dovecot-keywords, atomically.
func (r *meeting) name(lines string) {
	have, _ := os.ReadFile(r.a.file("dovecot-keywords"))
	if r.ended != "" || strings.Contains(string(have), "\n1 ") {
		return
	}
	tmp := r.root + "/words"
	must(r.t, os.WriteFile(tmp, append(have, lines...), 0o600))
	must(r.t, os.Rename(tmp, r.a.file("dovecot-keywords")))
}

// beside removes uidlist, history or keywords, or replaces it by the file from.
func (r *meeting) beside(name, from string) {
	r.lists = true
	if from == "" {
		if err := os.Remove(r.a.file(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			r.t.Fatal(err)
		}
	} else if err := os.Rename(r.root+"/"+from, r.a.file(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		r.t.Fatal(err)
	}
}

// rewrite changes such a file, in place or by renaming a new one over it.
func (r *meeting) rewrite(name string, inPlace bool, change func(old string) string) {
	old, err := os.ReadFile(r.a.file(name))
	if err != nil {
		return
	}
	r.lists = true
	to := r.a.file(name)
	if !inPlace {
		to = r.root + "/rewritten"
	}
	must(r.t, os.WriteFile(to, []byte(change(string(old))), 0o600))
	if !inPlace {
		must(r.t, os.Rename(to, r.a.file(name)))
	}
}

// deliverByLink delivers as procmail does: for a moment the message has two names.
func (r *meeting) deliverByLink(rel, text string) {
	if _, err := os.Stat(r.a.file("tmp")); err != nil || r.a.find(text) != "" {
		return
	}
	tmp := r.a.file("tmp/link")
	must(r.t, os.WriteFile(tmp, []byte(text+"\n"), 0o600))
	if os.Link(tmp, r.a.file(rel)) == nil {
		r.owed[text] = r.a
	}
	must(r.t, os.Remove(tmp))
}

func keepList(r *meeting) {
	if list, err := os.ReadFile(r.a.file(uidlistName)); err == nil {
		must(r.t, os.WriteFile(r.root+"/list", list, 0o600))
	}
}

func (r *meeting) rename() {
	must(r.t, os.Rename(r.a.path, r.a.path+".old"))
	r.end(r.a.path + ".old")
}

func (r *meeting) end(where string) {
	if r.ended == "" {
		r.ended = where
	}
	if where == "removed" {
		for text, d := range r.owed {
			r.gone[text] = r.gone[text] || d == r.a
		}
	}
}

// process is another process that has the folder open.
type process struct {
	r   *meeting
	env *Env
	m   *Mailbox
	s   *session
}

func withProcess(r *meeting) {
	if r.proc != nil {
		return
	}
	p := &process{r: r, env: r.newEnv(false, false)}
	var err error
	if p.m, err = r.open(p.env, r.a, false); err != nil {
		r.fault("another process cannot open: %v", err)
		return
	}
	if p.s, err = r.connect(p.m, r.a, false); err != nil {
		r.fault("another process cannot select: %v", err)
		p.m.Close()
		return
	}
	r.proc = p
}

// process lets the other process do something, unless it would wait forever: our side, which
// holds the lock, is stopped. While the call of another goroutine waits for this, the lock
// may be just being created.
func (r *meeting) process(do func(p *process) error) {
	if _, err := os.Lstat(r.a.file(uidlistLock)); err == nil || r.locks || r.ended != "" {
		return
	}
	if withProcess(r); r.proc == nil {
		return
	}
	if err := do(r.proc); err != nil && !(r.odd && errors.Is(err, syscall.EISDIR)) {
		r.fault("another process: %v", err)
	}
}

func (p *process) close() {
	p.s.v.Close()
	p.m.Close()
}

func appendTo(m *Mailbox, flags filename.Flags, texts ...string) ([]uint32, error) {
	var all []*Incoming
	for _, text := range texts {
		in, err := m.NewIncoming(AppendOptions{Flags: flags})
		if err != nil {
			for _, one := range all {
				one.Abort()
			}
			return nil, err
		}
		all = append(all, in)
		_, _ = io.WriteString(in, text+"\r\n")
	}
	_, uids, err := m.Append(ctx, Taken{}, all...)
	return uids, err
}
