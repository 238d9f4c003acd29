package smtp

import (
	"strconv"
	"strings"
)

// runBdat is BDAT (RFC 3030 section 2).
func runBdat(c *conn, arg string) error {
	size, last, ok := parseBdat(arg)
	if !ok {
		// The length of the chunk is unknown, so the next command cannot be found.
		return lastReply(501, code3{5, 5, 4}, "Syntax: BDAT octets [LAST]")
	}
	if err := c.readyForMessage(); err != nil {
		return c.skipChunk(size, err)
	}
	return c.chunk(size, last)
}

// chunk takes a chunk of a message.
func (c *conn) chunk(size int64, last bool) error {
	limit := c.srv.cfg.Limits.Message
	if c.chunks == nil {
		c.chunks = &decoder{}
		c.message = c.session.begin()
	}
	switch {
	case size > 2*limit:
		return goodbye{errTooBig(limit)}
	case c.chunks.octets+size > limit: // no octet counts for less than one
		c.message.refuse(errTooBig(limit))
	}
	if err := c.receive(c.chunks, size); err != nil {
		return err
	}
	if last {
		var rest [1]byte
		n := c.chunks.finish(rest[:])
		if err := c.passOn(c.chunks, rest[:n]); err != nil {
			return err
		}
		return c.answerMessage()
	}
	if r := c.message.refused; r != nil {
		// The transaction is over. Further chunks will be skipped.
		c.message.finish()
		c.message = nil
		c.reset()
		return r
	}
	c.reply(250, code3{2, 0, 0}, strconv.FormatInt(size, 10)+" octets received")
	return nil
}

func parseBdat(arg string) (size int64, last, ok bool) {
	words := strings.Fields(arg)
	switch {
	case len(words) == 2 && upper(words[1]) == "LAST":
		last = true
	case len(words) != 1:
		return 0, false, false
	}
	if strings.Trim(words[0], "0123456789") != "" {
		return 0, false, false
	}
	size, err := strconv.ParseInt(words[0], 10, 64)
	return size, last, err == nil
}

// skipChunk skips a chunk that is refused.
func (c *conn) skipChunk(size int64, why error) error {
	r := refusalOf(why)
	if size > 2*c.srv.cfg.Limits.Message {
		return goodbye{r}
	}
	c.message = &message{s: c.session, refused: r}
	err := c.receive(&decoder{}, size)
	c.message = nil
	if err != nil {
		return err
	}
	return r
}
