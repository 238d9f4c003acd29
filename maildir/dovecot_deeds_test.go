package maildir

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"maildird/maildir/delivery"
	"maildird/maildir/filename"
	"maildird/maildir/mailbox"
	"maildird/scripts/rig/doveimap"
)

var dovecotFlags = map[filename.Flags]string{
	filename.Seen: `\Seen`, filename.Flagged: `\Flagged`, filename.Answered: `\Answered`, filename.Deleted: `\Deleted`, filename.Draft: `\Draft`,
}

// dovecotOperation is an operation of maildird.
type dovecotOperation struct {
	name    string
	shut    bool // no mailbox is open
	folders bool // it removes or renames one
	watched bool
	ready   func(w *dovecotWorld) // what happened before
	do      func(w *dovecotWorld) error
}

var dovecotOperations = []dovecotOperation{
	{name: "open", shut: true, do: (*dovecotWorld).begin},
	{name: "poll", ready: (*dovecotWorld).changed, do: (*dovecotWorld).poll},
	{name: "poll watched", watched: true, ready: (*dovecotWorld).changed, do: (*dovecotWorld).poll},
	{name: "store", do: func(w *dovecotWorld) error { return w.change(mailbox.Add, filename.Flagged, nil, "two", "one") }},
	{name: "store watched", watched: true, do: func(w *dovecotWorld) error {
		return w.change(mailbox.Add, filename.Flagged, nil, "two", "one", "word")
	}},
	{name: "store a new keyword", do: func(w *dovecotWorld) error { return w.change(mailbox.Add, 0, []string{"mine"}, "two", "word") }},
	{name: "store instead", do: func(w *dovecotWorld) error { return w.change(mailbox.Set, filename.Draft, []string{"word"}, "two") }},
	{name: "copy", do: func(w *dovecotWorld) error { return w.copy(false, "two", "word") }},
	{name: "copy here", do: func(w *dovecotWorld) error {
		c, err := w.main.v.Copy(w.Context(), w.uids(w.main.v.UIDValidity(), "two"), w.main.Mailbox.Mailbox)
		w.copied(w.main.v.UIDValidity(), c.UIDValidity, c.Source, c.Dest, false)
		return err
	}},
	{name: "move", do: func(w *dovecotWorld) error { return w.copy(true, "two", "word") }},
	{name: "move watched", watched: true, do: func(w *dovecotWorld) error { return w.copy(true, "two", "word") }},
	{name: "expunge", do: func(w *dovecotWorld) error {
		removed, err := w.main.v.Expunge(w.Context(), nil)
		w.took(removed)
		return err
	}},
	{name: "remove", do: func(w *dovecotWorld) error {
		removed, err := w.main.v.Remove(w.Context(), w.uids(w.main.v.UIDValidity(), "two", "one")...)
		w.took(removed)
		return err
	}},
	{name: "append", do: func(w *dovecotWorld) error { return w.append(0, nil) }},
	{name: "append with a new keyword", do: func(w *dovecotWorld) error { return w.append(filename.Seen, []string{"mine"}) }},
	{name: "deliver", shut: true, do: func(w *dovecotWorld) error {
		spool := delivery.NewSpool([]delivery.Target{{Open: w.a.Inbox}}, false, w.store.Delivery())
		defer spool.Abort()
		if _, err := spool.Write([]byte("Subject: mail\n\nhello\n")); err != nil {
			return err
		}
		err := spool.Commit()[0]
		if err == nil {
			w.owe("mail", "INBOX")
		}
		return err
	}},
	{name: "status", shut: true, do: func(w *dovecotWorld) error {
		m, err := w.a.Open(w.Context(), "A")
		if err != nil {
			return err
		}
		defer m.Release()
		_, err = m.Status(w.Context(), true, w.Context().Err)
		return err
	}},
	{name: "list", shut: true, do: func(w *dovecotWorld) error {
		_, err := w.a.Tree().List()
		return err
	}},
	{name: "create N", shut: true, do: func(w *dovecotWorld) error { return w.a.Create(w.Context(), "N", nil) }},
	{name: "subscribe A", shut: true, do: func(w *dovecotWorld) error { return w.a.SetSubscribed(w.Context(), "A", true) }},
	{name: "create A/N", shut: true, do: func(w *dovecotWorld) error { return w.a.Create(w.Context(), "A/N", nil) }},
	{name: "delete A", folders: true, do: func(w *dovecotWorld) error { return w.weDelete("A") }},
	{name: "delete A/K", shut: true, folders: true, do: func(w *dovecotWorld) error { return w.weDelete("A/K") }},
	{name: "rename A to R", folders: true, do: func(w *dovecotWorld) error { return w.weRename("A", "R") }},
	{name: "rename A to X/Y", shut: true, folders: true, do: func(w *dovecotWorld) error { return w.weRename("A", "X/Y") }},
	{name: "rename B to A/E", shut: true, folders: true, do: func(w *dovecotWorld) error { return w.weRename("B", "A/E") }},
}

