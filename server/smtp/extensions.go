package smtp

import (
	"strconv"
	"strings"
)

// extensions are what EHLO announces now.
func (c *conn) extensions() []string {
	list := []string{
		"PIPELINING",
		"SIZE " + strconv.FormatInt(c.srv.cfg.Limits.Message, 10),
		"8BITMIME",
		"SMTPUTF8",
		"CHUNKING",
		"ENHANCEDSTATUSCODES",
	}
	if c.canStartTLS() {
		list = append(list, "STARTTLS")
	}
	if c.srv.kind == Submission && c.passwordsAllowed() {
		list = append(list, "AUTH "+strings.Join(c.mechanisms(), " "))
	}
	return list
}

func (c *conn) canStartTLS() bool { return c.srv.cfg.TLS != nil && c.peer.tls == nil }
