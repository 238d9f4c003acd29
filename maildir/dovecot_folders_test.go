package maildir

import (
	"errors"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"maildird/maildir/folder"
	"maildird/maildir/mailbox"
)

// dovecotFolders is what clients were told about the folders.
type dovecotFolders struct {
	ended    map[string]bool     // mailboxes that were deleted
	dropped  map[uint32]bool     // their UIDVALIDITY
	renamed  map[string]string   // new names of mailboxes, by the old one
	homes    map[string][]string // mailboxes that a message was in, by its text
	expunged map[string]bool     // texts of messages that may be removed for good
}

func newDovecotFolders() dovecotFolders {
	f := dovecotFolders{ended: map[string]bool{}, dropped: map[uint32]bool{}, renamed: map[string]string{}, homes: map[string][]string{}, expunged: map[string]bool{}}
	for name, messages := range dovecotTemplate {
		for _, m := range messages {
			f.homes[m.text] = []string{name}
		}
	}
	for _, text := range []string{"two", "word", "too"} { // they are copied and moved
		f.homes[text] = []string{"A", "B"}
	}
	return f
}

// drop calls remove, which removes a mailbox, and records that if it succeeds.
func (w *dovecotWorld) drop(name string, remove func() (done bool)) {
	text, err := os.ReadFile(w.path(name) + "/dovecot-uidlist")
	if !remove() || err != nil {
		return
	}
	m := regexp.MustCompile(`V(\d+)`).FindStringSubmatch(string(text))
	n, err := strconv.ParseUint(m[1], 10, 32)
	check(err)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended[name] = true
	w.dropped[uint32(n)] = true
}

// weDelete is DELETE by maildird.
func (w *dovecotWorld) weDelete(name string) (err error) {
	w.drop(name, func() bool {
		err = w.a.Delete(w.Context(), name)
		return err == nil || errors.Is(err, folder.ErrLeftover)
	})
	return err
}

func (w *dovecotWorld) weRename(from, to string) error {
	err := w.a.Rename(w.Context(), from, to)
	if err == nil {
		w.mu.Lock()
		w.renamed[from] = to
		w.mu.Unlock()
	}
	return err
}

// deletesTheir is DELETE by Dovecot, in a session that has another mailbox selected.
func deletesTheir(name string, d func(w *dovecotWorld) *doveSession) dovecotDeed {
	return dovecotDeed{name: "DELETE " + name, folders: true, removes: true, do: func(w *dovecotWorld) {
		w.drop(name, func() bool {
			_, ok := w.ask(d(w), "DELETE "+name)
			return ok
		})
	}}
}

func renamesTheir(title, from, to string, d func(w *dovecotWorld) *doveSession) dovecotDeed {
	return dovecotDeed{name: title, folders: true, makes: true, do: func(w *dovecotWorld) {
		if _, ok := w.ask(d(w), "RENAME "+from+" "+to); ok {
			w.mu.Lock()
			w.renamed[from] = to
			w.mu.Unlock()
		}
	}}
}

// purge records that the messages with these texts may be removed for good.
func (w *dovecotWorld) purge(texts ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, text := range texts {
		w.expunged[text] = true
	}
}

// follow returns the name of a mailbox after one above it was renamed.
func (w *dovecotWorld) follow(name string) string {
	for from, to := range w.renamed {
		if below, ok := strings.CutPrefix(name, from+"/"); ok {
			return to + "/" + below
		}
	}
	return name
}

// folders compares the tree with what clients were told about it.
func (w *dovecotWorld) folders(told map[string][]string) {
	names := w.mailboxes()
	there := func(name string) bool { return slices.Contains(names, name) }
	// If the directory of A still exists, or is created again for a folder below it, the
	// session of Dovecot that has A selected makes it a mailbox again.
	again := func(name string) bool { return name == "A" && w.how.layout == folder.LayoutFS && there("A") }
	for name := range w.ended {
		if there(name) && !again(name) {
			w.fault("%s was deleted and is there: %v", name, names)
		}
	}
	for from, to := range w.renamed {
		if w.ended[from] { // only those below it were renamed
			continue
		}
		if there(from) && !again(from) || !there(to) && !there(w.follow(to)) {
			w.fault("%s was renamed to %s: %v", from, to, names)
		}
	}
	all := shown(told)
	for text, homes := range w.homes {
		gone := slices.ContainsFunc(homes, func(name string) bool { return w.ended[name] })
		if !gone && !w.expunged[text] && !strings.Contains(all, " "+text+" [") {
			w.fault("%s is lost: %s", text, all)
		}
	}
	if w.main != nil && !there("A") {
		w.main.Mailbox.NameChanged()
		if err := w.poll(); !errors.Is(err, mailbox.ErrReplaced) {
			w.fault("A is gone, and Poll of its session gives %v", err)
		}
	}
}
