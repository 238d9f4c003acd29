package maildir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"maildird/maildir/folder"
	"maildird/maildir/mailbox"
	"maildird/maildir/metadata"
	"maildird/maildir/quota"
)

// world is the files of two users, alice and bob, and a directory that belongs to neither.
type world struct {
	*explorer
	outcome
	dir, root string // alice's
	quota     quota.Limit
	before    func(op, path string) error

	calls   int
	at      []string // the calls so far
	facts   map[uidFact]string
	outside string // the state of the directory that is not theirs, before the operation
	open    int    // number of files that this process had open
	blocked bool   // an action found a lock
	faults  []string
	gone    map[string]bool // users whose Maildir the action took away
	drops   int
	ctx     context.Context // nil: the test's
}

func (w *world) Context() context.Context {
	if w.ctx != nil {
		return w.ctx
	}
	return w.explorer.Context()
}

// uidFact is what somebody was told about a message's UID.
type uidFact struct {
	mailbox       string
	validity, uid uint32
}

// The folders of the template with their messages and UIDVALIDITY.
var templateFolders = []struct {
	name     string
	validity uint32
	messages []string
}{
	{"INBOX", 1700000001, []string{"i1", "i2"}},
	{"A", 1700000002, []string{"a1", "a2"}},
	{"A/B", 1700000003, []string{"b1"}},
	{"A/B/C", 1700000004, []string{"c1"}},
	{"D", 1700000005, []string{"d1", "d2"}},
}

const (
	counterFile  = "dovecot-uidvalidity.65540000"
	templateSubs = "V\t2\n\nINBOX\nA\nD\n"
)

func check(errs ...error) {
	if err := errors.Join(errs...); err != nil {
		panic(err)
	}
}

// makeTemplate writes the Maildirs with which every world starts.
func makeTemplate(x *explorer) {
	for _, user := range []string{"alice", "bob"} {
		w := &world{explorer: x, dir: x.template, root: filepath.Join(x.template, user)}
		number := 0
		for i, f := range templateFolders {
			if user == "bob" && i > 0 {
				break
			}
			w.mkfolder(f.name)
			list := fmt.Sprintf("3 V%d N%d G%032x\n", f.validity, len(f.messages)+1, int(f.validity))
			for uid, text := range f.messages {
				number++
				base := fmt.Sprintf("17000000%02d.M1P1.host", number)
				list += fmt.Sprintf("%d :%s\n", uid+1, base)
				check(os.WriteFile(w.path(f.name)+"/cur/"+base+":2,S", []byte("Subject: "+text+"\n\ntext\n"), 0o600))
			}
			check(os.WriteFile(w.path(f.name)+"/dovecot-uidlist", []byte(list), 0o600))
		}
		for name, text := range map[string]string{
			counterFile: "", "dovecot-uidvalidity": strings.TrimPrefix(counterFile, "dovecot-uidvalidity."),
			"subscriptions": templateSubs, "maildird-specialuse": "\\Junk D\n", "maildirsize": "1000000S\n160 8\n",
		} {
			check(os.WriteFile(filepath.Join(w.root, name), []byte(text), 0o600))
		}
		check(os.WriteFile(w.path("INBOX")+"/maildird-metadata-account", []byte("/shared/comment mine\n"), 0o600))
	}
	w := &world{explorer: x, dir: x.template, root: filepath.Join(x.template, "alice")}
	check(os.WriteFile(w.path("A")+"/maildird-metadata", []byte("/private/comment letters\n"), 0o600))
	w.root = filepath.Join(x.template, "outside")
	w.mkfolder("INBOX")
	check(os.WriteFile(w.root+"/new/1600000000.M1P1.host", []byte("Subject: secret\n\ntext\n"), 0o600))
}

// path returns the directory of a mailbox.
func (w *world) path(name string) string {
	switch {
	case name == "INBOX":
		return w.root
	case w.layout == folder.LayoutMaildirPP:
		return w.root + "/." + strings.ReplaceAll(name, "/", ".")
	}
	return w.root + "/" + name
}

// mkfolder creates a mailbox as mutt and Dovecot do.
func (w *world) mkfolder(name string) {
	dir := w.path(name)
	for _, sub := range []string{"tmp", "new", "cur"} {
		_ = os.MkdirAll(dir+"/"+sub, 0o700)
	}
	if w.layout == folder.LayoutMaildirPP && name != "INBOX" {
		_ = os.WriteFile(dir+"/maildirfolder", nil, 0o600)
	}
}

// drop adds a message to a mailbox as another program would.
func (w *world) drop(name, text string) {
	if st, err := os.Lstat(w.path(name)); err != nil || !st.IsDir() {
		return
	}
	w.drops++
	file := fmt.Sprintf("/new/18000000%02d.M1P1.other", w.drops)
	_ = os.WriteFile(w.path(name)+"/tmp/drop", []byte("Subject: "+text+"\n\ntext\n"), 0o600)
	if os.Rename(w.path(name)+"/tmp/drop", w.path(name)+file) != nil {
		_ = os.Remove(w.path(name) + "/tmp/drop")
	}
}

