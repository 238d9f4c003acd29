// Package load connects many clients, including hostile ones, to the real maildird, built as it
// is installed, and measures the cost and the effect on a good client. MAILDIRD_LOAD=full uses
// the numbers in README; without it, the numbers are small, so that the tests are short.
package load

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"maildird/scripts/rig"
)

// full selects the large numbers.
var full = os.Getenv("MAILDIRD_LOAD") == "full"

// several returns one of two numbers.
func several(few, many int) int {
	if full {
		return many
	}
	return few
}

const (
	password = "correct horse"
	perUser  = 50  // connections per user, by default
	perIP    = 100 // connections per address, by default
	// patience is how long anything may take on a slow, busy machine.
	patience = 2 * time.Minute
)

// binary is the path of maildird.
var binary string

func TestMain(m *testing.M) {
	if address := os.Getenv(goodAddress); address != "" {
		if err := beGood(address); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(rig.Main(m, &binary, false))
}

func user(i int) string { return fmt.Sprintf("u%d@example.org", i/perUser) }

// start starts a server with enough users for n connections.
func start(t testing.TB, n int) *rig.Maildird {
	t.Helper()
	m, err := rig.InitMaildird(binary, nil, "postmaster@example.org", user(0), "127.0.0.1/32", "127.0.0.0/8",
		"# [debug]", "[debug]\npprof = \"127.0.0.1:0\"")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	var users strings.Builder
	for i := 0; i <= n+perUser; i += perUser {
		fmt.Fprintf(&users, "%s:{PLAIN}%s\n", user(i), password)
	}
	if err := os.WriteFile(filepath.Join(m.Dir, "users"), []byte(users.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := m.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	return m
}

// client is a connection that costs this process little while it is idle.
type client struct {
	net.Conn
	one [1]byte
}

// dial connects to a service as the i-th client does: from an address of this machine that at
// most perIP clients use.
func dial(m *rig.Maildird, service string, i int) (*client, error) {
	from := &net.TCPAddr{IP: net.IPv4(127, 1, byte(i/perIP>>8), byte(i/perIP))}
	d := net.Dialer{LocalAddr: from, Timeout: patience}
	conn, err := d.Dial("tcp", m.Address(service))
	if err != nil {
		return nil, err
	}
	if service == "imaps" || service == "submissions" {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	return &client{Conn: conn}, nil
}

// line reads a line byte by byte, so that nothing is read ahead.
func (c *client) line() (string, error) {
	_ = c.SetReadDeadline(time.Now().Add(patience))
	var b []byte
	for {
		if _, err := io.ReadFull(c, c.one[:]); err != nil {
			return string(b), err
		}
		if c.one[0] == '\n' {
			return string(b), nil
		}
		b = append(b, c.one[0])
	}
}

// say sends text and reads lines up to one that begins with want.
func (c *client) say(text, want string) error {
	if _, err := io.WriteString(c, text); err != nil {
		return err
	}
	for {
		line, err := c.line()
		if err != nil {
			return fmt.Errorf("after %q: %q, %w", text, line, err)
		}
		if strings.HasPrefix(line, want) {
			return nil
		}
		if !strings.HasPrefix(line, "* ") && !strings.HasPrefix(line, "250-") || strings.HasPrefix(line, "* BYE") {
			return fmt.Errorf("after %q: %q", text, line)
		}
	}
}

// idle connects the i-th client and brings it to an idle state.
func idle(m *rig.Maildird, service, how string, i int) (*client, error) {
	c, err := dial(m, service, i)
	if err != nil {
		return nil, err
	}
	steps := [][2]string{{"", "* OK"}, {fmt.Sprintf("a LOGIN %s %q\r\n", user(i), password), "a OK"}, {"b SELECT INBOX\r\n", "b OK"},
		{"f FETCH 1:* FLAGS\r\n", "f "}}
	switch how {
	case "IDLE":
		steps = append(steps, [2]string{"c IDLE\r\n", "+ "})
	case "EHLO":
		steps = [][2]string{{"", "220 "}, {"EHLO client.example\r\n", "250 "}}
	}
	for _, s := range steps {
		if err := c.say(s[0], s[1]); err != nil {
			_ = c.Close()
			return nil, fmt.Errorf("%s, client %d: %w", service, i, err)
		}
	}
	return c, nil
}

// crowd connects n clients, some at the same time. They disconnect when the test ends.
func crowd(t testing.TB, n int, connect func(i int) (*client, error)) []*client {
	t.Helper()
	clients := make([]*client, n)
	errs := make(chan error, 1)
	next := make(chan int)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for i := range next {
				c, err := connect(i)
				if err != nil {
					select {
					case errs <- err:
					default:
					}
					continue
				}
				clients[i] = c
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	t.Cleanup(func() {
		for _, c := range clients {
			if c != nil {
				_ = c.Close()
			}
		}
	})
	select {
	case err := <-errs:
		t.Fatal(err)
	default:
	}
	return clients
}

// memory returns a field of /proc/PID/smaps_rollup or status, in KiB.
func memory(t testing.TB, m *rig.Maildird, file, field string) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", m.Process.Process.Pid, file))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			n, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("%s has no %s", file, field)
	return 0
}

func pprof(t testing.TB, m *rig.Maildird, path string) string {
	t.Helper()
	answer, err := http.Get("http://" + m.Address("pprof") + "/debug/pprof/" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("pprof/%s: %s, %v", path, answer.Status, err)
	}
	return string(text)
}

// goroutines returns the number of goroutines in the server.
func goroutines(t testing.TB, m *rig.Maildird) int {
	t.Helper()
	first, _ := bufio.NewReader(strings.NewReader(pprof(t, m, "goroutine?debug=1"))).ReadString('\n')
	found := regexp.MustCompile(`^goroutine profile: total (\d+)$`).FindStringSubmatch(strings.TrimSpace(first))
	if found == nil {
		t.Fatalf("goroutine profile begins with %q", first)
	}
	n, _ := strconv.Atoi(found[1])
	return n
}

// descriptors counts the open files of the server, except for the marks of package watch: it
// creates another one when an event is late, and has at most 16.
func descriptors(t testing.TB, m *rig.Maildird) int {
	t.Helper()
	open := files(t, m)
	marks := 0
	for _, name := range open {
		if strings.HasPrefix(name, filepath.Join(os.TempDir(), "#")) && strings.HasSuffix(name, " (deleted)") {
			marks++
		}
	}
	if marks > 16 {
		t.Errorf("%d files without a name:\n%s", marks, strings.Join(open, "\n"))
	}
	return len(open) - marks
}

// files returns the targets of the server's descriptors.
func files(t testing.TB, m *rig.Maildird) (open []string) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", m.Process.Process.Pid)
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if to, err := os.Readlink(filepath.Join(dir, name.Name())); err == nil { // otherwise it was just closed
			open = append(open, to)
		}
	}
	return open
}

// settled returns the server's memory after garbage has been collected and released.
func settled(t testing.TB, m *rig.Maildird) int {
	t.Helper()
	least := memory(t, m, "smaps_rollup", "Pss")
	for range 10 {
		pprof(t, m, "heap?gc=1")
		time.Sleep(200 * time.Millisecond)
		least = min(least, memory(t, m, "smaps_rollup", "Pss"))
	}
	return least
}
