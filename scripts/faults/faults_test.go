package faults

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"maildird/scripts/rig"
	"maildird/scripts/rig/intercept"
)

var flagPatience = flag.Duration("patience", patience, "how long to wait for what has to come")

// binary is the path of maildird.
var binary string

// apart marks a process that has its own mount namespace.
const apart = "FAULTS_TEST_APART"

// TestMain runs the tests in a mount namespace, so that all mounts disappear
// however the tests end.
func TestMain(m *testing.M) {
	intercept.Launch()
	flag.Parse()
	patience = *flagPatience
	if os.Getuid() != 0 || os.Getenv(apart) != "" {
		os.Exit(rig.Main(m, &binary, false))
	}
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Env = append(os.Environ(), apart+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		os.Exit(0)
	case errors.As(err, &exit):
		os.Exit(max(exit.ExitCode(), 1))
	}
	fmt.Fprintln(os.Stderr, "these tests mount file systems and need a mount namespace, which cannot be had:", err)
	os.Exit(1)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// needed fails if something is missing that is required to cause the faults.
func needed(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("run this test as root: it mounts file systems, takes descriptors from the program and traces it; the program itself is run as nobody")
	}
	if _, err := exec.LookPath("strace"); err != nil {
		t.Fatalf("strace makes system calls fail: %v (scripts/test-tools installs it)", err)
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatalf("a tmpfs cannot be mounted, which full and read-only file systems are made of: %v", err)
	}
	must(t, unix.Unmount(dir, 0))
}

const neighbour = "bob@example.org"

// newMaildird prepares a program with the users u00, u01, ... and the neighbour.
func newMaildird(t *testing.T, users int, edits ...string) *rig.Maildird {
	t.Helper()
	return newMaildirdOf(t, binary, users, edits...)
}

// newMaildirdOf is newMaildird for another program.
func newMaildirdOf(t *testing.T, binary string, users int, edits ...string) *rig.Maildird {
	t.Helper()
	edits = append([]string{`# reserve = "64MiB"`, `reserve = "1B" #`}, edits...)
	m, err := rig.InitMaildird(binary, nil, edits...)
	must(t, err)
	var text strings.Builder
	fmt.Fprintf(&text, "%s:{PLAIN}secret\npostmaster@example.org:{PLAIN}secret\n", neighbour)
	for n := range users {
		fmt.Fprintf(&text, "%s:{PLAIN}secret\n", userName(n))
	}
	must(t, os.WriteFile(filepath.Join(m.Dir, "users"), []byte(text.String()), 0o600))
	must(t, os.MkdirAll(filepath.Join(m.Dir, "mail", "example.org"), 0o700))
	cache := filepath.Join(m.Dir, "cache")
	must(t, os.MkdirAll(cache, 0o700))
	must(t, unix.Mount("tmpfs", cache, "tmpfs", 0, "size=256k,mode=0700"))
	must(t, rig.Own(m.Dir))
	t.Cleanup(func() {
		if t.Failed() {
			log := m.Log()
			t.Logf("the program's log ends with:\n%s", log[max(0, len(log)-6000):])
		}
		if m.Process != nil {
			if err := m.Stop(patience); err != nil {
				t.Errorf("SIGTERM: %v", err)
			}
		}
		_ = unix.Unmount(cache, unix.MNT_DETACH)
		if err := rig.RemoveAll(m.Dir); err != nil {
			t.Error(err)
		}
	})
	must(t, m.Start(context.Background()))
	return m
}

func userName(n int) string { return fmt.Sprintf("u%02d@example.org", n) }

// TestFaults is described in the package comment.
func TestFaults(t *testing.T) {
	needed(t)
	table, err := readTable("testdata/table.txt")
	must(t, err)
	if len(table) != len(faults) {
		t.Errorf("testdata/table.txt has %d faults, fault.go %d", len(table), len(faults))
	}
	for _, s := range table {
		f := faultNamed(s.fault)
		if f == nil {
			t.Fatalf("testdata/table.txt has the fault %q, fault.go has not", s.fault)
		}
		t.Run(strings.ReplaceAll(s.fault, " ", "-"), func(t *testing.T) {
			t.Parallel()
			faultSection(t, f, s)
		})
	}
}

