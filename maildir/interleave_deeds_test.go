package maildir

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"maildird/maildir/backup"
	repair "maildird/maildir/check"
	"maildird/maildir/delivery"
	"maildird/maildir/dotlock"
	"maildird/maildir/folder"
	"maildird/maildir/metadata"
	"maildird/maildir/quota"
)

func create(name string, uses ...string) operation {
	return operation{name: strings.TrimSpace("create " + name + " " + strings.Join(uses, "")), do: func(w *world, a *Account) (string, error) {
		return "", a.Create(w.Context(), name, uses)
	}}
}

func remove(name string) operation {
	return operation{name: "delete " + name, moves: name, do: func(w *world, a *Account) (string, error) {
		return "", a.Delete(w.Context(), name)
	}}
}

func rename(from, to string) operation {
	return operation{name: "rename " + from + " to " + to, moves: from, do: func(w *world, a *Account) (string, error) {
		return "", a.Rename(w.Context(), from, to)
	}}
}

func subscribe(name string, on bool) operation {
	return operation{name: fmt.Sprint("subscribe ", name, " ", on), do: func(w *world, a *Account) (string, error) {
		return "", a.SetSubscribed(w.Context(), name, on)
	}}
}

func annotate(name, entry, value string) operation {
	return operation{name: "annotate " + name + " " + entry, do: func(w *world, a *Account) (string, error) {
		return "", a.SetMetadata(w.Context(), nil, name, []metadata.Change{{Name: entry, Value: value}})
	}}
}

// deliver delivers a message to all users together, or to each.
func deliver(each bool, users ...string) operation {
	return operation{name: fmt.Sprintf("deliver to %s (each: %t)", strings.Join(users, " and "), each), do: func(w *world, a *Account) (string, error) {
		var targets []delivery.Target
		for i, user := range users {
			of := a
			if user != "alice" {
				var err error
				opt := w.account(w.dir + "/" + user)
				if of, err = a.store.Account(w.Context(), opt); err != nil {
					return "", err
				}
				defer of.Release()
			}
			targets = append(targets, delivery.Target{Header: []byte(fmt.Sprintf("Delivered-To: %d\n", i)), Open: of.Inbox})
		}
		spool := delivery.NewSpool(targets, each, a.store.Delivery())
		defer spool.Abort()
		text := "mail"
		if w.ctx != nil { // of the second process
			text = "other mail"
		}
		if _, err := spool.Write([]byte("Subject: " + text + "\n\ntext\n")); err != nil {
			return "", err
		}
		var result []string
		for i, err := range spool.Commit() {
			result = append(result, users[i]+" "+class(err))
			if n := w.stored(users[i], text); err == nil && n != 1 || err != nil && n != 0 {
				if !(n == 0 && w.gone[users[i]]) {
					w.fault("%s has the message %d times, answer %v", users[i], n, err)
				}
			}
			if class(err) == "ERROR" {
				result = append(result, strings.ReplaceAll(err.Error(), w.dir, ""))
			}
		}
		return random.ReplaceAllString(strings.Join(result, "\n"), "*"), nil
	}}
}

// stored counts the messages in a user's INBOX that have a text.
func (w *world) stored(user, text string) (n int) {
	for _, sub := range []string{"new", "cur"} {
		names, _ := os.ReadDir(w.dir + "/" + user + "/" + sub)
		for _, name := range names {
			got, _ := os.ReadFile(w.dir + "/" + user + "/" + sub + "/" + name.Name())
			if subject(string(got)) == text {
				n++
			}
		}
	}
	return n
}

func with(op operation, change func(*operation)) operation {
	change(&op)
	return op
}

