package smtp

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"maildird/scripts/rig/leaks"
	"maildird/server/limit"
	"maildird/server/relay"
	"maildird/server/relay/relaytest"
	"maildird/server/servertest"
)

// netStep is what a client sends at once, and the replies that it then waits for.
type netStep struct {
	text string
	// replies are the replies to wait for, each with the copies that are stored if it is 250:
	// "MESSAGE USER", and "MESSAGE relay" for that of the relay.
	replies [][]string
	tls     bool // then TLS begins
}

// netDialogue is the script of a session.
type netDialogue struct {
	name  string
	kind  Kind
	steps []netStep
	// together contains groups of copies, of which all or none are stored, because there is one
	// reply for each group.
	together [][]string
}

func says(text string, copies ...string) netStep {
	return netStep{text: text + "\r\n", replies: [][]string{copies}}
}

// group returns a step with several commands at once, whose replies confirm no copy.
func group(lines ...string) netStep {
	return netStep{text: strings.Join(lines, "\r\n") + "\r\n", replies: make([][]string, len(lines))}
}

// netText returns the text of a message; if large, it is longer than what is held in memory.
func netText(name string, large bool) string {
	text := "From: alice@example.org\r\nSubject: " + name + "\r\n\r\n" + strings.Repeat("text\r\n", 30)
	if large {
		text += strings.Repeat(strings.Repeat("x", 70)+"\r\n", 1500)
	}
	return text + "end of " + name + "\r\n"
}

func bdat(name string) (text string) {
	whole := netText(name, false)
	half := len(whole) / 2
	return fmt.Sprintf("BDAT %d\r\n%sBDAT %d LAST\r\n%s", half, whole[:half], len(whole)-half, whole[half:])
}

var netDialogues = []netDialogue{
	{name: "SMTP", kind: MX, together: [][]string{{"one alice", "one bob"}}, steps: []netStep{
		says("EHLO client.example"),
		{text: "STARTTLS\r\n", replies: [][]string{nil}, tls: true},
		says("EHLO client.example"),
		group("MAIL FROM:<s@client.example>", "RCPT TO:<alice@example.org>", "RCPT TO:<nobody@example.org>", "RCPT TO:<bob@example.org>", "DATA"),
		says(netText("one", true)+".", "one alice", "one bob"),
		group("MAIL FROM:<>", "RCPT TO:<alice@example.org>"),
		{text: bdat("two"), replies: [][]string{nil, {"two alice"}}},
		group("RSET", "NOOP", "MAIL FROM:<s@client.example>", "RCPT TO:<bob@example.org>", "DATA"),
		{text: netText("three", false) + ".\r\nQUIT\r\n", replies: [][]string{{"three bob"}, nil}},
	}},
	{name: "LMTP", kind: LMTP, steps: []netStep{
		says("LHLO relay.example"),
		{text: "MAIL FROM:<s@client.example>\r\nRCPT TO:<alice@example.org>\r\nRCPT TO:<nobody@example.org>\r\nRCPT TO:<bob@example.org>\r\n" + bdat("one"),
			replies: [][]string{nil, nil, nil, nil, nil, {"one alice"}, {"one bob"}}},
		group("MAIL FROM:<s@client.example>", "RCPT TO:<carol@example.org>", "RCPT TO:<alice@example.org>", "DATA"),
		{text: netText("two", true) + ".\r\nMAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n", replies: [][]string{{"two carol"}, {"two alice"}, nil, nil, nil}},
		{text: netText("three", false) + ".\r\nQUIT\r\n", replies: [][]string{{"three bob"}, nil}},
	}},
	{name: "submission", kind: Submission, together: [][]string{{"one alice", "one relay"}, {"three bob"}}, steps: []netStep{
		says("EHLO client.example"),
		{text: "STARTTLS\r\n", replies: [][]string{nil}, tls: true},
		says("EHLO client.example"),
		says("AUTH LOGIN"), says("YWxpY2U="), says("c2VjcmV0"),
		group("MAIL FROM:<alice@example.org>", "RCPT TO:<friend@there.example>", "RCPT TO:<alice@example.org>", "DATA"),
		says(netText("one", true)+".", "one alice", "one relay"),
		group("MAIL FROM:<alice@example.org>", "RCPT TO:<friend@there.example>"),
		{text: bdat("two"), replies: [][]string{nil, {"two relay"}}},
		group("MAIL FROM:<alice@example.org>", "RCPT TO:<bob@example.org>", "DATA"),
		{text: netText("three", false) + ".\r\nQUIT\r\n", replies: [][]string{{"three bob"}, nil}},
	}},
}

