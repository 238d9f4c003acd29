package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// mailClient is a minimal LMTP or SMTP connection. It uses as few system calls as
// possible and no other goroutine, because processor time that the client uses is not
// available to the server.
type mailClient struct {
	fd   int
	file *os.File // owner of fd

	in   [4 << 10]byte
	have int      // octets in in
	want []string // codes of the pending replies
}

func dialLMTP(s *server) (*mailClient, error) { return dialMail(s.lmtp, "LHLO") }
func dialSMTP(s *server) (*mailClient, error) { return dialMail(s.smtp, "EHLO") }

func dialMail(address, hello string) (*mailClient, error) {
	conn, err := net.DialTimeout("tcp", address, limit)
	if err != nil {
		return nil, err
	}
	// Use a duplicate of the descriptor that is not in Go's poller.
	file, err := conn.(*net.TCPConn).File()
	conn.Close()
	if err != nil {
		return nil, err
	}
	c := &mailClient{file: file, fd: int(file.Fd()), want: []string{"220"}}
	if err := c.greet(hello); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *mailClient) greet(hello string) error {
	patience := unix.NsecToTimeval(limit.Nanoseconds())
	err := errors.Join(
		unix.SetNonblock(c.fd, false),
		unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience),
		unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &patience))
	if err == nil {
		err = c.wait()
	}
	if err == nil {
		err = c.send([]byte(hello+" bench.example.net\r\n"), "250")
	}
	if err == nil {
		err = c.wait()
	}
	return err
}

func (c *mailClient) close() { c.file.Close() }

// letter is a message for one recipient in the form that is sent. It is prepared before
// the time is taken.
type letter struct{ commands, text []byte }

// newLetter addresses a message to receiver. The message must have CRLF line ends
// and no leading dots.
func newLetter(message []byte) letter {
	return letter{
		commands: []byte("MAIL FROM:<bench@example.net>\r\nRCPT TO:<" + receiver + ">\r\nDATA\r\n"),
		text:     append(message, ".\r\n"...),
	}
}

var (
	readyForText = []string{"250", "250", "354"}
	stored       = []string{"250"}
)

// deliver delivers a message. Like the clients of Postfix, it sends MAIL, RCPT and DATA at
// once, and then the message with its end.
func (c *mailClient) deliver(l letter) error {
	if err := c.begin(l); err != nil {
		return err
	}
	if err := c.wait(); err != nil {
		return err
	}
	if err := c.finish(l); err != nil {
		return err
	}
	return c.wait()
}

// begin sends the commands of a message, finish sends its text. After each, the
// replies must be read.
func (c *mailClient) begin(l letter) error  { return c.send(l.commands, readyForText...) }
func (c *mailClient) finish(l letter) error { return c.send(l.text, stored...) }

// send sends something that is answered with these codes.
func (c *mailClient) send(what []byte, codes ...string) error {
	c.want = codes
	for len(what) > 0 {
		n, err := unix.Write(c.fd, what)
		if err == unix.EAGAIN { // because of SO_SNDTIMEO
			return os.ErrDeadlineExceeded
		}
		if err != nil && err != unix.EINTR {
			return err
		}
		what = what[max(n, 0):]
	}
	return nil
}

// wait reads all pending replies.
func (c *mailClient) wait() error {
	for len(c.want) > 0 {
		if err := c.read(); err != nil {
			return err
		}
	}
	return nil
}

// read reads once and processes the replies.
func (c *mailClient) read() error {
	n, err := unix.Read(c.fd, c.in[c.have:])
	switch {
	case err == unix.EINTR:
		return nil
	case err == unix.EAGAIN: // because of SO_RCVTIMEO
		return os.ErrDeadlineExceeded
	case err != nil:
		return err
	case n == 0:
		return io.EOF
	}
	c.have += n
	rest := c.in[:c.have]
	for {
		end := bytes.IndexByte(rest, '\n')
		if end < 0 {
			break
		}
		line := rest[:end]
		if len(c.want) == 0 || end < 4 || string(line[:3]) != c.want[0] {
			return fmt.Errorf("answer %q", bytes.TrimSpace(line))
		}
		if line[3] != '-' { // otherwise the reply has more lines
			c.want = c.want[1:]
		}
		rest = rest[end+1:]
	}
	if c.have = copy(c.in[:], rest); c.have == len(c.in) {
		return fmt.Errorf("answer without end: %.80q", c.in)
	}
	return nil
}
