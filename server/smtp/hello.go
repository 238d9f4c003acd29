package smtp

import (
	"strings"

	"github.com/emersion/go-smtp"
)

// runHello is HELO or, if extended, EHLO and LHLO (RFC 5321 section 4.1.1.1). Like Postfix it
// accepts names of several words, which printers and scanners send. A name that is not a domain
// is left out of the Received field.
func runHello(extended bool) func(c *conn, arg string) error {
	return func(c *conn, arg string) error {
		name := strings.TrimSpace(arg)
		if name == "" || len(name) > longestDomain {
			return refusal(501, code3{5, 5, 4}, "Host name missing")
		}
		c.reset()
		c.peer.hello, c.peer.esmtp = strings.Clone(name), extended // without the spaces around it
		host := c.srv.cfg.Hostname
		if !extended {
			c.reply(250, smtp.NoEnhancedCode, host)
			return nil
		}
		c.reply(250, smtp.NoEnhancedCode, append([]string{host}, c.extensions()...)...)
		return nil
	}
}