var operations = []operation{
	create("X/Y/Z"), create("A/N"), create("Q", `\Archive`),
	remove("A"), remove("A/B/C"), remove("D"),
	rename("A", "R"), rename("D", "A/E"), rename("D", "X/Y"), rename("INBOX", "Q"),
	{name: "list", do: func(_ *world, a *Account) (string, error) {
		entries, err := a.Tree().List()
		var lines []string
		for _, e := range entries {
			lines = append(lines, listed(e))
		}
		return strings.Join(lines, "\n"), err
	}},
	{name: "list with status", pieces: true, do: func(w *world, a *Account) (string, error) {
		entries, err := a.Tree().List()
		var lines []string
		for _, e := range entries {
			lines = append(lines, listed(e))
			if e.NoSelect {
				continue
			}
			if text, err := w.status(a, e.Name); class(err) != "REFUSED" {
				lines = append(lines, fmt.Sprint(e.Name, ": ", class(err), " ", text))
			}
		}
		return strings.Join(lines, "\n"), err
	}},
	{name: "status A", do: func(w *world, a *Account) (string, error) { return w.status(a, "A") }},
	{name: "select A", do: func(w *world, a *Account) (string, error) { return w.content(a, "A", false) }},
	{name: "examine A/B", do: func(w *world, a *Account) (string, error) { return w.content(a, "A/B", true) }},
	{name: "select INBOX", do: func(w *world, a *Account) (string, error) { return w.content(a, "INBOX", false) }},
	subscribe("X", true), subscribe("D", false),
	deliver(false, "alice"), deliver(false, "alice", "bob"), deliver(true, "alice", "bob"),
	with(deliver(true, "alice"), func(op *operation) {
		op.name, op.quota = "deliver with a quota", quota.Limit{Bytes: 100_000}
	}),
	with(deliver(true, "alice"), func(op *operation) { op.name, op.fresh = "deliver the first message", true }),
	{name: "usage", quota: quota.Limit{Bytes: 2_000_000}, do: func(_ *world, a *Account) (string, error) {
		_, err := a.Quota().Usage() // what comes or goes meanwhile is counted or not
		return "", err
	}},
	annotate("A", "/private/comment", "other"), annotate("", "/private/vendor/x", "y"), annotate("D", specialUseEntry, `\Trash`),
	{name: "read annotations of A", do: func(w *world, a *Account) (string, error) {
		set, err := a.Metadata(w.Context(), "A")
		if err != nil {
			return "", err
		}
		return fmt.Sprint(set.Names()), nil
	}},
	{name: "make the access key of A", do: func(_ *world, a *Account) (string, error) {
		key, err := a.MakeAccessKey("A")
		return fmt.Sprint(len(key)), err
	}},
	{name: "renew the access key of A", do: func(w *world, a *Account) (string, error) {
		return "", a.NewAccessKey(w.Context(), "A")
	}},
	{name: "remove access keys", do: func(_ *world, a *Account) (string, error) { return "", a.RemoveAccessKeys() }},
}

func (w *world) status(a *Account, name string) (string, error) {
	m, err := a.Open(w.Context(), name)
	if err != nil {
		return "", err
	}
	defer m.Release()
	st, err := m.Status(w.Context(), true, w.Context().Err)
	if err != nil {
		return "", err
	}
	return fmt.Sprint(st.Messages, " ", w.validity(st.UIDValidity)), nil
}

// subtree returns the directories to move or remove for a mailbox and those below it.
func (w *world) subtree(name string) []string {
	if w.layout == folder.LayoutFS {
		return []string{w.path(name)}
	}
	names, _ := os.ReadDir(w.root)
	var dirs []string
	for _, n := range names {
		if path := w.root + "/" + n.Name(); path == w.path(name) || strings.HasPrefix(path, w.path(name)+".") {
			dirs = append(dirs, path)
		}
	}
	return dirs
}

func (w *world) removeFolder(name string) {
	for _, dir := range w.subtree(name) {
		_ = os.RemoveAll(dir)
	}
}

func (w *world) moveFolder(from, to string) {
	for _, dir := range w.subtree(from) {
		_ = os.Rename(dir, w.path(to)+strings.TrimPrefix(dir, w.path(from)))
	}
}

// aside moves a path out of the way.
func (w *world) aside(path string) { _ = os.Rename(path, w.dir+"/aside") }

func (w *world) write(name, text string) {
	_ = os.WriteFile(w.root+"/"+name+".new", []byte(text), 0o600)
	_ = os.Rename(w.root+"/"+name+".new", w.root+"/"+name)
}

func removes(name string) action {
	return action{name: "rm -r " + name, do: func(w *world) { w.removeFolder(name) }}
}

