package imap

// messageCommands are the commands that work on messages.
func messageCommands() []command { return []command{} }
