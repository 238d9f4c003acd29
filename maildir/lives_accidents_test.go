package maildir

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"maildird/maildir/backup"
	"maildird/maildir/dotlock"
	"maildird/scripts/rig"
	"maildird/scripts/rig/doveimap"
)

// changeFolders makes a client create, rename or remove a folder.
func (w *lives) changeFolders() (delta map[string]int) {
	a := w.account(w.rng.IntN(2))
	defer a.Release()
	name := w.other()
	switch {
	case name == "" || len(w.folders) < 3 || len(w.folders) < 7 && w.rng.IntN(2) == 0:
		name = w.freshName()
		w.did("CREATE %s", name)
		w.must(a.Create(context.Background(), name, nil))
		w.folders[name] = newLineage()
	case w.rng.IntN(2) == 0:
		to := w.freshName()
		w.did("RENAME %s %s", name, to)
		w.must(a.Rename(context.Background(), name, to))
		w.folders[to] = w.folders[name]
		delete(w.folders, name)
		w.own()
	default:
		w.did("DELETE %s", name)
		delta = map[string]int{}
		for _, f := range w.files(name) {
			delta[f.content]--
		}
		w.must(a.Delete(context.Background(), name))
		delete(w.folders, name)
	}
	w.settled()
	return delta
}

func (w *lives) own() { w.must(rig.Own(w.root)) }

// moveFolders does the same with mv, cp -a and rm -rf.
func (w *lives) moveFolders() {
	from := w.other()
	if from == "" {
		return
	}
	to := w.freshName()
	switch w.rng.IntN(4) {
	case 0:
		w.did("mv folder %s %s", from, to)
		w.must(os.Rename(w.path(from), w.path(to)))
		w.folders[to] = w.folders[from]
		delete(w.folders, from)
	case 1:
		w.did("cp -a folder %s %s", from, to)
		w.run("cp", "-a", w.path(from), w.path(to))
		w.folders[to] = w.folders[from].clone()
	case 2:
		w.did("rm -rf folder %s", from)
		w.must(os.RemoveAll(w.path(from)))
		delete(w.folders, from)
	case 3: // two folders take each other's names
		other := w.other()
		if other == from {
			return
		}
		w.did("swap folders %s %s", from, other)
		w.must(os.Rename(w.path(from), w.path(to)))
		w.must(os.Rename(w.path(other), w.path(from)))
		w.must(os.Rename(w.path(to), w.path(other)))
		w.folders[from], w.folders[other] = w.folders[other], w.folders[from]
	}
	w.settled()
}

// restart replaces a process by a new one, for which the cache may have been deleted.
func (w *lives) restart() {
	i := w.rng.IntN(2)
	w.did("restart %d", i)
	w.end(i)
	if w.rng.IntN(3) == 0 {
		w.did("no cache")
		w.end(1 - i)
		w.must(os.RemoveAll(w.caches))
		w.must(os.Mkdir(w.caches, 0o700))
		w.begin(1 - i)
	}
	w.begin(i)
}

// lose removes a file that servers keep beside the mail, or restores an old state of it.
func (w *lives) lose() {
	name := w.anyFolder()
	dir := w.path(name)
	history := filepath.Join(dir, "maildird-history")
	list := filepath.Join(dir, "dovecot-uidlist")
	words := filepath.Join(dir, "dovecot-keywords")
	switch w.rng.IntN(6) {
	case 0:
		w.did("rm %s", history)
		_ = os.Remove(history)
		w.folders[name].blind = true
	case 1, 2: // an old one comes back, now or in a later step
		if _, err := os.Stat(history + ".old"); err == nil {
			w.did("an old %s", history)
			w.run("cp", "-p", history+".old", history)
			w.must(os.Remove(history + ".old"))
			w.folders[name].blind = true
		} else if _, err := os.Stat(history); err == nil {
			w.did("keep %s", history)
			w.run("cp", "-p", history, history+".old")
			past := time.Now().Add(-time.Minute)
			w.must(os.Chtimes(history+".old", past, past)) // as if it were a backup of yesterday's
		}
	case 3:
		if w.dovecot {
			return // Dovecot would reuse UIDs that it does not know were assigned
		}
		// Two lives that start from one snapshot, and know nothing of each other, assign
		// the same UIDVALIDITY to a list that is lost in both.
		l := w.folders[name]
		if l.lost != 0 && l.lost != w.life {
			return
		}
		l.lost = w.life
		// What one process assigned and the other has not read is only in the list.
		w.end(1)
		if w.rng.IntN(2) == 0 {
			w.end(0)
			defer w.begin(0)
		} else {
			w.look(name)
		}
		defer w.begin(1)
		w.did("rm %s", list)
		_ = os.Remove(list)
		_ = os.Remove(list + ".old") // of another UIDVALIDITY than the next one
		l.newUIDs = true
	case 4:
		if w.dovecot || w.folders[name].blind {
			return // nothing tells which UIDs it does not know
		}
		if _, err := os.Stat(list + ".old"); err == nil {
			w.did("an old %s", list)
			w.must(os.Rename(list+".old", list))
		} else if _, err := os.Stat(list); err == nil {
			w.did("keep %s", list)
			w.run("cp", "-p", list, list+".old")
		}
	case 5:
		if w.dovecot {
			return
		}
		order := w.rng.Perm(3)
		w.did("other words %v in %s", order, name)
		text := ""
		for i, k := range order[:w.rng.IntN(4)] {
			text += fmt.Sprintf("%d word%d\n", i, k)
		}
		w.must(os.WriteFile(words+".new", []byte(text), 0o600))
		w.must(os.Rename(words+".new", words))
		w.n++ // processes only look if there is new mail
		w.put(filepath.Join(dir, "new", fmt.Sprintf("17%08d.M%dP1.other", w.n, w.n)), fmt.Sprint("m", w.n))
	}
}

