package coexist

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"maildird/maildir/filename"
	"maildird/scripts/rig"
)

// fileActor changes files as a careful shell user does, with cp, "mv -n" and rm. It takes no
// locks and does not know about UIDs.
type fileActor struct {
	name    string
	home    string
	tree    *Tree
	ledger  *Ledger
	folders []string
	n       int
}

// NewFileActor returns an actor that works on the files of a site.
func NewFileActor(name string, s *Site, l *Ledger, folders []string) Actor {
	return &fileActor{name: name, home: s.Dir(), tree: NewTree(s, folders), ledger: l, folders: folders}
}

func (a *fileActor) Name() string { return a.name }
func (a *fileActor) Close()       {}

var fileSteps = []weight{{"cp", 12}, {"mv", 20}, {"rename flags", 50}, {"rm", 12}}

// Step implements Actor.
func (a *fileActor) Step(rng *rand.Rand) (string, error) {
	what := pick(rng, fileSteps)
	files, err := a.tree.list(a.folders[rng.IntN(len(a.folders))])
	if err != nil || len(files) == 0 {
		return "nothing to do", err
	}
	f := files[rng.IntN(len(files))]
	if what == "rename flags" {
		return what, a.flags(rng, f)
	}
	id, err := a.tree.id(f)
	if errors.Is(err, fs.ErrNotExist) || id == "" {
		return "was renamed", nil
	}
	if err != nil || !a.ledger.Claim(id, a.name+": "+what) {
		return "taken", err
	}
	defer a.ledger.Release(id)
	f, ok, err := a.tree.find(f.Folder, f.Base())
	if err != nil || !ok {
		return "was moved", err
	}
	if now, err := a.tree.id(f); err != nil || now != id {
		return "was renamed", nil
	}
	switch what {
	case "cp":
		err = a.copy(rng, f, id)
	case "mv":
		err = a.move(rng, f, id)
	case "rm":
		err = a.again(f, func(path string) error { return os.Remove(path) })
		if err == nil {
			a.ledger.Left(id, 1)
		}
	}
	return what, err
}

// again calls do for a file whose flags others may change meanwhile, and retries
// with its new name.
func (a *fileActor) again(f File, do func(path string) error) error {
	for try := 0; ; try++ {
		err := do(a.tree.path(f))
		if !errors.Is(err, fs.ErrNotExist) || try == 20 {
			return err
		}
		now, ok, ferr := a.tree.find(f.Folder, f.Base())
		if ferr != nil {
			return ferr
		}
		if !ok {
			return fmt.Errorf("the file %s of %s is gone, and nobody was to remove it: %w", f.Name, f.Folder, err)
		}
		f = now
	}
}

// moveNoReplace is "mv -n". A copy of a message may have the same base in the same folder for a
// moment, until a server notices. mutt does not rename one over the other either.
func moveNoReplace(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

// flags renames a file, as mutt does to change flags.
func (a *fileActor) flags(rng *rand.Rand, f File) error {
	flags := filename.FlagsOf(f.Name)
	letters, err := a.tree.letters(f.Folder)
	if err != nil {
		return err
	}
	for _, one := range append(letters, filename.Seen, filename.Flagged, filename.Answered) {
		if rng.IntN(4) == 0 {
			flags ^= one
		}
	}
	to := File{f.Folder, "cur", filename.WithFlags(f.Name, flags)}
	err = moveNoReplace(a.tree.path(f), a.tree.path(to))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) {
		return nil // another program was faster
	}
	return err
}

// target chooses a name in another folder for a file.
func (a *fileActor) target(rng *rand.Rand, f File, base string) (File, error) {
	to := File{Folder: other(rng, a.folders, f.Folder), Sub: "cur"}
	if rng.IntN(2) == 0 {
		to.Sub = "new"
	}
	if _, taken, err := a.tree.find(to.Folder, base); err != nil || taken {
		base = a.fresh()
		if err != nil {
			return to, err
		}
	}
	to.Name = base
	if to.Sub == "cur" {
		// The letters of keywords have other names there, or none; in that case
		// Dovecot makes one up.
		to.Name = filename.WithFlags(base, filename.FlagsOf(f.Name)&^filename.Deleted)
	}
	return to, nil
}

