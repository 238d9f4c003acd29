package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"maildird/scripts/mailgen"
	"maildird/scripts/rig"
)

// TestThunderbirdResync counts the bytes between Thunderbird and the server for mailboxes of
// 5,000 messages: at the first start, which transfers all headers, and at later ones, which
// should only transfer what has changed. Three accounts differ in what Thunderbird may use:
// nothing, CONDSTORE, and CONDSTORE with COMPRESS.
func TestThunderbirdResync(t *testing.T) {
	tool(t, "thunderbird")
	tool(t, "Xvfb")
	const messages, changes, limit = 5000, 5, 8 * time.Minute
	m := setUp(t)
	accounts := []*resyncAccount{
		{address: "plain@example.org"},
		{address: "condstore@example.org", condstore: true},
		{address: "compress@example.org", condstore: true, compress: true},
	}
	var users strings.Builder
	for _, a := range accounts {
		fmt.Fprintf(&users, "%s:{PLAIN}%s\n", a.address, password)
		_, err := mailgen.Fill(m.Home(a.address), messages)
		must(t, err)
		for _, dir := range []string{"new", "tmp"} {
			must(t, os.Mkdir(filepath.Join(m.Home(a.address), dir), 0o700))
		}
	}
	must(t, os.WriteFile(filepath.Join(m.Dir, "users"), []byte(users.String()), 0o600))
	must(t, rig.Own(m.Dir))
	run(t, m)
	tb := startMetered(t, m, accounts)
	defer tb.Close()
	do := func(step string, args ...any) {
		t.Helper()
		if err := tb.Do(step, nil, limit+time.Minute, append(args, limit.Milliseconds())...); err != nil {
			t.Fatalf("%v\n%s\n%s", err, picture(tb), m.Log())
		}
	}
	for _, a := range accounts {
		do("connect", a.address)
		do("holds", a.address, "INBOX", messages)
	}
	quit := func() (seen []traffic) { // in the order of the accounts
		t.Helper()
		for _, a := range accounts {
			a.meter.rest(t)
		}
		must(t, tb.Quit(patience))
		for _, a := range accounts {
			seen = append(seen, a.meter.taken(t))
		}
		return seen
	}
	for i, seen := range quit() {
		accounts[i].first = seen
	}
	// Thunderbird stores mod-sequences from its second start on.
	for start := range 2 {
		for _, a := range accounts {
			a.change(t, m, changes, fmt.Sprintf("while away, start %d", start+2))
		}
		must(t, tb.Again(t.Context()))
		for _, a := range accounts {
			do("connect", a.address)
			do("holds", a.address, "INBOX", messages+(start+1)*changes)
			do("starred", a.address, "INBOX", a.flagged(t, m))
		}
		for i, seen := range quit() {
			accounts[i].later[start] = seen
		}
	}
	t.Log("octets from and to the server at the first start, the second, and the third:")
	for _, a := range accounts {
		t.Logf("%-22s %8d %5d   %8d %5d   %8d %5d", a.address, a.first.down, a.first.up,
			a.later[0].down, a.later[0].up, a.later[1].down, a.later[1].up)
		a.check(t, messages, changes)
	}
}

// headersOf matches the first UID of each fetch of headers.
var headersOf = regexp.MustCompile(`UID fetch (\d+)[0-9:,]* \(UID RFC822\.SIZE FLAGS BODY\.PEEK\[HEADER`)

// check checks the traffic of the later starts. UIDs up to known existed before the second
// start, and as many as more were added before each.
func (a *resyncAccount) check(t *testing.T, known, more int) {
	t.Helper()
	for i, later := range a.later {
		// Without a mod-sequence, it requests the flags of all messages.
		fraction := 10
		if a.condstore && i > 0 {
			fraction = 100
		}
		if later.down > a.first.down/fraction {
			t.Errorf("%s: start %d took more than a part in %d of the first", a.address, i+2, fraction)
		}
		if a.compress { // the data cannot be read
			continue
		}
		fetched := headersOf.FindAllSubmatch(later.sent, -1)
		if len(fetched) == 0 {
			t.Errorf("%s: start %d fetched no headers:\n%s", a.address, i+2, later.sent)
		}
		for _, f := range fetched {
			if uid, _ := strconv.Atoi(string(f[1])); uid <= known+i*more {
				t.Errorf("%s: %s: it had that already", a.address, f[0])
			}
		}
		if a.condstore != bytes.Contains(later.sent, []byte("CHANGEDSINCE")) {
			t.Errorf("%s: CONDSTORE was to be used: %v, and the commands were\n%s", a.address, a.condstore, later.sent)
		}
	}
}

