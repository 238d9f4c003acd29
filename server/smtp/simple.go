package smtp

import "strings"

// runRset is RSET (RFC 5321 section 4.1.1.5).
func runRset(c *conn, arg string) error {
	if err := noArgument(arg); err != nil {
		return err
	}
	c.reset()
	c.reply(250, code3{2, 0, 0}, "Reset")
	return nil
}

// reset drops the mail transaction.
func (c *conn) reset() {
	c.abort()
	c.chunks = nil
	c.session.reset()
}

// runNoop is NOOP (RFC 5321 section 4.1.1.9), which may have an argument.
func runNoop(c *conn, _ string) error {
	c.reply(250, code3{2, 0, 0}, "OK")
	return nil
}

// runVrfy is VRFY (RFC 5321 section 3.5.3). It does not reveal users; only RCPT does.
func runVrfy(c *conn, arg string) error {
	if strings.TrimSpace(arg) == "" {
		return refusal(501, code3{5, 5, 4}, "VRFY needs an address")
	}
	c.reply(252, code3{2, 5, 0}, "Cannot VRFY user, but will accept message and attempt delivery")
	return nil
}

// runUnsupported refuses commands that are known but not implemented.
func runUnsupported(*conn, string) error {
	return refusal(502, code3{5, 5, 1}, "Command not implemented")
}

// runHelp is HELP (RFC 5321 section 4.1.1.8).
func runHelp(c *conn, _ string) error {
	c.reply(214, code3{2, 0, 0}, "See RFC 5321")
	return nil
}

// runQuit is QUIT (RFC 5321 section 4.1.1.10).
func runQuit(c *conn, arg string) error {
	if err := noArgument(arg); err != nil {
		return err
	}
	c.reply(221, code3{2, 0, 0}, c.srv.cfg.Hostname+" closing connection")
	return errQuit
}

func noArgument(arg string) error {
	if strings.TrimSpace(arg) != "" {
		return refusal(501, code3{5, 5, 4}, "This command takes no argument")
	}
	return nil
}