func moves(from, to string) action {
	return action{name: "mv " + from + " " + to, do: func(w *world) { w.moveFolder(from, to) }}
}

func makes(name string) action {
	return action{name: "mutt makes " + name, do: func(w *world) { w.mkfolder(name) }}
}

func links(name string) action {
	return action{name: name + " becomes a symbolic link", do: func(w *world) {
		w.aside(w.path(name))
		_ = os.Symlink(w.dir+"/outside", w.path(name))
	}}
}

func becomesFile(name string) action {
	return action{name: name + " becomes a file", do: func(w *world) {
		w.aside(w.path(name))
		_ = os.WriteFile(w.path(name), nil, 0o600)
	}}
}

func removesFile(name string) action {
	return action{name: "rm " + name, do: func(w *world) { _ = os.RemoveAll(w.root + "/" + name) }}
}

// lost marks an action that may be undone by a program that has read the file and replaces
// it.
func lost(a action) action {
	a.lost = true
	return a
}

// refuses marks an action that removes a directory in which the operation is at work: a
// sender may have to try again, and a client may be told that the mailbox is gone.
func refuses(a action) action {
	a.refuses = true
	return a
}

var anyValidity = regexp.MustCompile(`new V|V of \S+`)

// renumbers marks an action after which a process that knows a mailbox may keep its
// UIDVALIDITY, and another one assigns a new one.
func renumbers(a action) action {
	a.loose = func(text string) string { return anyValidity.ReplaceAllString(text, "V") }
	return a
}

var anyUse = regexp.MustCompile(` ?\\[A-Z][a-z]+| ?\[/private/specialuse\]`)

func again(op operation) action {
	return action{
		name: "maildird: " + op.name, do: func(w *world) {
			first := w.quota
			w.quota = cmp.Or(op.quota, first)
			w.second(op.do)
			w.quota = first
		},
		loose: func(text string) string { return anyUse.ReplaceAllString(text, "") }, // a change of its own
	}
}

// tool is one of maildird's commands that an administrator runs on a Maildir in use. It
// does not wait for locks for long.
func tool(name string, run func(ctx context.Context, w *world) error) action {
	return action{name: "maildird: " + name, do: func(w *world) {
		patience := time.Minute
		if w.locked() {
			patience = 30 * time.Millisecond
		}
		ctx, cancel := context.WithTimeout(w.Context(), patience)
		defer cancel()
		err := run(ctx, w)
		w.blocked = w.blocked || class(err) == "INUSE"
		if class(err) == "ERROR" && !errors.Is(err, repair.ErrNoMaildir) && !errors.Is(err, backup.ErrNoMaildir) {
			w.fault("%s: %v", name, err)
		}
	}}
}

