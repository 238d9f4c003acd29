package imap

// mailboxCommands are the commands that work on mailboxes.
func mailboxCommands() []command { return []command{} }