func faultSection(t *testing.T, f *fault, s section) {
	if len(s.lines) != len(operations) {
		t.Errorf("testdata/table.txt has %d operations, operations.go %d", len(s.lines), len(operations))
	}
	m := newMaildird(t, len(s.lines)+1)
	var cells []*cell
	defer func() {
		for _, c := range cells {
			c.close()
			_ = c.unmount()
		}
	}()
	next, err := newNeighbour(m)
	must(t, err)
	defer next.close()
	for n, l := range s.lines {
		op := operationNamed(l.operation)
		if op == nil {
			t.Fatalf("testdata/table.txt has the operation %q, operations.go has not", l.operation)
		}
		t.Run(strings.ReplaceAll(op.name, " ", "-"), func(t *testing.T) {
			c, err := newCell(m, userName(n))
			if c != nil {
				cells = append(cells, c)
			}
			must(t, err)
			c.try(t, f, op, l.answer, next)
		})
	}
	t.Run("SIGTERM", func(t *testing.T) {
		c, err := newCell(m, userName(len(s.lines)))
		if c != nil {
			defer func() {
				c.close()
				_ = c.unmount()
			}()
		}
		must(t, err)
		stopDuring(t, f, c, cells)
	})
}

// try performs the operation during and after the fault.
func (c *cell) try(t *testing.T, f *fault, op *operation, want string, next *neighbourhood) {
	if op.closed {
		if _, err := c.client.Do("UNSELECT"); err != nil {
			t.Fatal(err)
		}
	}
	c.lines = 3
	if f.long {
		c.lines = 3000
	}
	log := len(c.m.Log())
	end, err := f.begin(c)
	if end != nil {
		defer func() { _ = end() }() // again, if the test ends early
	}
	must(t, err)
	began := time.Now()
	answer, words := op.do(c)
	took := time.Since(began)
	want, effect, _ := strings.Cut(want, ", ")
	if !slices.Contains(strings.Split(want, " or "), answer) {
		t.Errorf("the answer is %q, %q, has to be %q", answer, words, want)
	}
	if len(words) < 10 && answer != "250" {
		t.Errorf("%q says nothing to people: %q", answer, words)
	}
	if took > patience/2 {
		t.Errorf("it took %s", took)
	}
	refused := answer != "250" && !strings.HasPrefix(answer, "OK")
	done := !refused || effect != ""
	c.trashed = effect == "trashed"
	switch {
	case effect == "copied":
		c.mail["Box"]["moved"] = ""
	case done:
		op.done(c.mail)
	}
	if err := c.onDisk(c.mail); err != nil {
		t.Errorf("while there is the fault: %v", err)
	}
	if !f.everybody {
		if err := next.served(); err != nil {
			t.Errorf("another user is not served: %v", err)
		}
	}
	must(t, end())
	if c.trashed { // until the next mailbox is deleted
		for _, command := range []string{"CREATE Another", "DELETE Another"} {
			if _, err := c.client.Do("%s", command); err != nil {
				t.Error(err)
			}
		}
	}
	if refused || c.trashed {
		c.checkLog(t, f, log)
	}
	c.trashed = false
	if !done {
		// The program retries after 2 s if new mail could not get a UID.
		if !sleepUntil(func() bool { answer, words = op.do(c); return answer == "250" || strings.HasPrefix(answer, "OK") }) {
			t.Errorf("afterwards the answer is %q, %q", answer, words)
		}
		op.done(c.mail)
	}
	c.checkAfterwards(t)
}

// checkAfterwards checks that everything works again, and that the clients and the disk have
// what was acknowledged.
func (c *cell) checkAfterwards(t *testing.T) {
	t.Helper()
	if err := c.everything(); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if err := until(c.compare); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if err := c.onDisk(c.mail); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// checkLog looks for a line with everything that an operator must know.
func (c *cell) checkLog(t *testing.T, f *fault, offset int) {
	found := sleepUntil(func() bool {
		for _, line := range c.logSince(offset) {
			if slices.ContainsFunc(f.errors, func(e string) bool { return strings.Contains(line, e) }) &&
				strings.Contains(line, f.advice) && strings.Contains(line, c.home) {
				return true
			}
		}
		return false
	})
	if !found {
		t.Errorf("no line of the log has one of %q, %q and %q:\n%s", f.errors, f.advice, c.home, strings.Join(c.logSince(offset), "\n"))
	}
}
