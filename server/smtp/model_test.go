package smtp

import (
	"bufio"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"maildird/server/limit"
	"maildird/server/servertest"
)

var modelSeed = flag.Uint64("modelseed", 0, "TestModel: seed of the only session, as a failure tells it")

const modelSize = 30_000 // octets of the largest message

// modelUsers are who gets the mail for the addresses of the model; nobody has the others.
var modelUsers = map[string][]string{
	"alice@example.org": {"alice"}, "BOB": {"bob"}, "both@example.org": {"alice", "bob"}, "Postmaster": {"carol"},
	"nobody@example.org": nil, "x@elsewhere.example": nil,
}

// model is what a server must know about a session, and the choice of what its client says.
type model struct {
	kind      Kind
	rand      *rand.Rand
	hello     bool
	pipelines bool // the client may send groups; not after HELO
	tls       bool
	login     bool
	mail      bool     // a sender was accepted
	to        []string // accepted recipients
	refused   bool     // a recipient was refused
	data      bool     // the text of a message must follow
	chunks    bool     // a message is arriving in chunks
	message   modelMessage
	rest      []string // lines of the message that the client has not sent
	bad       int      // commands with a 5xx reply since the last message, at least
	next      func() string
}

// modelMessage is a message. Its text names it, and has no line in common with another one's name.
type modelMessage struct {
	text  string   // with CRLF; of one in chunks, what was sent
	users []string // who get it if the reply is 250
}

// octets is the size of the message, in which an LF without CR counts as a line end too.
func (m *modelMessage) octets() int { return len(m.text) + strings.Count(m.text, ".\n") }

// step is what a client sends, and the codes of the replies that it must get.
type step struct {
	send    string
	replies []string
	last    bool          // the client must wait before it sends more
	ends    *modelMessage // acknowledged, unless the replies are errors
}

// say is a step of one command and one reply.
func (m *model) say(line, code string) step {
	if code[0] == '5' {
		m.bad++
	}
	return step{send: line + "\r\n", replies: []string{code}}
}

func (m *model) reset() {
	m.mail, m.to, m.refused, m.chunks = false, nil, false, false
}

// step returns what the client does next.
func (m *model) step() step {
	if m.data {
		m.data = false
		text := strings.Join(m.rest, "")
		m.message = modelMessage{text: text}
		return m.end(strings.ReplaceAll("\r\n"+text, "\r\n.", "\r\n..")[2:] + ".\r\n")
	}
	if m.bad >= maxBadCommands-2 {
		s := m.say("QUIT", "221")
		s.last = true
		return s
	}
	// What makes no sense in the current state is said less often.
	likely := func(sense bool) bool { return sense || m.rand.IntN(12) == 0 }
	ready := m.mail && len(m.to) > 0
	for {
		switch n := m.rand.IntN(20); {
		case n < 1 || n < 6 && !m.hello:
			return m.sayHello()
		case n < 6 && likely(m.hello && !m.mail):
			return m.sayMail()
		case n < 10 && likely(m.mail && !m.chunks):
			return m.sayRcpt()
		case n < 12 && likely(ready && !m.chunks):
			return m.sayData(ready)
		case n < 15 && likely(ready):
			return m.sayBdat(ready)
		case n == 15 && likely(m.mail):
			m.reset()
			return m.say("RSET", "250")
		case n == 16:
			line := []string{"NOOP x", "VRFY alice", "HELP"}[m.rand.IntN(3)]
			return m.say(line, map[string]string{"NOOP x": "250", "VRFY alice": "252", "HELP": "214"}[line])
		case n == 17 && likely(false):
			line := []string{"FROB", "NOOP \x01", "RSET x", "DATA x", "STARTTLS x", "EXPN x"}[m.rand.IntN(6)]
			return m.say(line, map[byte]string{'F': "500", 'N': "500", 'E': "502"}[line[0]]+map[byte]string{'R': "501", 'D': "501", 'S': "501"}[line[0]])
		case n == 18 && likely(m.kind == Submission && m.hello && !m.login && !m.mail):
			return m.sayAuth()
		case n == 19 && likely(!m.tls && !m.mail):
			return m.sayTLS()
		}
	}
}

func (m *model) sayHello() step {
	verb := []string{"EHLO", "HELO", "LHLO"}[m.rand.IntN(8)/3]
	if lmtp := m.kind == LMTP; lmtp != (verb == "LHLO") {
		return m.say(verb+" client.example", "500")
	}
	m.reset()
	m.hello, m.pipelines = true, verb != "HELO"
	s := m.say(verb+" client.example", "250")
	s.last = true
	return s
}