// changed is what mutt did since the last look.
func (w *dovecotWorld) changed() {
	move := func(from, to string) {
		check(os.Rename(filepath.Join(w.path("A"), from), filepath.Join(w.path("A"), to)))
	}
	move("cur/1700000001.M1P1.host:2,S", "cur/1700000001.M1P1.host:2,RS")
	move("cur/1700000002.M1P1.host:2,", "cur/1700000002.M1P1.host:2,F")
	w.put("A", "cur/1700000007.M1P1.host:2,F", "late")
	w.owe("late", "A")
	check(os.Remove(w.path("A") + "/cur/1700000003.M1P1.host:2,ST"))
	w.took(w.uids(w.main.v.UIDValidity(), "doom"))
	for _, text := range []string{"one", "two"} {
		w.flagged(w.main.v.UIDValidity(), w.uids(w.main.v.UIDValidity(), text), map[string]string{"one": `\Answered`, "two": `\Flagged`}[text])
	}
}

func (w *dovecotWorld) poll() error {
	if err := w.main.v.Poll(w.Context()); err != nil {
		return err
	}
	w.main.v.Updates(0, func(mailbox.Update) {})
	return nil
}

func (w *dovecotWorld) change(op mailbox.Op, flags filename.Flags, words []string, texts ...string) error {
	v := w.main.v
	done, err := v.Store(w.Context(), w.uids(v.UIDValidity(), texts...), op, flags, words)
	for _, m := range done {
		if op != mailbox.Add {
			w.mu.Lock()
			w.loose[dovecotFact{v.UIDValidity(), m.UID}] = true
			w.mu.Unlock()
		}
		w.flagged(v.UIDValidity(), []uint32{m.UID}, words...)
		for flag, name := range dovecotFlags {
			if flags&flag != 0 {
				w.flagged(v.UIDValidity(), []uint32{m.UID}, name)
			}
		}
	}
	return err
}

// flagged records that messages have flags that nobody removes.
func (w *dovecotWorld) flagged(validity uint32, uids []uint32, names ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, uid := range uids {
		f := dovecotFact{validity, uid}
		if w.need[f] == nil {
			w.need[f] = map[string]bool{}
		}
		for _, name := range names {
			w.need[f][name] = true
		}
	}
}

func (w *dovecotWorld) copy(move bool, texts ...string) error {
	how := w.main.v.Copy
	if move {
		how = w.main.v.Move
	}
	c, err := how(w.Context(), w.uids(w.main.v.UIDValidity(), texts...), w.other.Mailbox.Mailbox)
	w.copied(w.main.v.UIDValidity(), c.UIDValidity, c.Source, c.Dest, move)
	return err
}

// copied records the result of COPY or MOVE.
func (w *dovecotWorld) copied(from, to uint32, source, dest []uint32, move bool) {
	if len(source) != len(dest) {
		w.fault("COPYUID of %v is %v", source, dest)
		return
	}
	for i, uid := range source {
		src := dovecotFact{from, uid}
		w.mu.Lock()
		text := w.facts[src]
		if move {
			w.removed[src] = true
		}
		w.mu.Unlock()
		w.tell(to, dest[i], text)
		if move && !w.late {
			w.mu.Lock()
			for name := range w.need[src] {
				if w.need[dovecotFact{to, dest[i]}] == nil {
					w.need[dovecotFact{to, dest[i]}] = map[string]bool{}
				}
				w.need[dovecotFact{to, dest[i]}][name] = true
			}
			w.mu.Unlock()
		}
	}
}

// owe records that a message was added to a mailbox.
func (w *dovecotWorld) owe(text, mailbox string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.homes[text] = append(w.homes[text], mailbox)
}

func (w *dovecotWorld) took(uids []uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, uid := range uids {
		f := dovecotFact{w.main.v.UIDValidity(), uid}
		w.removed[f] = true
		w.expunged[w.facts[f]] = true
	}
}

func (w *dovecotWorld) append(flags filename.Flags, words []string) error {
	in, err := w.main.NewIncoming(mailbox.AppendOptions{Flags: flags, Keywords: words})
	if err != nil {
		return err
	}
	_, _ = io.WriteString(in, "Subject: appended\r\n\r\nhello\r\n")
	validity, uids, err := w.main.Append(w.Context(), mailbox.Taken{}, in)
	if err != nil {
		return err
	}
	w.tell(validity, uids[0], "appended")
	w.owe("appended", "A")
	w.flagged(validity, uids, words...)
	return nil
}

