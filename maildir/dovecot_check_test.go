package maildir

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"maildird/scripts/rig/doveimap"
)

// agreed is how long the two servers may take to agree, on a slow and busy machine. Dovecot rereads a
// directory only when more than a second has passed since a change that its last look may have missed.
const agreed = time.Minute

// check compares the answers of both servers with each other and with what was acknowledged.
func (w *dovecotWorld) check(deed dovecotDeed) {
	var ours, theirs map[string][]string
	for end := time.Now().Add(agreed); ; time.Sleep(100 * time.Millisecond) {
		ours, theirs = w.weTell(), w.dovecotTells()
		if fmt.Sprint(ours) == fmt.Sprint(theirs) && fmt.Sprint(w.weTell()) == fmt.Sprint(ours) {
			break
		}
		if time.Now().After(end) {
			w.fault("we say\n    %s\nDovecot says\n    %s", shown(ours), shown(theirs))
			break
		}
	}
	w.sessions(ours)
	w.promises(ours)
	w.folders(ours)
	w.counted()
	for line := range strings.Lines(w.at.Log()) {
		if w.moved && !strings.Contains(line, "Panic:") { // Dovecot complains of its own renames as well
			continue
		}
		if strings.Contains(line, "Error:") || strings.Contains(line, "Warning:") || strings.Contains(line, "Panic:") || strings.Contains(line, "Fatal:") {
			w.fault("Dovecot logs %s", strings.TrimSpace(line))
		}
	}
	check(filepath.WalkDir(w.root, func(path string, d os.DirEntry, err error) error {
		part := filepath.Base(filepath.Dir(path))
		if err == nil && (strings.HasSuffix(path, ".lock") && d.Name() != "mailboxes.lock" || part == "tmp" || strings.HasPrefix(d.Name(), "dovecot-uidlist.") || strings.HasPrefix(d.Name(), ".temp")) {
			w.fault("%s is left", path)
		}
		return nil
	}))
}

func shown(told map[string][]string) string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(told)) {
		lines = append(lines, name+": "+strings.Join(told[name], "; "))
	}
	return strings.Join(lines, "\n    ")
}

// weTell returns what a maildird process that starts now reports of each mailbox.
func (w *dovecotWorld) weTell() map[string][]string {
	told := map[string][]string{}
	s := w.newStore(false)
	a, err := s.Account(w.Context(), w.account(nil))
	check(err)
	for _, name := range w.mailboxes() {
		two := &dovecotWorld{dovecotExplorer: w.dovecotExplorer, how: w.how, a: a, facts: map[dovecotFact]string{}}
		one, err := two.session(name)
		if err != nil {
			told[name] = []string{err.Error()}
			continue
		}
		told[name] = append([]string{fmt.Sprint("V", one.v.UIDValidity(), " N", one.v.UIDNext())}, two.list(one)...)
		for f, text := range two.facts {
			w.tell(f.validity, f.uid, text)
		}
		for _, fault := range two.faults {
			w.fault("a new process: %s", fault)
		}
		one.close()
	}
	a.Release()
	check(s.Close())
	return told
}

// dovecotTells returns what Dovecot reports of each mailbox on a new connection.
func (w *dovecotWorld) dovecotTells() map[string][]string {
	told := map[string][]string{}
	d := doveimap.Start(w.T, w.root)
	defer d.Kill()
	for _, name := range w.mailboxes() {
		st := d.Status(name)
		validity, lines := w.learn(d, name, d.Do("EXAMINE "+name))
		told[name] = append([]string{fmt.Sprint("V", validity, " N", st.UIDNext)}, lines...)
	}
	return told
}

// sessions compares the sessions that had A open all the time with new ones.
func (w *dovecotWorld) sessions(now map[string][]string) {
	want, there := now["A"]
	if w.main != nil && there && !w.ended["A"] && w.main.v.UIDValidity() == w.validityA() {
		for range 2 {
			if err := w.poll(); err != nil {
				w.fault("Poll of the session: %v", err)
				return
			}
		}
		got := append([]string{fmt.Sprint("V", w.main.v.UIDValidity(), " N", w.main.v.UIDNext())}, w.list(w.main)...)
		if !slices.Equal(got, want) && strings.HasPrefix(want[0], fmt.Sprint("V", w.validityA(), " ")) {
			w.fault("our session says\n    %s\na new one\n    %s", strings.Join(got, "; "), strings.Join(want, "; "))
		}
	}
	if _, status := w.at.Ask("NOOP"); there && status != "" {
		untagged, _ := w.at.Ask("STATUS A (UIDVALIDITY)")
		w.said = append(w.said, untagged...)
	}
}

// promises checks that everything that was acknowledged exists.
func (w *dovecotWorld) promises(now map[string][]string) {
	validities := map[uint32][]string{}
	for _, lines := range now {
		var v, n uint32
		if _, err := fmt.Sscanf(lines[0], "V%d N%d", &v, &n); err != nil {
			w.fault("%s", lines[0])
			continue
		}
		validities[v] = lines[1:]
	}
	for f, text := range w.facts {
		if w.removed[f] || w.dropped[f.validity] {
			continue
		}
		lines, there := validities[f.validity]
		if !there {
			w.fault("UIDVALIDITY %d of %s is not there any more: %v", f.validity, text, shown(now))
			continue
		}
		i := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, fmt.Sprint(f.uid, " ", text, " [")) })
		if i < 0 {
			w.fault("UID %d of %d, which is %s, is lost: %s", f.uid, f.validity, text, shown(now))
			continue
		}
		if w.loose[f] {
			continue
		}
		_, flags, _ := strings.Cut(strings.TrimSuffix(lines[i], "]"), "[")
		for name := range w.need[f] {
			if !slices.Contains(strings.Fields(flags), name) {
				w.fault("%s lost %s: %s", text, name, shown(now))
			}
		}
	}
}