func (x *explorer) world(op operation) *world {
	w := &world{explorer: x, dir: x.place, facts: map[uidFact]string{}, gone: map[string]bool{}}
	w.root = filepath.Join(w.dir, "alice")
	check(os.RemoveAll(w.dir), os.CopyFS(w.dir, os.DirFS(x.template)))
	if op.fresh {
		check(os.RemoveAll(w.root))
	} else {
		for _, f := range templateFolders {
			for i, text := range f.messages {
				w.facts[uidFact{f.name, f.validity, uint32(i + 1)}] = text
			}
		}
	}
	w.age()
	w.outside, w.open = w.look("outside"), openFilesNow()
	return w
}

// age makes the files so old that nobody believes that a program is still working on them.
func (w *world) age() {
	old := time.Now().Add(-time.Hour)
	check(filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && (d.IsDir() || d.Type().IsRegular()) {
			err = os.Chtimes(path, old, old)
		}
		return err
	}))
}

// look describes the files of a directory, except for access times.
func (w *world) look(name string) string {
	var b strings.Builder
	check(filepath.WalkDir(filepath.Join(w.dir, name), func(path string, d fs.DirEntry, err error) error {
		check(err)
		st, err := os.Lstat(path)
		check(err)
		fmt.Fprintln(&b, path, st.Mode(), st.Size(), st.ModTime())
		return nil
	}))
	return b.String()
}

func (w *world) store() *Store {
	s := NewStore(Options{Host: "host.test", Log: quiet(), Idle: -1})
	check(s.env.Watcher.Close()) // the calls are the same each time
	return s
}

func (w *world) close(s *Store) { check(s.Close()) }

func (w *world) account(root string) AccountOptions {
	return AccountOptions{
		Root: root, Folder: folder.Options{Layout: w.layout, Separator: '/'}, Quota: w.quota, before: w.before,
		Defaults: []folder.Default{{Name: "Sent", SpecialUse: `\Sent`}, {Name: "Old/Sent"}},
	}
}

