package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"time"
)

// limit bounds an operation of either server.
const limit = 60 * time.Second

// imapClient is a bare IMAP connection that costs as little as can be: what
// comes is read to where it stays, and only the end of the answer is looked for.
type imapClient struct {
	conn net.Conn
	tag  int
	buf  []byte // what came
	used int    // of it was taken by line
}

// dialIMAP connects and logs in as reader.
func dialIMAP(s *server) (*imapClient, error) {
	conn, err := net.DialTimeout("tcp", s.imap, limit)
	if err != nil {
		return nil, err
	}
	c := &imapClient{conn: conn}
	err = c.conn.SetDeadline(time.Now().Add(limit))
	if err == nil {
		_, err = c.line()
	}
	if err == nil {
		_, err = c.do("LOGIN %s %s", reader, password)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

func (c *imapClient) close() { c.conn.Close() }

// forget drops the lines that were taken.
func (c *imapClient) forget() {
	c.buf = append(c.buf[:0], c.buf[c.used:]...)
	c.used = 0
}

// reserve makes room for an answer of n octets that is in memory already, so
// that the first answer does not wait for what the second one finds.
func (c *imapClient) reserve(n int64) {
	if int64(cap(c.buf)) >= n {
		return
	}
	room := make([]byte, n)
	for i := 0; i < len(room); i += os.Getpagesize() {
		room[i] = 1
	}
	c.buf = room[:copy(room, c.buf)]
}

// line reads one line with the literals in it; it is good until forget.
func (c *imapClient) line() ([]byte, error) {
	start, at := c.used, c.used // where the line begins, and where to look for its end
	for {
		end := bytes.IndexByte(c.buf[at:], '\n')
		if end < 0 {
			at = len(c.buf)
			if err := c.fill(at + 1); err != nil {
				return nil, err
			}
			continue
		}
		at += end + 1
		n, ok := literalSize(c.buf[start:at])
		if !ok {
			c.used = at
			return c.buf[start:at], nil
		}
		at += n
		if err := c.fill(at); err != nil {
			return nil, err
		}
	}
}

// fill reads until buf has n octets or more.
func (c *imapClient) fill(n int) error {
	if n > cap(c.buf) {
		c.buf = slices.Grow(c.buf, max(n-len(c.buf), len(c.buf), 512))
	}
	for len(c.buf) < n {
		got, err := c.conn.Read(c.buf[len(c.buf):cap(c.buf)])
		c.buf = c.buf[:len(c.buf)+got]
		if got == 0 && err != nil {
			return err
		}
	}
	return nil
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
	c.forget()
	for {
		start := c.used
		line, err := c.line()
		if err != nil {
			return nil, err
		}
		if rest, ok := bytes.CutPrefix(line, tag); ok {
			if !bytes.HasPrefix(rest, []byte("OK")) {
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