// backUp makes a snapshot, or restores it while no process runs.
func (w *lives) backUp() {
	if w.latest == "" || w.rng.IntN(2) == 0 {
		r, err := backup.Take(context.Background(), backup.Options{Root: w.root, Dest: w.backups, Locker: dotlock.NewLocker("")})
		w.must(err)
		w.did("backup: %d messages, %s", r.Messages, r.Notes)
		w.latest, w.then = r.Path, maps.Clone(w.folders)
		return
	}
	for i := range w.stores {
		w.end(i)
	}
	w.age(w.latest)
	w.life++
	if w.rng.IntN(2) == 0 {
		w.did("restore")
		w.must(os.RemoveAll(w.root))
		w.run("cp", "-a", "--no-preserve=links", w.latest, w.root)
		w.folders = maps.Clone(w.then)
	} else {
		w.did("restore over what there is")
		w.run("cp", "-a", "--remove-destination", w.latest+"/.", w.root)
		before := maps.Clone(w.folders)
		for name, l := range w.then {
			for now, other := range before {
				if other == l && now != name { // it still exists under another name
					l = l.clone()
					break
				}
			}
			w.folders[name] = l
		}
	}
	for name, l := range w.folders {
		l.blind = true
		for _, old := range []string{"dovecot-uidlist.old", "maildird-history.old"} {
			_ = os.Remove(filepath.Join(w.path(name), old))
		}
	}
	for _, l := range w.then { // messages that came without a UID
		l.newUIDs = l.newUIDs || len(l.next) == 0
		clear(l.next) // UIDVALIDITY may be an older one again
	}
	w.own()
	for i := range w.stores {
		w.begin(i)
	}
}

// age makes a snapshot look some hours older, as between two restores.
func (w *lives) age(snapshot string) {
	mark := regexp.MustCompile(`^(3 .* T)(\d+)`)
	w.must(filepath.WalkDir(snapshot, func(path string, _ os.DirEntry, err error) error {
		if err != nil || filepath.Base(path) != "dovecot-uidlist" {
			return err
		}
		text, err := os.ReadFile(path)
		w.must(err)
		m := mark.FindSubmatch(text)
		if m == nil {
			return fmt.Errorf("%s has no mark", path)
		}
		at, err := strconv.Atoi(string(m[2]))
		w.must(err)
		return os.WriteFile(path, fmt.Appendf(nil, "%s%d%s", m[1], at-3*3600, text[len(m[0]):]), 0o600)
	}))
}

// askDovecot compares what Dovecot says of a folder, and makes it change something.
func (w *lives) askDovecot() {
	name := w.anyFolder()
	a := w.account(0) // what has a base of others first gets one of its own
	for other := range w.folders {
		m, err := a.Open(context.Background(), other)
		w.must(err)
		w.must(m.Poll(context.Background()))
		m.Release()
	}
	a.Release()
	w.own()
	s := doveimap.Start(w.t, w.root)
	defer s.Close()
	w.did("Dovecot: %s", name)
	s.Do(`SELECT "` + name + `"`)
	lin := w.folders[name]
	validity := s.Status(`"` + name + `"`).UIDValidity
	for _, m := range s.Messages() {
		lin.note(w.t, "Dovecot", told{validity, m.UID}, m.Subject)
	}
	msgs := s.Messages()
	if len(msgs) == 0 {
		return
	}
	m := msgs[w.rng.IntN(len(msgs))]
	switch w.rng.IntN(3) {
	case 0:
		w.did("Dovecot: STORE %d", m.UID)
		s.Do(fmt.Sprintf(`UID STORE %d +FLAGS (\Flagged word%d)`, m.UID, w.rng.IntN(3)))
	case 1:
		w.did("Dovecot: EXPUNGE %d", m.UID)
		s.Do(fmt.Sprintf(`UID STORE %d +FLAGS.SILENT (\Deleted)`, m.UID))
		s.Do(fmt.Sprintf(`UID EXPUNGE %d`, m.UID))
	case 2:
		w.did("Dovecot: MOVE %d to INBOX", m.UID)
		s.Do(fmt.Sprintf(`UID MOVE %d INBOX`, m.UID))
	}
}