func (m *model) sayMail() step {
	const line = "MAIL FROM:<alice@example.org>"
	switch {
	case !m.hello || m.mail:
		return m.say(line, "503")
	case m.kind == Submission && !m.login:
		return m.say(line, "530")
	}
	m.mail = true
	return m.say(line, "250")
}

func (m *model) sayRcpt() step {
	var addresses []string
	for a := range modelUsers {
		addresses = append(addresses, a)
	}
	slices.Sort(addresses)
	address := addresses[m.rand.IntN(len(addresses))]
	line := "RCPT TO:<" + address + ">"
	switch {
	case !m.mail || m.chunks:
		return m.say(line, "503")
	case modelUsers[address] == nil:
		m.refused = true
		return step{send: line + "\r\n", replies: []string{"550"}}
	}
	m.to = append(m.to, address)
	return m.say(line, "250")
}

// noMessage is the code of the reply to DATA and BDAT without recipients.
func (m *model) noMessage() string {
	if m.mail && m.refused && m.kind != LMTP {
		return "554"
	}
	return "503"
}

func (m *model) sayData(ready bool) step {
	switch {
	case !ready:
		return m.say("DATA", m.noMessage())
	case m.chunks:
		return m.say("DATA", "503")
	}
	m.data = true
	m.compose()
	s := m.say("DATA", "354")
	s.last = true
	return s
}

func (m *model) sayBdat(ready bool) step {
	header := 0
	if !m.chunks {
		m.compose()
		m.message, header = modelMessage{}, 4
	}
	n := header + m.rand.IntN(len(m.rest)-header+1)
	chunk, last := strings.Join(m.rest[:n], ""), m.rand.IntN(3) == 0
	line := fmt.Sprintf("BDAT %d", len(chunk))
	if last {
		line += " last"
	}
	if !ready {
		s := m.say(line, m.noMessage())
		s.send += chunk
		return s
	}
	m.rest = m.rest[n:]
	m.message.text += chunk
	if last {
		return m.end(line + "\r\n" + chunk)
	}
	code := "250"
	if m.chunks = true; m.message.octets() > modelSize {
		code = "552"
		m.reset()
	}
	s := m.say(line, code)
	s.send += chunk
	return s
}

// compose makes up the lines of a new message.
func (m *model) compose() {
	m.rest = []string{"From: alice@example.org\r\n", "Date: now\r\n", "Message-ID: <" + m.next() + "@client.example>\r\n", "\r\n"}
	for range m.rand.IntN(30) * m.rand.IntN(35) { // the largest are too large
		m.rest = append(m.rest, []string{"text\r\n", ".\r\n", "..\r\n", ".\n", strings.Repeat("x", 200) + "\r\n"}[m.rand.IntN(5)])
	}
	m.rest = append(m.rest, "end\r\n")
}

// end is the step that completes the message.
func (m *model) end(send string) step {
	s := step{send: send, replies: []string{"250"}}
	if m.message.octets() > modelSize {
		s.replies[0] = "552"
		m.bad++
	} else {
		m.bad = 0
		message := m.message
		for _, to := range m.to {
			message.users = append(message.users, modelUsers[to]...)
		}
		s.ends = &message
	}
	if m.kind == LMTP {
		s.replies = slices.Repeat(s.replies, len(m.to))
	}
	m.reset()
	return s
}

func (m *model) sayAuth() step {
	const line = "AUTH PLAIN AGFsaWNlAHNlY3JldA=="
	switch {
	case m.kind != Submission:
		return m.say(line, "502")
	case !m.hello || m.login || m.mail:
		return m.say(line, "503")
	}
	m.login = true
	return m.say(line, "235")
}

func (m *model) sayTLS() step {
	if m.tls || m.mail {
		return m.say("STARTTLS", "503")
	}
	m.hello, m.login, m.tls = false, false, true
	s := m.say("STARTTLS", "220")
	s.last = true
	return s
}

// modelRun is what the clients of a server have seen.
type modelRun struct {
	*testServer
	tls *tls.Config

	mu        sync.Mutex
	named     int
	stored    []*modelMessage // acknowledged
	uncertain []*modelMessage // completed, and broken off before the reply
}

// name returns a name for a message.
func (run *modelRun) name() string {
	run.mu.Lock()
	defer run.mu.Unlock()
	run.named++
	return fmt.Sprintf("message-%d", run.named)
}

