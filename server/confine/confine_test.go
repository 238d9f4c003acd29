package confine

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"
)

const (
	inside  = "MAILDIRD_CONFINED"
	onePort = "MAILDIRD_PORT" // a port that the process may connect to exists
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(inside); dir != "" {
		for _, problem := range confined(dir) {
			fmt.Println(problem)
		}
		return
	}
	os.Exit(m.Run())
}

// TestConfinedFiles confines a process and lets it try to access files.
func TestConfinedFiles(t *testing.T) {
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, sub := range []string{"config", "run", "other"} {
		must(os.MkdirAll(filepath.Join(dir, sub), 0o700))
	}
	for _, name := range []string{"config/users", "other/secret"} {
		must(os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600))
	}
	for _, port := range []string{"", "yes"} {
		must(os.RemoveAll(filepath.Join(dir, "mail")))
		must(os.MkdirAll(filepath.Join(dir, "mail/a"), 0o700))
		must(os.MkdirAll(filepath.Join(dir, "mail/b"), 0o700))
		must(os.WriteFile(filepath.Join(dir, "mail/a/m"), []byte("x"), 0o600))
		must(os.WriteFile(filepath.Join(dir, "run/sock"), []byte("x"), 0o600))
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), inside+"="+dir, onePort+"="+port)
		// With go test -cover, the program reports on standard error that it can no longer
		// write its coverage data.
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v\n%s%s", err, out, &stderr)
		}
		if text := string(out); strings.HasPrefix(text, "no Landlock") {
			t.Skip("this kernel has no Landlock, so nothing can be confined")
		} else if text != "" {
			t.Error(text)
		}
	}
}

// confined confines this process and reports what is not as expected.
func confined(dir string) (problems []string) {
	in := func(name string) string { return filepath.Join(dir, name) }
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return []string{err.Error()}
	}
	relay, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return []string{err.Error()}
	}
	var ports []uint16
	if os.Getenv(onePort) != "" {
		ports = []uint16{uint16(relay.Addr().(*net.TCPAddr).Port)}
	}
	if err := Privileges(); err != nil {
		return []string{err.Error()}
	}
	version, err := Files(Access{
		Read: append(System(), in("config"), in("missing")), Write: []string{in("mail")}, Remove: []string{in("run")}, Ports: ports,
	})
	if err != nil {
		return []string{err.Error()}
	}
	if version == 0 {
		return []string{"no Landlock"}
	}
	var mu sync.Mutex
	check := func(what string, err error, want error) {
		if !errors.Is(err, want) {
			mu.Lock()
			defer mu.Unlock()
			problems = append(problems, fmt.Sprintf("%s: %v, want %v", what, err, want))
		}
	}
	read := func(name string) error { _, err := os.ReadFile(name); return err }
	// On several threads at once: the rules apply to all of them.
	var wg, ready sync.WaitGroup
	ready.Add(8)
	for i := range 8 {
		wg.Go(func() {
			runtime.LockOSThread()
			ready.Done()
			ready.Wait()
			check("secret", read(in("other/secret")), fs.ErrPermission)
			check("/etc/passwd", read("/etc/passwd"), fs.ErrPermission)
			check("users", read(in("config/users")), nil)
			check("write users", os.WriteFile(in("config/users"), nil, 0o600), fs.ErrPermission)
			check("new file beside users", os.WriteFile(in(fmt.Sprint("config/new", i)), nil, 0o600), fs.ErrPermission)
			check("new file beside socket", os.WriteFile(in(fmt.Sprint("run/new", i)), nil, 0o600), fs.ErrPermission)
			check("message", read(in("mail/a/m")), nil)
			name := fmt.Sprint("mail/a/n", i)
			check("new message", os.WriteFile(in(name), nil, 0o600), nil)
			check("link", os.Link(in(name), in(fmt.Sprint("mail/b/l", i))), nil)
			check("rename", os.Rename(in(name), in(fmt.Sprint("mail/b/n", i))), nil)
			check("folder", os.Mkdir(in(fmt.Sprint("mail/d", i)), 0o700), nil)
		})
	}
	wg.Wait()
	check("remove socket", os.Remove(in("run/sock")), nil)
	_, err = net.Dial("tcp", l.Addr().String())
	if version >= 4 {
		check("connect", err, fs.ErrPermission)
	}
	_, err = net.Dial("tcp", relay.Addr().String())
	if len(ports) > 0 {
		check("connect to the relay", err, nil)
	} else if version >= 4 {
		check("connect to another", err, fs.ErrPermission)
	}
	if n, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err != nil || n != 1 {
		problems = append(problems, fmt.Sprint("no_new_privs is ", n, err))
	}
	have := cap.GetProc()
	for v := range cap.MaxBits() {
		if got, _ := have.GetFlag(cap.Permitted, v); got && (os.Geteuid() != 0 || v != cap.CHOWN && v != cap.DAC_OVERRIDE && v != cap.FOWNER && v != cap.FSETID) {
			problems = append(problems, fmt.Sprint("still has ", v))
		}
	}
	return problems
}
