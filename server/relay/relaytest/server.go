// Package relaytest is a mail server for the tests of what sends mail on: it takes
// everything, but for what it is told to answer otherwise.
package relaytest

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// Answers that are not sent.
const (
	Silence = "silence" // there is none, and nothing is read any more
	HangUp  = "hang up" // the connection is closed
)

// Server is a relay on 127.0.0.1. Fields are set before Start.
type Server struct {
	Offers []string    // what EHLO tells of
	TLS    *tls.Config // for STARTTLS, which is in Offers, or from the start with Implicit
	// Implicit says that connections begin with TLS.
	Implicit bool
	// Answers are what is said to a line that begins so, instead of yes: whole lines
	// without the last CRLF, or one of the constants. "greeting" is the connection,
	// "text" the first line of a message, after which the rest is not waited for, and
	// ". RCPT TO:<address>" its end, with the last recipient.
	Answers map[string]string
	// Taken, if not nil, is called when a message has come, before it is answered.
	Taken func()
	// Through, if not nil, is what connections come through.
	Through func(net.Listener) net.Listener

	Address string // since Start

	mu       sync.Mutex
	said     []string // by clients
	messages []string
	cut      []string // messages without an end
	open     int
	changed  *sync.Cond
}

// Start serves until the end of the test.
func (s *Server) Start(t testing.TB) *Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Address, s.changed = l.Addr().String(), sync.NewCond(&s.mu)
	if s.Through != nil {
		l = s.Through(l)
	}
	var running sync.WaitGroup
	stop := make(chan struct{})
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.count(1)
			running.Go(func() {
				defer s.count(-1)
				done := make(chan struct{})
				go func() {
					select {
					case <-stop:
					case <-done:
					}
					_ = conn.Close()
				}()
				s.serve(conn, stop)
				close(done)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		close(stop)
		running.Wait()
	})
	return s
}

func (s *Server) count(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open += n
	s.changed.Broadcast()
}

// Idle waits until no connection is open.
func (s *Server) Idle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.open > 0 {
		s.changed.Wait()
	}
}

// Said returns the commands that came, in their order.
func (s *Server) Said() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.said...)
}

// Messages returns the messages that were taken, as they came behind DATA but for the
// last line.
func (s *Server) Messages() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.messages...)
}

// Unfinished returns what came behind DATA where the connection ended before the last
// line.
func (s *Server) Unfinished() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.cut...)
}

// session is one connection.
type session struct {
	*Server
	conn net.Conn
	in   *bufio.Reader
	stop chan struct{}
	to   string // the last RCPT
}

func (s *Server) serve(conn net.Conn, stop chan struct{}) {
	c := &session{Server: s, conn: conn, stop: stop}
	if s.Implicit {
		c.conn = tls.Server(conn, s.TLS)
	}
	c.in = bufio.NewReader(c.conn)
	if !c.answer("greeting", "220 relay.example ESMTP") {
		return
	}
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSuffix(line, "\r\n")
		s.mu.Lock()
		s.said = append(s.said, line)
		s.mu.Unlock()
		if !c.command(line) {
			return
		}
	}
}

// answer says what there is to say to a line; false ends the connection.
func (c *session) answer(line, otherwise string) bool {
	text, longest := otherwise, -1
	for prefix, a := range c.Answers {
		if strings.HasPrefix(line, prefix) && len(prefix) > longest {
			text, longest = a, len(prefix)
		}
	}
	switch text {
	case HangUp:
		return false
	case Silence:
		<-c.stop
		return false
	}
	_, err := io.WriteString(c.conn, text+"\r\n")
	return err == nil && !strings.HasPrefix(text, "421")
}

// asked tells whether there is another answer than yes.
func (c *session) asked(line string) bool {
	for prefix := range c.Answers {
		if strings.HasPrefix(line, prefix) {
			return true
		}
	}
	return false
}

func (c *session) command(line string) bool {
	verb, _, _ := strings.Cut(line, " ")
	switch {
	case c.asked(line):
		return c.answer(line, "")
	case verb == "EHLO":
		text := "250 relay.example"
		if len(c.Offers) > 0 {
			text = "250-relay.example\r\n250-" + strings.Join(c.Offers, "\r\n250-")
			last := strings.LastIndex(text, "250-")
			text = text[:last] + "250 " + text[last+4:]
		}
		return c.answer(line, text)
	case verb == "STARTTLS":
		if !c.answer(line, "220 2.0.0 Go on") {
			return false
		}
		c.conn = tls.Server(c.conn, c.TLS)
		c.in = bufio.NewReader(c.conn)
		return true
	case verb == "RCPT":
		c.to = line
	case verb == "DATA":
		return c.answer(line, "354 Go on") && c.message()
	case verb == "QUIT":
		c.answer(line, "221 2.0.0 Bye")
		return false
	case verb == "AUTH":
		return c.answer(line, "235 2.7.0 Welcome")
	}
	return c.answer(line, "250 2.1.0 Ok")
}

// message takes a message.
func (c *session) message() bool {
	var text strings.Builder
	end := ". " + c.to
	for {
		line, err := c.in.ReadString('\n')
		switch {
		case err != nil:
			c.mu.Lock()
			c.cut = append(c.cut, text.String()+line)
			c.mu.Unlock()
			return false
		case c.asked("text"):
			return c.answer("text", "") && !strings.HasPrefix(c.Answers["text"], "5")
		case line == ".\r\n":
			if !c.asked(end) {
				c.mu.Lock()
				c.messages = append(c.messages, text.String())
				c.mu.Unlock()
				if c.Taken != nil {
					c.Taken()
				}
			}
			return c.answer(end, "250 2.0.0 Ok: queued as 4cXyZ")
		}
		text.WriteString(line)
	}
}
