package delivery

import (
	"errors"
	"strings"
	"testing"

	"maildird/maildir/dirfd"
	"maildird/maildir/maildirsize"
)

// TestGroup: recipients that share one answer get the message together, or not at all; one
// that is also in another group that gets it, gets it too.
func TestGroup(t *testing.T) {
	for name, breakIt := range broken {
		for _, size := range []int{10, 2 * spoolMemory} {
			t.Run(name, func(t *testing.T) {
				text := strings.Repeat("x", size)
				// 0 fails. 1 is only with 0; 2 is with 0 and on its own; 3 is with 1, and
				// may therefore get it; 4 is with nobody; 5 and 6 are with each other.
				groups := [][]int{{0, 2, 7}, {2}, {1, 3}, {0, 1}, {5, 6}}
				want := []bool{false, true, true, true, true, true, true, false}
				for _, first := range []int{0, 3} { // the one whose file a long message streams to
					var targets []Target
					var folders []*testFolder
					at := func(i int) int { return (i + first) % len(want) }
					for range want {
						f := newFolder(t)
						f.open().Close()
						folders = append(folders, f)
						targets = append(targets, f.target("A: b\n"))
					}
					targets[at(0)] = breakIt(folders[at(0)])
					s := NewSpool(targets, true, newOptions())
					for _, g := range groups {
						var moved []int
						for _, i := range g {
							moved = append(moved, at(i))
						}
						s.Group(moved...)
					}
					fill(s, text)
					errs := s.Commit()
					for i, stored := range want {
						err, f := errs[at(i)], folders[at(i)]
						if (err == nil) != stored || errors.Is(err, ErrGroup) != (i == 7) {
							t.Errorf("target %d: %v", i, err)
						}
						switch {
						case stored:
							f.checkOne("A: b\n" + text)
						case i > 0:
							f.checkEmpty("tmp", "new")
						}
					}
				}
			})
		}
	}
}

// TestGroupSync: making a name durable is the last step that can fail, and then others in
// the same group have nothing either.
func TestGroupSync(t *testing.T) {
	var targets []Target
	var folders []*testFolder
	for range 3 {
		f := newFolder(t)
		folders = append(folders, f)
		targets = append(targets, f.target("A: b\n"))
	}
	o := newOptions()
	o.Fsync = true
	o.syncs.fsync = func(d *dirfd.Dir) error {
		if strings.HasPrefix(d.Path(), folders[0].path) {
			return errors.New("a fault of the disk")
		}
		return d.Sync()
	}
	s := NewSpool(targets, true, o)
	s.Group(0, 1)
	s.Group(2)
	fill(s, "text\n")
	errs := s.Commit()
	if errs[0] == nil || !errors.Is(errs[1], ErrGroup) || errs[2] != nil {
		t.Errorf("%v", errs)
	}
	folders[0].checkEmpty("tmp", "new")
	folders[1].checkEmpty("tmp", "new")
	folders[2].checkOne("A: b\ntext\n")
}

// TestGroupQuota: a quota is checked only for recipients with an answer of their own.
func TestGroupQuota(t *testing.T) {
	var targets []Target
	var folders []*testFolder
	for range 4 {
		f := newFolder(t)
		folders = append(folders, f)
		targets = append(targets, f.spoiledDirs(func(d *Dirs) { d.Room = func(int64) error { return maildirsize.ErrOver } }))
	}
	s := NewSpool(targets, true, newOptions())
	s.Group(0, 1)
	s.Group(1)
	s.Group(2)
	fill(s, "text\n")
	for i, err := range s.Commit() {
		if alone := i >= 2; alone != (CauseOf(err) == OverQuota) || alone == (err == nil) {
			t.Errorf("target %d: %v", i, err)
		}
		if i < 2 {
			folders[i].checkOne("X: y\ntext\n")
		} else {
			folders[i].checkEmpty("tmp", "new")
		}
	}
}

// spoiledDirs returns a target whose directories are changed once they are open.
func (f *testFolder) spoiledDirs(how func(*Dirs)) Target {
	t := f.target("X: y\n")
	open := t.Open
	t.Open = func() (Dirs, func(), error) {
		d, release, err := open()
		if err == nil {
			how(&d)
		}
		return d, release, err
	}
	return t
}
