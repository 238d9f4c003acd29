package coexist

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"maildird/scripts/rig"
)

// Mutt runs mutt on the folders of a site, with keys that are typed ahead.
type Mutt struct {
	home  string
	links map[string]string // a path without spaces for each folder
}

const muttrc = `set folder=%s
set mbox_type=Maildir
set quit=yes
set delete=yes
set move=no
set mark_old=%s
set maildir_trash=no
set confirmappend=no
set confirmcreate=no
set sleep_time=0
set wait_key=no
set sort=mailbox-order
set auto_tag=no
`

// NewMutt writes the configuration for mutt.
func NewMutt(s *Site, tree *Tree, name string) (*Mutt, error) {
	m := &Mutt{home: filepath.Join(s.Dir(), name), links: map[string]string{}}
	if err := os.Mkdir(m.home, 0o755); err != nil {
		return nil, err
	}
	n := 0
	for folder, dir := range tree.dirs {
		n++
		m.links[folder] = filepath.Join(m.home, fmt.Sprintf("folder%d", n))
		if err := os.Symlink(dir, m.links[folder]); err != nil {
			return nil, err
		}
	}
	for _, old := range []string{"yes", "no"} {
		if err := os.WriteFile(filepath.Join(m.home, "rc-"+old), fmt.Appendf(nil, muttrc, m.home, old), 0o644); err != nil {
			return nil, err
		}
	}
	return m, rig.Own(m.home)
}

// Run opens a folder and types keys in mutt's notation. With markOld, mutt moves unread mail to
// cur/ when it quits.
func (m *Mutt) Run(folder, keys string, markOld bool) error {
	rc := "rc-no"
	if markOld {
		rc = "rc-yes"
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "mutt", "-n", "-F", filepath.Join(m.home, rc), "-f", m.links[folder], "-e", `push "`+keys+`"`)
	rig.Prepare(cmd, m.home)
	painted, err := onTerminal(cmd, "\ax") // cancel; exit
	if err != nil {
		return fmt.Errorf("mutt %q: %w: %q", keys, errors.Join(err, ctx.Err()), tailOf(painted, 2000))
	}
	return nil
}

// muttActor is a user who sometimes reads with mutt.
type muttActor struct {
	name    string
	mutt    *Mutt
	tree    *Tree
	ledger  *Ledger
	folders []string
}

// NewMuttActor returns an actor that runs mutt.
func NewMuttActor(name string, s *Site, l *Ledger, folders []string) (Actor, error) {
	a := &muttActor{name: name, tree: NewTree(s, folders), ledger: l, folders: folders}
	var err error
	a.mutt, err = NewMutt(s, a.tree, name)
	return a, err
}

func (a *muttActor) Name() string { return a.name }
func (a *muttActor) Close()       {}

var muttSteps = []weight{{"open and quit", 10}, {"flag", 20}, {"save", 20}, {"copy", 8}, {"delete", 10}}

// tagged returns keys that do something with one message, if it exists.
func tagged(id, keys string) string {
	return "<tag-pattern>=i " + id + "<enter><tag-prefix-cond>" + keys + "<end-cond>"
}

// Step implements Actor.
func (a *muttActor) Step(rng *rand.Rand) (string, error) {
	what := pick(rng, muttSteps)
	folder := a.folders[rng.IntN(len(a.folders))]
	markOld := rng.IntN(2) == 0
	if what == "open and quit" {
		return what, a.mutt.Run(folder, "<exit>", markOld)
	}
	files, err := a.tree.list(folder)
	if err != nil || len(files) == 0 {
		return "nothing to do", err
	}
	id, err := a.tree.id(files[rng.IntN(len(files))])
	if errors.Is(err, fs.ErrNotExist) || id == "" {
		return "was renamed", nil
	}
	if err != nil {
		return what, err
	}
	if what == "flag" {
		key := []string{"<flag-message>", "<toggle-new>", "<set-flag>r"}[rng.IntN(3)]
		return what, a.mutt.Run(folder, tagged(id, key)+"<sync-mailbox><exit>", markOld)
	}
	if !a.ledger.Claim(id, a.name+": "+what+" in "+folder) {
		return "taken", nil
	}
	defer a.ledger.Release(id)
	return what, a.transfer(rng, what, folder, id, markOld)
}

// transfer saves, copies or deletes a message, and counts the files to find out what happened.
func (a *muttActor) transfer(rng *rand.Rand, what, from, id string, markOld bool) error {
	to := other(rng, a.folders, from)
	keys := "<delete-message>"
	if what != "delete" {
		keys = "<" + what + "-message>" + a.mutt.links[to] + "<enter>"
	}
	fromBefore, toBefore, err := a.both(from, to, id)
	if err != nil {
		return err
	}
	if err := a.mutt.Run(from, tagged(id, keys)+"<sync-mailbox><exit>", markOld); err != nil {
		a.ledger.Unsure(id, "mutt failed")
		return err
	}
	fromAfter, toAfter, err := a.both(from, to, id)
	if err != nil {
		return err
	}
	left, came := fromBefore-fromAfter, toAfter-toBefore
	account := strings.TrimSpace(fmt.Sprintf("%s of %d in %s: %d left, %d came to %s", what, fromBefore, from, left, came, to))
	// If a file is renamed while mutt lists the folder, mutt may miss it or see it under two
	// names, and it keeps a file that it cannot find again. But no copy may be removed without
	// another one being created.
	switch {
	case what == "copy" && left == 0 && came >= 0:
	case what == "delete" && came == 0 && left >= 0:
	case what == "save" && left >= 0 && came >= left:
		if came > left {
			a.ledger.Count(a.name + ": saved, but not deleted, or saved twice")
		}
	default:
		a.ledger.Fault("mutt, %s: %s", id, account)
	}
	a.ledger.Arrived(id, to, came)
	a.ledger.Left(id, left)
	if came == 0 && left == 0 {
		a.ledger.Count(a.name + ": had no effect")
	}
	return nil
}

func (a *muttActor) both(from, to, id string) (nFrom, nTo int, err error) {
	f, err := a.tree.instances(from, id)
	if err != nil {
		return 0, 0, err
	}
	t, err := a.tree.instances(to, id)
	return len(f), len(t), err
}