// session is a session of random groups.
func (run *modelRun) session(seed uint64) error {
	m := &model{kind: run.kind, rand: rand.New(rand.NewPCG(seed, 0)), next: run.name}
	socket, err := net.Dial("tcp", run.addr)
	if err != nil {
		return err
	}
	defer socket.Close()
	_ = socket.SetDeadline(time.Now().Add(2 * time.Minute))
	conn, in := socket, bufio.NewReader(socket)
	if err := modelReply(in, "220"); err != nil {
		return err
	}
	for steps := 0; steps < 80; {
		var group []step
		var send strings.Builder
		for more := true; more; {
			s := m.step()
			group = append(group, s)
			send.WriteString(s.send)
			more = !s.last && (m.pipelines || !m.hello) && m.rand.IntN(4) > 0
		}
		steps += len(group)
		text := send.String()
		broken := m.rand.IntN(50) == 0
		if broken {
			text = text[:m.rand.IntN(len(text)+1)]
		}
		for n := 0; len(text) > 0; text = text[n:] {
			n = 1 + m.rand.IntN(len(text))
			if _, err := io.WriteString(conn, text[:n]); err != nil {
				return err
			}
		}
		for _, s := range group {
			for _, code := range s.replies {
				if broken {
					break
				}
				if err := modelReply(in, code); err != nil {
					return fmt.Errorf("to %.200q in %.2000q: %w", s.send, send.String(), err)
				}
			}
			if s.ends != nil {
				run.note(s.ends, broken)
			}
		}
		switch last := group[len(group)-1]; {
		case broken || last.send == "QUIT\r\n":
			return nil
		case last.send == "STARTTLS\r\n" && last.last:
			conn = tls.Client(socket, run.tls)
			in.Reset(conn)
		}
	}
	return nil
}

func (run *modelRun) note(m *modelMessage, uncertain bool) {
	run.mu.Lock()
	defer run.mu.Unlock()
	if uncertain {
		run.uncertain = append(run.uncertain, m)
		return
	}
	run.stored = append(run.stored, m)
}

// modelReply reads a reply, which must have a code.
func modelReply(in *bufio.Reader, code string) error {
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return fmt.Errorf("no reply %s: %w", code, err)
		}
		if !replyLine.MatchString(strings.TrimSuffix(line, "\r\n")) || line[:3] != code {
			return fmt.Errorf("reply %q, want %s", line, code)
		}
		if line[3] == ' ' {
			return nil
		}
	}
}

// check compares the Maildirs with what the clients know.
func (run *modelRun) check() {
	t := run.t
	eventually(t, "the sessions end", func() bool { return run.connections() == 0 })
	run.noTemp()
	want := map[string]int{} // by user and text: 1 for stored, 0 for uncertain
	for n, messages := range [][]*modelMessage{run.uncertain, run.stored} {
		for _, m := range messages {
			for _, user := range m.users {
				want[user+" "+strings.ReplaceAll(m.text, "\r\n", "\n")] = n
			}
		}
	}
	found := map[string]int{}
	for _, user := range []string{"alice", "bob", "carol"} {
		for _, text := range run.mail(user) {
			found[user+" "+untraced(t, text)]++
		}
	}
	for text, n := range found {
		if _, known := want[text]; !known || n > 1 {
			t.Errorf("stored %d times, acknowledged or uncertain %v: %.150q", n, known, text)
		}
	}
	for text, n := range want {
		if found[text] < n {
			t.Errorf("acknowledged and not stored: %.150q", text)
		}
	}
	if *modelSeed == 0 && len(run.stored) < 5 { // 35 to 112 are usual
		t.Errorf("only %d messages were acknowledged", len(run.stored))
	}
	t.Logf("%s: %d messages acknowledged, %d uncertain, %d copies", run.kind, len(run.stored), len(run.uncertain), len(found))
}

// TestModel gives servers of each kind random commands in and out of order, in groups (RFC 2920)
// that arrive in random pieces, and breaks off some sessions. A simple model knows the code of each
// reply. In the end exactly the messages that were acknowledged must be stored, once for each
// user, and of those that were broken off behind their end, any.
func TestModel(t *testing.T) {
	cert, pool := servertest.Certificate(t)
	for _, kind := range []Kind{MX, Submission, LMTP} {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			ts := startServer(t, kind, withTLS(cert), withAliases(t, "both alice, bob"), func(c *Config) {
				c.Log = nil
				c.Limits.Message, c.Limits.BadRecipients = modelSize, 1000
				c.Mail = limit.NewMail(1<<30, 1<<30)
			})
			run := &modelRun{testServer: ts, tls: &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"}}
			sessions := 60
			if *modelSeed != 0 {
				sessions = 1
			}
			var clients sync.WaitGroup
			for range 4 {
				clients.Go(func() {
					for range (sessions + 3) / 4 {
						seed := *modelSeed
						if seed == 0 {
							seed = rand.Uint64()
						}
						if err := run.session(seed); err != nil {
							t.Errorf("-modelseed %d: %v", seed, err)
							return
						}
					}
				})
			}
			clients.Wait()
			run.check()
		})
	}
}