// TestNetworkFails makes each read and write of a session fail in turn, by a reset, by the end
// of the client's data, and by a network that stalls. Each copy that was acknowledged must be
// stored completely and once, with LMTP separately for each recipient. Of a message that was
// not acknowledged, there may be one copy at most, and none if it was not sent to its end. The
// only available connection and the only login must be free again.
func TestNetworkFails(t *testing.T) {
	for _, d := range netDialogues {
		t.Run(d.name, func(t *testing.T) {
			others := goleak.IgnoreCurrent()
			t.Cleanup(func() { leaks.None(t, others) }) // after the server has ended
			n, stuck := newNetTest(t, &d, time.Minute), newNetTest(t, &d, 100*time.Millisecond)
			calls := n.run(-1, servertest.Reset)
			step := 1
			if testing.Short() {
				step = 3
			}
			for at := 0; at < calls; at += step {
				n.run(at, servertest.Reset)
				n.run(at, servertest.Ended)
				stuck.run(at, servertest.Stuck)
			}
			n.run(-1, servertest.Reset)
		})
	}
}

type netTest struct {
	*testServer
	t       *testing.T
	d       *netDialogue
	network *servertest.Network
	relay   *relaytest.Server
	roots   *x509.CertPool
}

// newNetTest starts a server on which only this timeout ends a handshake that is stuck.
func newNetTest(t *testing.T, d *netDialogue, handshake time.Duration) *netTest {
	cert, roots := servertest.Certificate(t)
	r := newRelay(t, nil)
	n := &netTest{t: t, d: d, relay: r, roots: roots}
	n.testServer = startServer(t, d.kind, withTLS(cert), withRelay(t, r), func(c *Config) {
		c.Connections = limit.New(limit.Limits{Total: 1, PerIP: 1, PerUser: 1})
		c.Mail = limit.NewMail(1e6, 1e6)
		c.Timeouts.TLS = handshake
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n.network = &servertest.Network{Listener: l, Piece: 4000}
	n.listen(n.network, false)
	return n
}

// run plays the dialogue while the network fails, and returns the number of calls.
func (n *netTest) run(at int, how servertest.Failure) int {
	n.t.Helper()
	n.log.Take()
	before := len(n.relay.Messages())
	n.network.Fail(at, how)
	told, sent := n.play()
	eventually(n.t, "the session ends", func() bool { return n.connections() == 0 })
	n.relay.Idle()
	log := n.log.String()
	fail := func(format string, args ...any) {
		n.t.Helper()
		n.t.Errorf("%s at call %d: %s; the client was told of %v, and has sent %v; the log:\n%s", how, at, fmt.Sprintf(format, args...), told, sent, log)
	}
	if err := n.network.Err(); err != nil {
		fail("%v", err)
	}
	copies := n.copies(n.relay.Messages()[before:], fail)
	for copy, count := range copies {
		if count > 1 || !sent[copy] {
			fail("%d copies of %q", count, copy)
		}
	}
	for copy := range told {
		if copies[copy] != 1 {
			fail("%d copies of %q", copies[copy], copy)
		}
	}
	for _, together := range n.d.together {
		for _, copy := range together {
			// A copy at the relay need not be stored locally if the relay's
			// acknowledgement was lost.
			if copies[copy] != copies[together[0]] {
				fail("%v", copies)
			}
		}
	}
	if at < 0 && len(told) != len(sent) {
		fail("without a fault")
	}
	// The server is not at fault, and the client just disconnected.
	if strings.Contains(log, "level=ERROR") || strings.Contains(log, `reason="unexpected EOF"`) || strings.Count(log, "message interrupted") > 1 {
		fail("the log")
	}
	return n.network.Calls()
}

// copies counts the stored copies, and removes them.
func (n *netTest) copies(relayed []string, fail func(string, ...any)) map[string]int {
	n.t.Helper()
	copies := map[string]int{}
	count := func(text, where string) {
		_, after, _ := strings.Cut(text, "Subject: ")
		name, _, _ := strings.Cut(after, "\n")
		_, body, _ := strings.Cut(after, "\n\n")
		_, want, _ := strings.Cut(strings.ReplaceAll(netText(name, len(body) > 1000), "\r\n", "\n"), "\n\n")
		if body != want {
			fail("not whole: %q", text)
		}
		copies[name+" "+where]++
	}
	for _, text := range relayed {
		count(strings.ReplaceAll(text, "\r\n", "\n"), "relay")
	}
	for _, user := range []string{"alice", "bob", "carol"} {
		for _, text := range n.mail(user) {
			count(text, user)
		}
		for _, sub := range []string{"new", "tmp"} {
			paths, _ := filepath.Glob(filepath.Join(n.home, user, sub, "*"))
			for _, path := range paths {
				if sub == "tmp" {
					fail("left behind: %s", path)
				}
				_ = os.Remove(path)
			}
		}
	}
	return copies
}

// play plays the client's part. It returns the copies that were acknowledged, and those whose
// message was sent to the end.
func (n *netTest) play() (told, sent map[string]bool) {
	n.t.Helper()
	told, sent = map[string]bool{}, map[string]bool{}
	conn, err := net.Dial("tcp", n.network.Addr().String())
	if err != nil {
		n.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	in := bufio.NewReader(conn)
	wire := conn
	take := func() (string, bool) {
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return "", false
			}
			if len(line) > 3 && line[3] == ' ' {
				return line, true
			}
		}
	}
	if _, ok := take(); !ok {
		return told, sent
	}
	for _, step := range n.d.steps {
		for _, copies := range step.replies {
			for _, copy := range copies {
				sent[copy] = true
			}
		}
		_, _ = io.WriteString(wire, step.text) // replies before the failure count
		for _, copies := range step.replies {
			line, ok := take()
			if !ok {
				return told, sent
			}
			for _, copy := range copies {
				if strings.HasPrefix(line, "250 ") {
					told[copy] = true
				}
			}
		}
		if step.tls {
			t := tls.Client(conn, &tls.Config{RootCAs: n.roots, ServerName: "127.0.0.1"})
			if t.Handshake() != nil {
				return told, sent
			}
			wire, in = t, bufio.NewReader(t)
		}
	}
	_, _ = io.Copy(io.Discard, in)
	return told, sent
}

// TestRelayNetworkFails makes each read and write on the connection to the relay fail in turn,
// with STARTTLS and a login. A message that is acknowledged must be at the relay and stored
// locally. The relay may have a message that is not acknowledged, which is unavoidable if its
// reply is lost, but then nothing is stored locally. Each failure must be a line in the log.
func TestRelayNetworkFails(t *testing.T) {
	others := goleak.IgnoreCurrent()
	t.Cleanup(func() { leaks.None(t, others) })
	cert, _ := servertest.Certificate(t)
	network := &servertest.Network{Patient: true, Piece: 4000}
	s := &relaytest.Server{
		Offers: []string{"SIZE 1000000", "8BITMIME", "STARTTLS", "AUTH LOGIN"}, TLS: &tls.Config{Certificates: []tls.Certificate{cert}},
		Answers: map[string]string{"AUTH LOGIN": "334 VXNlcg==", "YWxpY2U=": "334 UGFzcw==", "c2VjcmV0": "235 2.7.0 Welcome"},
		Through: func(l net.Listener) net.Listener { network.Listener = l; return network },
	}
	s.Start(t)
	relayWithin := func(limit time.Duration) serverOption {
		r, err := relay.New(relay.Config{
			Address: s.Address, Hostname: "mail.example.org", User: "alice", Password: "secret",
			Timeouts: relay.Timeouts{Open: limit, Command: limit, Block: limit, End: limit},
		})
		if err != nil {
			t.Fatal(err)
		}
		return func(c *Config) { c.Relay = r }
	}
	patient, stuck := startServer(t, Submission, relayWithin(time.Minute)), startServer(t, Submission, relayWithin(50*time.Millisecond))
	clients := map[*testServer]*client{patient: patient.submit(), stuck: stuck.submit()}
	try := func(ts *testServer, at int, how servertest.Failure) {
		t.Helper()
		c, before, stored := clients[ts], len(s.Messages()), len(ts.mail("bob"))
		ts.log.Take()
		network.Fail(at, how)
		c.send("MAIL FROM:<alice@example.org>\r\nRCPT TO:<friend@there.example>\r\nRCPT TO:<bob@example.org>\r\nRCPT TO:<other@there.example>\r\n")
		var refused []string
		for range 4 {
			if line := c.expectAny(); line[0] != '2' {
				refused = append(refused, line)
			}
		}
		c.send("DATA\r\n")
		answer := c.expectAny()
		if strings.HasPrefix(answer, "354") {
			c.send(netText("relayed", true) + ".\r\n")
			answer = c.expectAny()
		}
		c.say("RSET", "250")
		s.Idle()
		there, here := len(s.Messages())-before, len(ts.mail("bob"))-stored
		log := ts.log.String()
		relayed := strings.Contains(answer, "Relayed")
		good := strings.HasPrefix(answer, "250") && here == 1 && (there == 1 || there == 0 && len(refused) == 2) && relayed == (there == 1) ||
			strings.HasPrefix(answer, "451 4.4.1") && here == 0 && there <= 1
		if at < 0 {
			good = good && relayed && len(refused) == 0
		} else {
			lines := strings.Count(log, "relay cannot be used")
			good = good && lines <= 1 && (lines == 1 || relayed)
		}
		if !good {
			t.Errorf("%s at call %d: %d messages there, %d here, the client was told %q and then %q; the log:\n%s", how, at, there, here, refused, answer, log)
		}
	}
	try(patient, -1, servertest.Reset)
	for at := range network.Calls() {
		try(patient, at, servertest.Reset)
		try(patient, at, servertest.Ended)
		try(stuck, at, servertest.Stuck)
	}
	try(patient, -1, servertest.Reset)
}

// expectAny reads a reply and returns its last line.
func (c *client) expectAny() string {
	c.t.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(2 * time.Minute))
	for {
		line, err := c.in.ReadString('\n')
		if err != nil || len(line) < 4 {
			c.t.Fatalf("no reply but %q, %v", line, err)
		}
		if line[3] == ' ' {
			return strings.TrimSpace(line)
		}
	}
}
