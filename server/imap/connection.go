package imap

// connectionExtension is the commands that need neither a login nor a mailbox.
func connectionExtension() extension {
	return extension{commands: []command{
		{name: "CAPABILITY", in: always, news: allNews, run: runCapability},
		{name: "NOOP", in: always, news: allNews, run: runNoop},
		{name: "LOGOUT", in: always, run: runLogout},
	}}
}

// runNoop is NOOP (RFC 9051 section 6.1.2).
func runNoop(s *session) error {
	s.done.asked = true
	return s.lx.End()
}

// runLogout is LOGOUT (RFC 9051 section 6.1.3).
func runLogout(s *session) error {
	if err := s.lx.End(); err != nil {
		return err
	}
	s.w.untagged("BYE", "", "Logging out.")
	s.logout = true
	return nil
}