// second is another maildird process that does something, and does not wait for locks for
// long.
func (w *world) second(do func(w *world, a *Account) (string, error)) {
	patience := time.Minute
	if w.locked() {
		patience = 30 * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(w.Context(), patience)
	defer cancel()
	s := w.store()
	defer w.close(s)
	was := w.before
	w.before = nil
	defer func() { w.before = was }()
	a, err := s.Account(ctx, w.account(w.root))
	if err == nil {
		two := *w
		two.ctx = ctx
		_, err = do(&two, a)
		w.faults = append(w.faults, two.faults[len(w.faults):]...)
		a.Release()
	}
	w.blocked = w.blocked || class(err) == "INUSE"
	if class(err) == "ERROR" {
		w.fault("the second process: %v", err)
	}
}

// locked reports whether the operation holds a lock.
func (w *world) locked() (locked bool) {
	_ = filepath.WalkDir(w.root, func(path string, _ fs.DirEntry, err error) error {
		locked = locked || err == nil && strings.HasSuffix(path, ".lock")
		return nil
	})
	return locked
}

func (w *world) fault(format string, args ...any) {
	w.faults = append(w.faults, strings.ReplaceAll(fmt.Sprintf(format, args...), w.dir, ""))
}

// told records what somebody was told of a message.
func (w *world) told(mailbox string, validity, uid uint32, text string) {
	if text == "" {
		return
	}
	f := uidFact{mailbox, validity, uid}
	if was, known := w.facts[f]; known && was != text {
		w.fault("UID %d of %s with UIDVALIDITY %d is %s and was %s", uid, mailbox, validity, text, was)
	}
	w.facts[f] = text
}

// finish records the state of the world for a process that starts now, and what is left.
func (w *world) finish() {
	if now := openFilesNow(); now != w.open {
		w.fault("%d files were open and %d are", w.open, now)
	}
	if now := w.look("outside"); now != w.outside {
		w.fault("outside of the Maildir there are now\n%s", now)
	}
	left := w.leftovers()
	w.age()
	w.quota = quota.Limit{}
	s := w.store()
	w.state = w.shown(s) + left
	w.close(s)
	if w.runs%4 > 0 {
		return
	}
	// What arrives later gets no UID that anybody was told for something else.
	s = w.store()
	if a, err := s.Account(w.Context(), w.account(w.root)); err == nil {
		for i, name := range []string{"A", "A/B", "A/B/C", "D", "R", "R/B", "X/Y/Z", "Q"} {
			_ = a.Create(w.Context(), name, nil)
			w.drop(name, fmt.Sprint("later", i))
		}
		a.Release()
	}
	w.shown(s)
	w.close(s)
}

// shown returns what clients of a process see.
func (w *world) shown(s *Store) string {
	opt := w.account(w.root)
	opt.Existing = true
	a, err := s.Account(w.Context(), opt)
	if err != nil {
		return class(err) + " no Maildir\n"
	}
	defer a.Release()
	entries, err := a.Tree().List()
	if err != nil {
		return fmt.Sprintln("LIST", class(err), err)
	}
	var b strings.Builder
	for _, e := range entries {
		b.WriteString(listed(e))
		if !e.NoSelect {
			text, err := w.content(a, e.Name, false)
			fmt.Fprint(&b, ": ", class(err), " ", text)
			if set, err := w.annotations(a, e.Name); err == nil && len(set.Names()) > 0 {
				fmt.Fprint(&b, " ", set.Names())
			}
		}
		b.WriteString("\n")
	}
	subscribed, err := a.Tree().Subscriptions()
	fmt.Fprintln(&b, "subscribed", subscribed, class(err))
	if set, err := a.Metadata(w.Context(), ""); err == nil && len(set.Names()) > 0 {
		fmt.Fprintln(&b, "of the account", set.Names())
	}
	return b.String()
}

// annotations returns those of a mailbox that may have some.
func (w *world) annotations(a *Account, name string) (*metadata.Set, error) {
	if name != "A" && name != "D" && name != "R" {
		return &metadata.Set{}, nil
	}
	return a.Metadata(w.Context(), name)
}

func listed(e folder.Entry) string {
	marks := ""
	for _, m := range []struct {
		on   bool
		mark string
	}{{e.NoSelect, "N"}, {e.NonExistent, "X"}, {e.HasChildren, "C"}, {e.Subscribed, "S"}} {
		if m.on {
			marks += m.mark
		}
	}
	return strings.TrimSpace(e.Name + " " + marks + strings.Join(e.SpecialUse, ""))
}

// content opens a mailbox and returns its messages as the client of a view sees them, in the
// order of their UIDs, preceded by its UIDVALIDITY if the template has it.
func (w *world) content(a *Account, name string, readOnly bool) (string, error) {
	m, err := a.Open(w.Context(), name)
	if err != nil {
		return "", err
	}
	defer m.Release()
	v, err := m.NewView(w.Context(), readOnly, nil)
	if err != nil {
		return "", err
	}
	defer v.Close()
	words := []string{w.validity(v.UIDValidity())}
	var uids []uint32
	for msg := range v.Messages([]mailbox.Range{{First: 1, Last: ^uint32(0)}}, true) {
		text, err := textOf(v, msg)
		if err != nil {
			return strings.Join(words, " "), err
		}
		if text == "" {
			continue
		}
		w.told(name, v.UIDValidity(), msg.UID, text)
		uids = append(uids, msg.UID)
		words = append(words, text)
	}
	if !slices.IsSorted(uids) {
		w.fault("UIDs of %s are %v", name, uids)
	}
	return strings.Join(words, " "), nil
}

func (w *world) validity(n uint32) string {
	for _, f := range templateFolders {
		if f.validity == n {
			return "V of " + f.name
		}
	}
	return "new V"
}

// known are files that may be in a folder, and beside the folders.
var known = regexp.MustCompile(`^(dovecot-uidlist|dovecot-keywords|dovecot-uidvalidity(\.[0-9a-f]{8})?|subscriptions|maildirsize|maildirfolder|` +
	`maildird-(specialuse|metadata|metadata-account|history|urlauth))$`)

var random = regexp.MustCompile(`[0-9A-Z]{26}|[0-9a-f]{8}$|\d{10}\.M\d+P\d+(Q\d+|V[0-9a-fI]+)?`)

// leftovers returns files in alice's and bob's Maildirs that are neither mail nor lists.
func (w *world) leftovers() string {
	var found []string
	for _, user := range []string{"alice", "bob"} {
		top := filepath.Join(w.dir, user)
		_ = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return nil
			}
			part := filepath.Base(filepath.Dir(path))
			kind := "file"
			switch name := d.Name(); {
			case d.IsDir():
				if part != "tmp" && !strings.HasPrefix(name, "..") && !strings.Contains(name, "lock") {
					return nil
				}
				kind = "directory"
			case strings.HasSuffix(name, ".lock"):
				_ = os.Remove(path) // nobody shall wait for it
			case d.Type().IsRegular() && (known.MatchString(name) || part == "cur" || part == "new"):
				return nil
			case !d.Type().IsRegular():
				kind = d.Type().String()
			}
			found = append(found, fmt.Sprintf("left: %s %s\n", kind, random.ReplaceAllString(strings.TrimPrefix(path, w.dir+"/"), "*")))
			return nil
		})
	}
	slices.Sort(found)
	return strings.Join(found, "")
}
