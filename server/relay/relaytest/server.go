// Package relaytest provides a mail server for tests of code that relays mail. It accepts
// everything, except for the commands that have other answers.
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

// Answers with a special meaning.
const (
	Silence = "silence" // no reply, and no further input is read
	HangUp  = "hang up" // the connection is closed
)

// Server is a relay on 127.0.0.1. Its fields must be set before Start.
type Server struct {
	Offers []string    // the EHLO keywords
	TLS    *tls.Config // for STARTTLS, which must be in Offers, or for Implicit
	// Implicit makes connections begin with TLS.
	Implicit bool
	// Answers are the replies to lines that begin with a key, instead of the positive
	// ones. They are complete lines without the last CRLF, or one of the constants. The
	// key "greeting" is for the connection, "text" for the first line of a message, the
	// rest of which is not read, and ". RCPT TO:<address>" for the end of a message,
	// with its last recipient.
	Answers map[string]string
	// Taken, if not nil, is called when a message has arrived, before the reply.
	Taken func()
	// Through, if not nil, wraps the listener.
	Through func(net.Listener) net.Listener

	Address string // set by Start

	mu       sync.Mutex
	said     []string // commands of all clients
	messages []string
	cut      []string // incomplete messages
	open     int
	changed  *sync.Cond
}

// Start serves until the test ends.
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

// Said returns all commands in order.
func (s *Server) Said() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.said...)
}

// Messages returns the accepted messages as they were sent after DATA, without the last line.
func (s *Server) Messages() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.messages...)
}

// Unfinished returns the messages whose connections ended before the last line, as they
// were sent after DATA.
func (s *Server) Unfinished() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.cut...)
}

// session is a connection.
type session struct {
	*Server
	conn net.Conn
	in   *bufio.Reader
	stop chan struct{}
	to   string // the last RCPT command
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

// answer sends the reply to a line; false ends the connection.
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

// asked reports whether Answers has a reply to a line.
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

// message reads a message.
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
