package imap

// connectionCommands are the commands that need no mailbox.
func connectionCommands() []command {
	return []command{
		{name: "CAPABILITY", in: always, run: runCapability},
		{name: "NOOP", in: always, news: allNews, run: runNoop},
	}
}

func runNoop(s *session) error { return s.lx.end() }