// dovecotDeed is what Dovecot does.
type dovecotDeed struct {
	name    string
	folders bool // it removes or renames folders
	makes   bool // it makes one of those that we make
	removes bool // it removes messages
	do      func(w *dovecotWorld)
}

// ask sends Dovecot a command, and records the answer if it is not OK.
func (w *dovecotWorld) ask(d *doveimap.Session, command string) (untagged []string, ok bool) {
	untagged, status := d.Ask(command)
	w.mu.Lock()
	w.said = append(w.said, status)
	if !strings.HasPrefix(status, "OK") {
		words := strings.Fields(command)
		verb := strings.Join(words[:min(2, len(words))], " ")
		w.answers[verb+": "+regexp.MustCompile(`\([\d.]+ \+.*`).ReplaceAllString(status, "")]++
	}
	w.mu.Unlock()
	if strings.HasPrefix(status, "BAD") || !w.moved && (strings.Contains(status, "SERVERBUG") || strings.Contains(status, "INUSE")) {
		w.fault("Dovecot answers %s to %s", status, command)
	}
	w.codes(d, append(untagged, status))
	return untagged, strings.HasPrefix(status, "OK")
}

var copyUID = regexp.MustCompile(`\[COPYUID (\d+) (\S+) (\S+)\]`)

// codes records what COPYUID says about the only message that a session copies.
func (w *dovecotWorld) codes(d *doveSession, lines []string) {
	text := "too" // of B
	if d == w.at {
		text = "two"
	}
	for _, line := range lines {
		m := copyUID.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		var n [3]uint32
		for i := range n {
			_, err := fmt.Sscan(m[i+1], &n[i])
			check(err)
		}
		w.said = append(w.said, line)
		w.tell(n[0], n[2], text)
	}
}

// on returns the UIDs of the template's messages in A, as a sequence set.
func (w *dovecotWorld) on(texts ...string) string {
	var set []string
	for _, uid := range w.known("A", texts...) {
		set = append(set, fmt.Sprint(uid))
	}
	return strings.Join(set, ",")
}

// known returns the UIDs that Dovecot assigned to the template's messages.
func (w *dovecotWorld) known(mailbox string, texts ...string) (uids []uint32) {
	for i, m := range dovecotTemplate[mailbox] {
		if slices.Contains(texts, m.text) {
			uids = append(uids, uint32(i+1))
		}
	}
	return uids
}

func (w *dovecotWorld) theirs(flags string, texts ...string) {
	if untagged, ok := w.ask(w.at, "UID STORE "+w.on(texts...)+" +FLAGS ("+flags+")"); ok {
		for _, uid := range w.known("A", texts...) {
			for _, line := range untagged { // a message without a response was gone
				if strings.Contains(line, fmt.Sprintf("FETCH (UID %d FLAGS", uid)) {
					w.flagged(w.validityA(), []uint32{uid}, strings.Fields(flags)...)
				}
			}
		}
	}
}

// validityA returns the initial UIDVALIDITY of A.
func (w *dovecotWorld) validityA() (validity uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for f, text := range w.facts {
		if text == "spare" {
			validity = f.validity
		}
	}
	return validity
}

// unknown records that messages of A may lose flags; gone that they may be removed.
func (w *dovecotWorld) unknown(texts ...string) { w.note(w.loose, texts) }
func (w *dovecotWorld) gone(texts ...string)    { w.note(w.removed, texts) }

func (w *dovecotWorld) note(of map[dovecotFact]bool, texts []string) {
	for _, uid := range w.known("A", texts...) {
		f := dovecotFact{w.validityA(), uid}
		w.mu.Lock()
		of[f] = true
		w.mu.Unlock()
	}
}

func storesTheir(flags string, texts ...string) dovecotDeed {
	return dovecotDeed{name: "STORE " + flags, do: func(w *dovecotWorld) { w.theirs(flags, texts...) }}
}

func appendsTheir(name, flags string) dovecotDeed {
	return dovecotDeed{name: "APPEND " + name + flags, do: func(w *dovecotWorld) {
		text := "Subject: theirs\r\n\r\nhello\r\n"
		if _, ok := w.ask(w.at, fmt.Sprintf("APPEND %s %s {%d+}\r\n%s", name, flags, len(text), text)); ok {
			w.owe("theirs", name)
		}
	}}
}

func delivers(name string) dovecotDeed {
	return dovecotDeed{name: "deliver to " + name, do: func(w *dovecotWorld) {
		if err := doveimap.Deliver(w.root, name, "Subject: delivered\n\nhello\n"); err != nil {
			w.fault("%v", err)
			return
		}
		w.owe("delivered", name)
	}}
}

