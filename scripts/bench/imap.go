package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// limit bounds an operation of either server.
const limit = 60 * time.Second

// imapClient is a bare IMAP connection that costs as little as can be: it
// finds the end of an answer and keeps the octets for later.
type imapClient struct {
	conn net.Conn
	r    *bufio.Reader
	tag  int
	buf  []byte
}

// dialIMAP connects and logs in.
func dialIMAP(s *server, user string) (*imapClient, error) { return dialIMAPBuffered(s, user, 256<<10) }

// dialIMAPSmall is dialIMAP for a client that there are thousands of.
func dialIMAPSmall(s *server, user string) (*imapClient, error) {
	return dialIMAPBuffered(s, user, 4<<10)
}

func dialIMAPBuffered(s *server, user string, buffer int) (*imapClient, error) {
	conn, err := net.DialTimeout("tcp", s.imap, limit)
	if err != nil {
		return nil, err
	}
	c := &imapClient{conn: conn, r: bufio.NewReaderSize(conn, buffer)}
	if err := c.conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return nil, err
	}
	if _, err := c.line(); err != nil {
		return nil, err
	}
	if _, err := c.do("LOGIN %s %s", user, password); err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

func (c *imapClient) close() { c.conn.Close() }

// line reads one line with the literals in it into buf and returns where it
// begins there.
func (c *imapClient) line() (start int, err error) {
	start = len(c.buf)
	for {
		part, err := c.r.ReadSlice('\n')
		c.buf = append(c.buf, part...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil {
			return start, err
		}
		n, ok := literalSize(c.buf[start:])
		if !ok {
			return start, nil
		}
		c.buf = append(c.buf, make([]byte, n)...)
		if _, err := io.ReadFull(c.r, c.buf[len(c.buf)-n:]); err != nil {
			return start, err
		}
	}
}

// literalSize looks for {n} at the end of a line.
func literalSize(line []byte) (int, bool) {
	if !bytes.HasSuffix(line, []byte("}\r\n")) {
		return 0, false
	}
	open := bytes.LastIndexByte(line, '{')
	if open < 0 {
		return 0, false
	}
	n, err := strconv.Atoi(string(line[open+1 : len(line)-3]))
	return n, err == nil && n >= 0
}

// do sends a command and returns the untagged responses; they are valid until
// the next command. Anything but OK is an error.
func (c *imapClient) do(format string, args ...any) ([]byte, error) {
	c.tag++
	command := fmt.Sprintf("t%d "+format+"\r\n", append([]any{c.tag}, args...)...)
	if _, err := io.WriteString(c.conn, command); err != nil {
		return nil, err
	}
	return c.answer()
}

// answer reads up to the tagged response of the last command.
func (c *imapClient) answer() ([]byte, error) {
	if err := c.conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return nil, err
	}
	tag := fmt.Appendf(nil, "t%d ", c.tag)
	c.buf = c.buf[:0]
	for {
		start, err := c.line()
		if err != nil {
			return nil, err
		}
		if line := c.buf[start:]; bytes.HasPrefix(line, tag) {
			if !bytes.HasPrefix(line[len(tag):], []byte("OK")) {
				return nil, fmt.Errorf("answer %q", bytes.TrimSpace(line))
			}
			return c.buf[:start], nil
		}
	}
}

// timed returns how long a command takes, in milliseconds, and its answer.
func (c *imapClient) timed(format string, args ...any) (ms float64, data []byte, err error) {
	ms, err = timed(func() error {
		data, err = c.do(format, args...)
		return err
	})
	return ms, data, err
}
