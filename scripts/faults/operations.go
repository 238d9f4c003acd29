package faults

import (
	"errors"
	"fmt"
	"maps"
	"strings"

	"maildird/scripts/coexist"
)

// operation is something that a client does in the Maildir of a cell, and its effect on the
// mail if it succeeds.
type operation struct {
	name string
	// closed: no session has the mailbox open meanwhile.
	closed bool
	do     func(c *cell) (answer, words string)
	done   func(w world)
	// reads: nothing is written.
	reads bool
}

// operations are all operations, with their names in the table.
var operations = []operation{
	{name: "LMTP", closed: true, do: (*cell).lmtp, done: arrives("lmtp", "INBOX", "")},
	{name: "LMTP, mailbox is open", do: (*cell).lmtp, done: arrives("lmtp", "INBOX", "")},
	{name: "SMTP", do: (*cell).smtp, done: arrives("smtp", "INBOX", "")},
	{name: "submission", do: (*cell).submission, done: arrives("submission", "INBOX", "")},
	{name: "APPEND", do: (*cell).append, done: arrives("append", "Box", `\Seen`)},
	{name: "COPY", do: imap("UID COPY %d Box", "copied"), done: arrives("copied", "Box", "")},
	{name: "MOVE", do: imap("UID MOVE %d Box", "moved"), done: func(w world) {
		delete(w["INBOX"], "moved")
		w["Box"]["moved"] = ""
	}},
	{name: "STORE flag", do: imap(`UID STORE %d +FLAGS (\Flagged)`, "flagged"), done: becomes("flagged", `\Flagged`)},
	{name: "STORE known keyword", do: imap("UID STORE %d +FLAGS (known)", "keyword"), done: becomes("keyword", "known")},
	{name: "STORE new keyword", do: imap("UID STORE %d +FLAGS (later)", "keyword"), done: becomes("keyword", "later")},
	{name: "EXPUNGE", do: imap("UID EXPUNGE %d", "deleted"), done: func(w world) { delete(w["INBOX"], "deleted") }},
	{name: "CREATE", do: plain("CREATE Made"), done: func(w world) { w["Made"] = map[string]string{} }},
	{name: "RENAME", do: (*cell).rename, done: func(w world) {
		w["Renamed"] = w["Known"]
		delete(w, "Known")
	}},
	{name: "DELETE", do: plain("DELETE Box"), done: func(w world) { delete(w, "Box") }},
	{name: "SUBSCRIBE", do: (*cell).subscribe, done: func(world) {}},
	{name: "SELECT, new mail", do: plain("SELECT Known"), done: func(world) {}},
	{name: "SELECT, never seen", do: plain("SELECT Unseen"), done: func(world) {}},
	{name: "EXAMINE", do: plain("EXAMINE Box"), done: func(world) {}, reads: true},
	{name: "FETCH", do: imap("UID FETCH %d BODY.PEEK[]", "fetched"), done: func(world) {}, reads: true},
}

func operationNamed(name string) *operation {
	for i := range operations {
		if operations[i].name == name {
			return &operations[i]
		}
	}
	return nil
}

// world is mail: flags by folder and identity.
type world map[string]map[string]string

func (w world) clone() world {
	c := world{}
	for folder, mail := range w {
		c[folder] = map[string]string{}
		maps.Copy(c[folder], mail)
	}
	return c
}

func arrives(id, folder, flags string) func(world) {
	return func(w world) { w[folder][id] = flags }
}

func becomes(id, flags string) func(world) {
	return func(w world) { w["INBOX"][id] = flags }
}

func (c *cell) lmtp() (string, string) {
	return c.senders["lmtp"].deliver(mailText("lmtp", c.lines), c.user)
}
func (c *cell) smtp() (string, string) {
	return c.senders["smtp"].deliver(mailText("smtp", c.lines), c.user)
}
func (c *cell) submission() (string, string) {
	return c.senders["submission"].deliver(mailText("submission", c.lines), c.user)
}

func (c *cell) append() (string, string) {
	text := strings.ReplaceAll(mailText("append", c.lines), "\n", "\r\n")
	return c.command(`APPEND Box (\Seen) {%d+}`+"\r\n%s", len(text), text)
}

// imap returns a command for one message of INBOX.
func imap(format, id string) func(c *cell) (string, string) {
	return func(c *cell) (string, string) { return c.command(format, c.uids["INBOX"][id]) }
}

func plain(command string) func(c *cell) (string, string) {
	return func(c *cell) (string, string) { return c.command("%s", command) }
}

// rename renames a mailbox, which must keep its UIDs.
func (c *cell) rename() (answer, words string) {
	answer, words = c.command("RENAME Known Renamed")
	if answer == "OK" {
		c.uids["Renamed"], c.validity["Renamed"] = c.uids["Known"], c.validity["Known"]
	}
	return answer, words
}

// subscribe subscribes, and checks that an OK is true. If the list cannot be read, the response
// must say so, and not pretend that it is empty.
func (c *cell) subscribe() (answer, words string) {
	if answer, words = c.command("SUBSCRIBE Box"); answer != "OK" {
		return answer, words
	}
	responses, err := c.client.Do(`LSUB "" Box`)
	if err == nil && len(responses) != 1 {
		return "OK, and LSUB says no", fmt.Sprint(responses)
	}
	return answer, words
}

// command returns the tagged response: "OK" or "NO [CODE]", and the text after it.
func (c *cell) command(format string, args ...any) (answer, words string) {
	tagged, _, err := c.client.Tagged(format, args...)
	var refused *coexist.RefusedError
	switch {
	case errors.As(err, &refused):
		tagged = refused.Answer
	case err != nil:
		return "no answer", err.Error()
	}
	answer, words, _ = strings.Cut(tagged, " ")
	if code, rest, ok := strings.Cut(words, "] "); ok && strings.HasPrefix(code, "[") {
		if answer == "OK" && code != "[READ-ONLY" {
			return answer, rest
		}
		return fmt.Sprintf("%s %s]", answer, code), rest
	}
	return answer, words
}
