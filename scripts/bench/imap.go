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

// limit is the maximum duration of an operation of either server.
const limit = 60 * time.Second

// imapClient is a minimal IMAP connection that costs as little as possible: input is read to
// its final place, and only searched for the end of the response.
type imapClient struct {
	conn net.Conn
	tag  int
	buf  []byte // input
	used int    // octets of buf that line has returned
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

// forget discards the lines that were returned.
func (c *imapClient) forget() {
	c.buf = append(c.buf[:0], c.buf[c.used:]...)
	c.used = 0
}

// reserve allocates memory for a response of n octets and touches it, so that the first
// response is not slower than the second.
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

// line reads a line including its literals. It is valid until forget is called.
func (c *imapClient) line() ([]byte, error) {
	start, at := c.used, c.used // start of the line, and of the part to search for its end
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

// fill reads until buf has at least n octets.
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

// literalSize parses {n} at the end of a line.
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

// do sends a command and returns the untagged responses, which are valid until the next
// command. Any result but OK is an error.
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

// timed returns the duration of a command in milliseconds, and its response.
func (c *imapClient) timed(format string, args ...any) (ms float64, data []byte, err error) {
	ms, err = timed(func() error {
		data, err = c.do(format, args...)
		return err
	})
	return ms, data, err
}
