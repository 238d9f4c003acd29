package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-imap/v2/imapclient"

	"maildird/scripts/rig"
)

// demo is a running "maildird demo".
type demo struct {
	*rig.Process
	mu   sync.Mutex
	text bytes.Buffer
}

func (d *demo) Write(b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.text.Write(b)
}

func (d *demo) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.text.String()
}

// startDemo runs the demo in home/data and waits for its output.
func startDemo(t *testing.T, home string) *demo {
	t.Helper()
	d := new(demo)
	cmd := exec.CommandContext(context.Background(), binary, "demo", "data", "--free-ports")
	rig.Prepare(cmd, home)
	cmd.Dir = home
	cmd.Stdout, cmd.Stderr = d, d
	var err error
	if d.Process, err = rig.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Kill() })
	eventually(t, func() error {
		if !strings.Contains(d.String(), "mutt -f") {
			return fmt.Errorf("the demo printed:\n%s", d)
		}
		return nil
	})
	return d
}

// TestDemo runs what "make run" runs. Every command that it prints must work unchanged, and a
// second run must keep mail and passwords.
func TestDemo(t *testing.T) {
	home, err := rig.Dir("demo")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(home)
	d := startDemo(t, home)
	shell := func(line string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, "sh", "-c", line)
		rig.Prepare(cmd, home)
		cmd.Dir = home
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s\n%s", line, err, out, d)
		}
		return string(out)
	}
	tool(t, "swaks")
	tool(t, "mutt")
	lines := regexp.MustCompile(`(?m)^  (swaks|mutt) .*$`).FindAllString(d.String(), -1)
	if len(lines) != 3 {
		t.Fatalf("the demo printed:\n%s", d)
	}
	for _, line := range lines {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "mutt") {
			// A person presses q, and has a ~/Mail.
			shell("mkdir Mail")
			line = `TERM=xterm script -qec "` + line + ` -n -F /dev/null -e 'push <quit>' -e 'set quit=yes'" /dev/null`
			if out := shell(line); !strings.Contains(out, "Hello") || !strings.Contains(out, "Welcome to maildird") {
				t.Errorf("mutt shows:\n%q", out)
			}
			continue
		}
		shell(line)
	}
	password := func() string {
		t.Helper()
		m := regexp.MustCompile(`(?m)^  Password +(\S+) +or +(\S+)$`).FindStringSubmatch(d.String())
		if m == nil {
			t.Fatalf("no passwords:\n%s", d)
		}
		return m[1]
	}
	count := func() (inbox uint32) {
		t.Helper()
		port := regexp.MustCompile(`IMAP +host 127\.0\.0\.1 +port (\d+)`).FindStringSubmatch(d.String())
		c, err := imapclient.DialInsecure("127.0.0.1:"+port[1], nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.Login(alice, password()).Wait(); err != nil {
			t.Fatal(err)
		}
		data, err := c.Select("INBOX", nil).Wait()
		if err != nil {
			t.Fatal(err)
		}
		return data.NumMessages
	}
	if n := count(); n != 2 {
		t.Errorf("alice has %d messages, want the welcome and swaks's", n)
	}
	before := password()
	if err := d.Stop(patience); err != nil {
		t.Fatalf("%v\n%s", err, d)
	}
	d = startDemo(t, home)
	if n := count(); n != 2 || password() != before {
		t.Errorf("after the second run alice has %d messages and the password is kept: %v", n, password() == before)
	}
	if err := d.Stop(patience); err != nil {
		t.Errorf("%v\n%s", err, d)
	}
	if left, _ := filepath.Glob(filepath.Join(home, ".maildird-demo-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
