package maildir

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestOwner creates Maildirs for a system user, who may have put links in the way.
func TestOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root acts for system users")
	}
	base := t.TempDir()
	home, others := filepath.Join(base, "home"), filepath.Join(base, "others")
	for _, dir := range []string{home, others, filepath.Join(others, "Maildir")} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	const uid = 54321
	if err := os.Chown(home, uid, uid); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"link": others, "straight": filepath.Join(others, "Maildir")} {
		if err := os.Symlink(target, filepath.Join(home, name)); err != nil {
			t.Fatal(err)
		}
	}
	o := &Owner{UID: uid, GID: uid, Home: home}
	for path, ok := range map[string]bool{
		"home/Maildir":      true,
		"home/mail/a/box":   true,
		"home/link/new":     false,
		"home/link/Maildir": false,
		"home/straight":     false,
		"others/Maildir":    false,
		"vmail/org/a":       true,
	} {
		d, err := o.openOrMake(filepath.Join(base, path))
		if (err == nil) != ok {
			t.Errorf("%s: %v", path, err)
		}
		if err == nil {
			_ = d.Close()
		}
	}
	for path, want := range map[string]string{
		"home/Maildir": "", "home/none": "", "others/Maildir": "belongs to the system user 0, not to 54321",
	} {
		if err := CheckRoot(filepath.Join(base, path), o); (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("CheckRoot of %s: %v, want %q", path, err, want)
		}
	}
	gone := &Owner{UID: uid, GID: uid, Home: filepath.Join(base, "gone")}
	if err := CheckRoot(filepath.Join(base, "gone/Maildir"), gone); err == nil || !strings.HasSuffix(err.Error(), "gone does not exist") {
		t.Errorf("CheckRoot without a home directory: %v", err)
	}
	if err := CheckRoot(filepath.Join(base, "new/vmail/a"), gone); err != nil {
		t.Errorf("CheckRoot elsewhere: %v", err)
	}
	if err := CheckRoot(others, &Owner{}); err == nil || !strings.Contains(err.Error(), "mail of the system user 0 is not served") {
		t.Errorf("CheckRoot for root: %v", err)
	}
	for _, path := range []string{"home/Maildir", "home/mail", "home/mail/a/box", "vmail/org/a"} {
		st, err := os.Stat(filepath.Join(base, path))
		if err != nil {
			t.Fatal(err)
		}
		if sys := st.Sys().(*syscall.Stat_t); sys.Uid != uid || sys.Gid != uid || st.Mode().Perm() != 0o700 {
			t.Errorf("%s belongs to %d:%d, %s", path, sys.Uid, sys.Gid, st.Mode())
		}
	}
	left, err := fs.Glob(os.DirFS(others), "*/*")
	if err != nil || len(left) > 0 {
		t.Errorf("in another's directory: %q, %v", left, err)
	}
	if st, err := os.Stat(filepath.Join(others, "new")); err == nil {
		t.Errorf("%s was made behind a link", st.Name())
	}
	if _, err := (&Owner{UID: 0, Home: "/root"}).openOrMake(filepath.Join(base, "vmail/root")); err == nil {
		t.Error("mail of root is served")
	}
}