var programs = []action{
	tool("check --repair", func(ctx context.Context, w *world) error {
		_, err := repair.Run(ctx, repair.Options{
			Root: w.root, Folder: w.account(w.root).Folder, Repair: true, Locker: dotlock.NewLocker("host.test"),
			Delivery: &delivery.Options{Host: "host.test", PID: os.Getpid(), Now: time.Now}, Tell: func(repair.Finding) {},
		})
		return err
	}),
	tool("backup", func(ctx context.Context, w *world) error {
		_, err := backup.Take(ctx, backup.Options{Root: w.root, Dest: w.dir + "/snapshots", Locker: dotlock.NewLocker("host.test")})
		return err
	}),
	removes("A"), removes("A/B"), removes("A/B/C"), removes("D"),
	moves("A", "R"), moves("A/B", "R"), moves("D", "A/E"), moves("D", "Q"),
	makes("X"), makes("X/Y"), makes("X/Y/Z"), makes("A/N"), makes("A/E"), makes("R"), makes("R/B"), makes("Q"),
	links("A"), links("A/B"), links("D"), links("R"), links("X"), links("Q"), links("A/cur"),
	becomesFile("A"), becomesFile("R"), becomesFile("D"), becomesFile("Q"),
	{name: "another A", do: func(w *world) {
		w.aside(w.path("A"))
		w.mkfolder("A")
		w.drop("A", "else")
	}},
	{name: "A is put back from a copy", do: func(w *world) {
		copied := filepath.Join(w.template, strings.TrimPrefix(w.path("A"), w.dir))
		_ = os.CopyFS(w.dir+"/copy", os.DirFS(copied))
		w.aside(w.path("A"))
		_ = os.Rename(w.dir+"/copy", w.path("A"))
	}},
	refuses(action{name: "rm tmp of A", do: func(w *world) { _ = os.RemoveAll(w.path("A") + "/tmp") }}),
	refuses(action{name: "rm cur of A", do: func(w *world) { _ = os.RemoveAll(w.path("A") + "/cur") }}),
	renumbers(action{name: "rm uidlist of A", do: func(w *world) { _ = os.Remove(w.path("A") + "/dovecot-uidlist") }}),
	{name: "rm a message in A", do: func(w *world) { _ = os.Remove(w.path("A") + "/cur/1700000003.M1P1.host:2,S") }},
	{name: "new message in A", do: func(w *world) { w.drop("A", "extra") }},
	{name: "new message in D", do: func(w *world) { w.drop("D", "extra") }},
	refuses(action{name: "rm tmp of INBOX", do: func(w *world) { _ = os.RemoveAll(w.root + "/tmp") }}),
	refuses(action{name: "make tmp of INBOX anew", do: func(w *world) {
		_ = os.RemoveAll(w.root + "/tmp")
		_ = os.Mkdir(w.root+"/tmp", 0o700)
	}}),
	refuses(action{name: "rm new of INBOX", do: func(w *world) {
		_ = os.RemoveAll(w.root + "/new")
		w.gone["alice"] = true
	}}),
	{name: "rm a message in INBOX", do: func(w *world) { _ = os.Remove(w.root + "/cur/1700000001.M1P1.host:2,S") }},
	{name: "new message in INBOX", do: func(w *world) { w.drop("INBOX", "extra") }},
	{name: "a client reads INBOX's new mail", do: func(w *world) {
		names, _ := os.ReadDir(w.root + "/new")
		for _, n := range names {
			_ = os.Rename(w.root+"/new/"+n.Name(), w.root+"/cur/"+n.Name()+":2,S")
		}
	}},
	lost(removesFile("subscriptions")), removesFile("dovecot-uidvalidity"), removesFile(counterFile), lost(removesFile("maildirsize")),
	lost(removesFile("maildird-specialuse")), renumbers(removesFile("dovecot-uidlist")), removesFile("mailboxes.lock"), lost(removesFile("maildird-metadata-account")),
	lost(action{name: "other subscriptions", do: func(w *world) { w.write("subscriptions", "V\t2\n\nINBOX\nQ\n") }}),
	lost(action{name: "subscriptions become a link", do: func(w *world) {
		_ = os.Remove(w.root + "/subscriptions")
		_ = os.Symlink(w.dir+"/outside/new/1600000000.M1P1.host", w.root+"/subscriptions")
	}}),
	{name: "Dovecot takes a UIDVALIDITY", do: func(w *world) {
		_ = os.Rename(w.root+"/"+counterFile, w.root+"/dovecot-uidvalidity.65540001")
	}},
	lost(action{name: "other maildirsize", do: func(w *world) { w.write("maildirsize", "1000000S\n200 8\n") }}),
	lost(action{name: "maildirsize becomes a link", do: func(w *world) {
		_ = os.Remove(w.root + "/maildirsize")
		_ = os.Symlink(w.dir+"/outside/new/1600000000.M1P1.host", w.root+"/maildirsize")
	}}),
	{name: "the Maildir is moved away", do: func(w *world) {
		w.aside(w.root)
		w.gone["alice"] = true
	}},
	{name: "somebody makes the Maildir", do: func(w *world) { w.mkfolder("INBOX") }},
}

// others are what another program does, or a second maildird, which does all that the
// first one does.
var others = func() []action {
	all := slices.Clone(programs)
	for _, op := range append(slices.Clone(operations), rename("D", "Q")) {
		if op.name != "rename INBOX to Q" { // Q stays if the mail finds a lock
			all = append(all, again(op))
		}
	}
	return all
}()