// resyncAccount is an account that Thunderbird reaches through a meter.
type resyncAccount struct {
	address             string
	condstore, compress bool
	meter               *meter
	first               traffic
	later               [2]traffic // at the second and at the third start
}

// startMetered starts Thunderbird with accounts.
func startMetered(t *testing.T, m *rig.Maildird, accounts []*resyncAccount) *rig.Thunderbird {
	t.Helper()
	var boxes []rig.Mailbox
	prefs := map[string]any{}
	for i, a := range accounts {
		a.meter = startMeter(t, m.Address("imap"))
		boxes = append(boxes, rig.Mailbox{
			Account: rig.Account{Address: a.address, Password: password}, Name: a.address,
			IMAP: a.meter.listener.Addr().String(), Security: rig.Plain,
			SMTP: m.Address("submission"), SMTPSecure: rig.Plain,
		})
		server := fmt.Sprintf("mail.server.server%d.", i+1)
		prefs[server+"use_condstore"], prefs[server+"use_compress_deflate"] = a.condstore, a.compress
	}
	ctx, cancel := context.WithTimeout(t.Context(), 18*time.Minute)
	t.Cleanup(cancel)
	tb, err := rig.StartThunderbird(ctx, boxes, prefs)
	must(t, err)
	return tb
}

// change makes the changes of other programs while Thunderbird is not running: some messages
// get a flag, and some are added.
func (a *resyncAccount) change(t *testing.T, m *rig.Maildird, n int, subject string) {
	t.Helper()
	cur := filepath.Join(m.Home(a.address), "cur")
	names, err := filepath.Glob(filepath.Join(cur, "*:2,S"))
	must(t, err)
	for i := range n {
		name := names[(i+1)*len(names)/(n+2)]
		must(t, os.Rename(name, strings.TrimSuffix(name, "S")+"FS"))
		deliver(t, m, a.address, fmt.Sprintf("%s, %d", subject, i), "text\r\n")
	}
}

// flagged counts the messages with the flag \Flagged.
func (a *resyncAccount) flagged(t *testing.T, m *rig.Maildird) int {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(m.Home(a.address), "cur", "*:2,*F*"))
	must(t, err)
	return len(names)
}

// traffic is the data transferred through a meter.
type traffic struct {
	down, up int    // bytes from the server, to the server
	sent     []byte // what the client sent
}

// meter is a TCP proxy that counts bytes.
type meter struct {
	listener net.Listener
	to       string
	conns    sync.WaitGroup

	mu   sync.Mutex
	seen traffic
	last time.Time // when data was last transferred
	open map[net.Conn]struct{}
}

// startMeter starts a meter in front of a server; it ends with the test.
func startMeter(t *testing.T, to string) *meter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p := &meter{listener: l, to: to, open: map[net.Conn]struct{}{}}
	p.conns.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close()
		p.mu.Lock()
		for c := range p.open {
			_ = c.Close()
		}
		p.mu.Unlock()
		p.conns.Wait()
	})
	return p
}

func (p *meter) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.to)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.open[client], p.open[server] = struct{}{}, struct{}{}
		p.mu.Unlock()
		p.conns.Go(func() {
			p.pass(server, client, func(b []byte) { p.seen.up += len(b); p.seen.sent = append(p.seen.sent, b...) })
		})
		p.conns.Go(func() { p.pass(client, server, func(b []byte) { p.seen.down += len(b) }) })
	}
}

// pass copies data from one side to the other.
func (p *meter) pass(to, from net.Conn, count func([]byte)) {
	defer func() {
		_, _ = to.Close(), from.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.open, from)
	}()
	var b [16 << 10]byte
	for {
		n, err := from.Read(b[:])
		if n > 0 {
			p.mu.Lock()
			count(b[:n])
			p.last = time.Now()
			p.mu.Unlock()
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// rest waits until no data has passed the meter for a while.
func (p *meter) rest(t *testing.T) {
	t.Helper()
	p.await(t, "Thunderbird comes to no rest", func() bool { return time.Since(p.last) > 3*time.Second })
}

// taken waits until all connections are closed, and returns the traffic since the last call.
func (p *meter) taken(t *testing.T) traffic {
	t.Helper()
	p.await(t, "connections stay open", func() bool { return len(p.open) == 0 })
	p.mu.Lock()
	defer p.mu.Unlock()
	seen := p.seen
	p.seen = traffic{}
	return seen
}

// await waits until done, which is called with the lock, returns true.
func (p *meter) await(t *testing.T, wrong string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		p.mu.Lock()
		is := done()
		p.mu.Unlock()
		if is {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(wrong)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