func (a *fileActor) fresh() string {
	a.n++
	return fmt.Sprintf("%d.%d_%d.byhand", time.Now().Unix(), os.Getpid(), a.n)
}

func (a *fileActor) move(rng *rand.Rand, f File, id string) error {
	to, err := a.target(rng, f, f.Base())
	if err != nil {
		return err
	}
	err = a.again(f, func(path string) error { return moveNoReplace(path, a.tree.path(to)) })
	if errors.Is(err, fs.ErrExist) {
		return nil // it remains where it is
	}
	if err == nil {
		a.ledger.Arrived(id, to.Folder, 1)
		a.ledger.Left(id, 1)
	}
	return err
}

// copy runs cp, which writes the file in place, so that for a moment it exists
// but is incomplete.
func (a *fileActor) copy(rng *rand.Rand, f File, id string) error {
	// A copy under its own name is the same message, and keeps its date: it may take the place
	// of one that was removed before anyone noticed.
	base, args := f.Base(), []string{"-p"}
	if rng.IntN(2) == 0 || strings.Contains(base, ",U=") {
		base, args = a.fresh(), nil
	}
	to, err := a.target(rng, f, base)
	if err != nil {
		return err
	}
	err = a.again(f, func(path string) error {
		cmd := exec.Command("cp", append(args, path, a.tree.path(to))...)
		rig.Prepare(cmd, a.home)
		out, err := cmd.CombinedOutput()
		if err == nil {
			return nil
		}
		// By now the file may have its old flags again, so do not look for it.
		if text := string(out); strings.Contains(text, "No such file or directory") && !strings.Contains(text, "cannot create") {
			err = fs.ErrNotExist
		}
		return fmt.Errorf("cp: %w: %s", err, out)
	})
	if err == nil {
		a.ledger.Arrived(id, to.Folder, 1)
	}
	return err
}

// agentActor delivers to any folder with procmail or maildrop.
type agentActor struct {
	name, home string
	tree       *Tree
	ledger     *Ledger
	folders    []string
}

// NewAgentActor returns an actor that runs local delivery agents.
func NewAgentActor(name string, s *Site, l *Ledger, folders []string) Actor {
	return &agentActor{name: name, home: s.Dir(), tree: NewTree(s, folders), ledger: l, folders: folders}
}

func (a *agentActor) Name() string { return a.name }
func (a *agentActor) Close()       {}

// Step implements Actor.
func (a *agentActor) Step(rng *rand.Rand) (string, error) {
	agent := []string{"procmail", "maildrop"}[rng.IntN(2)]
	folder := a.folders[rng.IntN(len(a.folders))]
	id, text := a.ledger.NewMail(rng, a.name)
	rules := filepath.Join(a.home, a.name+"."+agent)
	args := []string{"-m", rules}
	content := "MAILDIR=" + a.home + "\nDEST='" + a.tree.dirs[folder] + "'\n:0\n\"$DEST/\"\n"
	if agent == "maildrop" {
		args = []string{rules}
		content = fmt.Sprintf("to %q\n", a.tree.dirs[folder])
	}
	if err := os.WriteFile(rules, []byte(content), 0o600); err != nil {
		return agent, err
	}
	if err := rig.Own(rules); err != nil {
		return agent, err
	}
	cmd := exec.Command(agent, args...)
	rig.Prepare(cmd, a.home)
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		return agent, fmt.Errorf("%s to %s: %w: %s", agent, folder, err, out)
	}
	a.ledger.Arrived(id, folder, 1)
	time.Sleep(time.Duration(rng.IntN(300)) * time.Millisecond)
	return agent, nil
}