func on(name string, d func(w *dovecotWorld) *doveSession, commands ...string) dovecotDeed {
	return dovecotDeed{name: name, do: func(w *dovecotWorld) {
		for _, command := range commands {
			w.ask(d(w), command)
		}
	}}
}

type doveSession = doveimap.Session

func atA(w *dovecotWorld) *doveSession { return w.at }
func atB(w *dovecotWorld) *doveSession { return w.atB }

// afresh makes a new connection do something.
func (w *dovecotWorld) afresh(commands ...string) {
	d := doveimap.Start(w.T, w.root)
	defer d.Kill()
	for _, command := range commands {
		w.ask(d, command)
	}
}

var dovecotDeeds = []dovecotDeed{
	storesTheir(`\Answered`, "two", "word"), storesTheir("word", "two"), storesTheir("theirs", "two"), storesTheir(`\Seen theirs other`, "one", "two", "word"),
	{name: "STORE -FLAGS", do: func(w *dovecotWorld) {
		w.unknown("one", "two")
		w.ask(w.at, "UID STORE "+w.on("one", "two")+` -FLAGS (\Seen \Flagged)`)
	}},
	{name: "STORE FLAGS", do: func(w *dovecotWorld) {
		w.unknown("one", "two")
		w.ask(w.at, "UID STORE "+w.on("one", "two")+` FLAGS (\Draft whole)`)
	}},
	{name: "COPY to B", do: func(w *dovecotWorld) { w.ask(w.at, "UID COPY "+w.on("two")+" B") }},
	{name: "COPY to A", do: func(w *dovecotWorld) { w.ask(w.atB, "UID COPY 2 A") }},
	{name: "MOVE to B", removes: true, do: func(w *dovecotWorld) {
		w.gone("two")
		w.ask(w.at, "UID MOVE "+w.on("two")+" B")
	}},
	{name: "MOVE to A", removes: true, do: func(w *dovecotWorld) {
		w.mu.Lock()
		for f, text := range w.facts {
			w.removed[f] = w.removed[f] || text == "too"
		}
		w.mu.Unlock()
		w.ask(w.atB, "UID MOVE 2 A")
	}},
	{name: "EXPUNGE", removes: true, do: func(w *dovecotWorld) {
		w.gone("doom")
		w.purge("doom")
		w.ask(w.at, "EXPUNGE")
	}},
	{name: "UID EXPUNGE", removes: true, do: func(w *dovecotWorld) {
		w.gone("two")
		w.purge("two")
		w.ask(w.at, "UID STORE "+w.on("two")+` +FLAGS (\Deleted)`)
		w.ask(w.at, "UID EXPUNGE "+w.on("two"))
	}},
	appendsTheir("A", ""), appendsTheir("A", `(\Seen theirs)`), appendsTheir("B", ""), appendsTheir("INBOX", ""),
	delivers("A"), delivers("INBOX"), delivers("New"),
	on("NOOP", atA, "NOOP"), on("SELECT", atA, "SELECT A"), on("SELECT INBOX", atB, "SELECT INBOX"), on("NOOP in B", atB, "NOOP"),
	on("STATUS", atB, "STATUS A (MESSAGES UIDNEXT UIDVALIDITY UNSEEN)"), on("SUBSCRIBE B", atA, "SUBSCRIBE B"),
	{name: "CREATE N", makes: true, do: func(w *dovecotWorld) { w.ask(w.at, "CREATE N") }}, {name: "CREATE A/N", makes: true, do: func(w *dovecotWorld) { w.ask(w.atB, "CREATE A/N") }},
	deletesTheir("A", atB), deletesTheir("B", atA), deletesTheir("A/K", atB),
	renamesTheir("RENAME A R", "A", "R", atB), renamesTheir("RENAME A R selected", "A", "R", atA), renamesTheir("RENAME B R", "B", "R", atA),
	renamesTheir("RENAME B A/E", "B", "A/E", atA), renamesTheir("RENAME A/K K", "A/K", "K", atA),
	{name: "force-resync", do: func(w *dovecotWorld) {
		if err := doveimap.Admin(w.root, "force-resync", "A"); err != nil && !(w.moved && strings.Contains(err.Error(), "doesn't exist")) {
			w.fault("%v", err)
		}
	}},
	{name: "lose the index", do: func(w *dovecotWorld) {
		for _, pattern := range []string{w.root + "/dovecot.*index*", w.path("A") + "/dovecot.index*", w.path("B") + "/dovecot.index*"} {
			names, _ := filepath.Glob(pattern)
			for _, name := range names {
				check(os.Remove(name))
			}
		}
		w.afresh("SELECT A", "SELECT B")
	}},
	{name: "open anew", do: func(w *dovecotWorld) { w.afresh("SELECT A", "NOOP", "STATUS INBOX (MESSAGES UIDNEXT)") }},
}
