package dirfd

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestForeignLink: a file with two names can be read, and its rights and owner changed, if
// it belongs to the directory's owner, but not if it belongs to another user.
func TestForeignLink(t *testing.T) {
	d, path := openTemp(t)
	must(t, os.WriteFile(filepath.Join(path, "own"), []byte("x"), 0o600))
	must(t, os.Link(filepath.Join(path, "own"), filepath.Join(path, "second")))
	_, err := d.ReadFile("second", 10)
	must(t, err)
	if os.Geteuid() != 0 {
		t.Skip("only root can make files of others")
	}
	must(t, os.WriteFile(filepath.Join(path, "other"), []byte("x"), 0o600))
	must(t, os.Chown(filepath.Join(path, "other"), 54321, 54321))
	_, err = d.ReadFile("other", 10) // such as a delivery by root leaves
	must(t, err)
	must(t, os.Link(filepath.Join(path, "other"), filepath.Join(path, "link")))
	for _, name := range []string{"other", "link"} {
		if _, err := d.ReadFile(name, 10); !errors.Is(err, ErrNotRegular) {
			t.Errorf("%s: %v", name, err)
		}
		if err := d.OpenReader(new(Reader), name); !errors.Is(err, ErrNotRegular) {
			t.Errorf("%s by OpenReader: %v", name, err)
		}
		if _, err := d.OpenAppend(name); !errors.Is(err, ErrNotRegular) {
			t.Errorf("%s to append: %v", name, err)
		}
		if err := d.Chown(name, 54322, -1); !errors.Is(err, ErrNotRegular) {
			t.Errorf("%s gets another owner: %v", name, err)
		}
		if err := d.Chmod(name, 0o640); !errors.Is(err, ErrNotRegular) {
			t.Errorf("%s gets other rights: %v", name, err)
		}
	}
}

// TestPrivateFile: on behalf of a directory's owner, root reads what the owner may read,
// and what root left there, but no private file of another user, who did not put it there.
func TestPrivateFile(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root acts for others")
	}
	const owner, other = 54321, 54322
	d, path := openTemp(t)
	must(t, os.Chown(path, owner, owner))
	for _, c := range []struct {
		name     string
		uid, gid int
		mode     os.FileMode
		read     bool
	}{
		{"own", owner, owner, 0o600, true},
		{"of root", 0, 0, 0o600, true},
		{"private", other, other, 0o600, false},
		{"of another group", other, other, 0o640, false},
		{"of the owner's group, who may not read it", other, owner, 0o600, false},
		{"of the owner's group", other, owner, 0o640, true},
		{"for everybody", other, other, 0o604, true},
	} {
		must(t, os.WriteFile(filepath.Join(path, c.name), []byte("x"), c.mode))
		must(t, os.Chown(filepath.Join(path, c.name), c.uid, c.gid))
		var r Reader
		_, err := d.ReadFile(c.name, 10)
		opened := d.OpenReader(&r, c.name)
		given := d.Chown(c.name, c.uid, -1)
		for what, err := range map[string]error{"read": err, "opened": opened, "given away": given} {
			if (err == nil) != c.read || !c.read && !errors.Is(err, fs.ErrPermission) {
				t.Errorf("%s is %s: %v", c.name, what, err)
			}
		}
		if opened == nil {
			must(t, r.Close())
		}
	}
}

// TestForeignLinkRemoved: a directory's owner, who removes a hard link to a file of root while
// root opens it, does not make it look like a file that root left in the directory.
func TestForeignLinkRemoved(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root makes files of others")
	}
	top := t.TempDir()
	secret, path := filepath.Join(top, "shadow"), filepath.Join(top, "cur")
	must(t, os.WriteFile(secret, []byte("root"), 0o600))
	must(t, os.Mkdir(path, 0o700))
	must(t, os.Chown(path, 54321, 54321))
	d, err := Open(path)
	must(t, err)
	defer d.Close()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				_ = os.Link(secret, path+"/a")
				_ = os.Remove(path + "/a")
			}
		}
	}()
	defer func() {
		close(stop)
		<-stopped
	}()
	for range 50_000 {
		if f, err := d.Open("a"); err == nil {
			_ = f.Close()
			t.Fatal("the file was opened")
		}
		if err := d.Chown("a", 54321, -1); err == nil {
			t.Fatal("the file was given away")
		}
	}
}

// TestForeignNamedDeleted: a file of another user does not keep its name because that ends like
// the path of a removed file.
func TestForeignNamedDeleted(t *testing.T) {
	d, path := openTemp(t)
	name := path + "/a (deleted)"
	must(t, os.WriteFile(name, []byte("x"), 0o600))
	f, err := os.Open(name)
	must(t, err)
	defer f.Close()
	must(t, os.Rename(name, path+"/a"))
	must(t, os.Remove(path+"/a"))
	must(t, d.self("", func(fd int) error {
		if err := stillNamed(fd, int(f.Fd()), "a (deleted)"); err != errRemoved {
			t.Errorf("the file that was removed as %q: %v", "a", err)
		}
		return nil
	}))
}

// TestForeignWithoutProc: without /proc, a file of another user is not read, and nobody is told
// that it does not exist.
func TestForeignWithoutProc(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root makes files of others, and can do without /proc")
	}
	const variable = "DIRFD_TEST_WITHOUT_PROC"
	path := os.Getenv(variable)
	if path == "" {
		_, path = openTemp(t)
		must(t, os.WriteFile(path+"/other", []byte("x"), 0o644))
		must(t, os.Chown(path+"/other", 54321, 54321))
		exe, err := os.Executable()
		must(t, err)
		cmd := exec.Command("unshare", "--mount", "sh", "-c", `mount -t tmpfs none /proc && exec "$0" -test.run='^TestForeignWithoutProc$'`, exe)
		cmd.Env = append(os.Environ(), variable+"="+path)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	d, err := Open(path)
	must(t, err)
	defer d.Close()
	if _, err := d.ReadFile("other", 10); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("read without /proc: %v", err)
	}
}
