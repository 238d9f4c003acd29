package coexist

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// State is what a server reports about an account: everything that a client keeps.
type State struct {
	Folders    map[string]Folder // by name as sent, in modified UTF-7
	NoSelect   []string          // names without a mailbox
	Subscribed []string
}

// Folder is a mailbox.
type Folder struct {
	UIDValidity, UIDNext uint32
	Messages             []Message // by UID
}

// Message is a message in a mailbox.
type Message struct {
	UID   uint32
	Flags []string // sorted, without \Recent
	Size  string   // RFC822.SIZE
	Date  string   // INTERNALDATE in UTC
	ID    string   // Message-ID
}

func (m Message) String() string {
	return fmt.Sprintf("UID %d %s, %s octets, %s, flags %v", m.UID, m.ID, m.Size, m.Date, m.Flags)
}

// Read asks a server for everything, on one connection. It opens mailboxes with EXAMINE or, to
// have new mail moved to cur/, with SELECT. It ignores the mailboxes in skip.
func Read(c *Client, examine bool, skip ...string) (State, error) {
	s := State{Folders: map[string]Folder{}}
	list, err := c.Do(`LIST "" *`)
	if err != nil {
		return s, err
	}
	for _, r := range list {
		if r.Name != "LIST" || len(r.Args) < 3 || slices.Contains(skip, r.Args[2].Text) {
			continue
		}
		name := r.Args[2].Text
		attributes := strings.ToLower(strings.Join(r.Args[0].Words(), " "))
		if strings.Contains(attributes, `\noselect`) || strings.Contains(attributes, `\nonexistent`) {
			s.NoSelect = append(s.NoSelect, name)
			continue
		}
		s.Folders[name] = Folder{}
	}
	subscribed, err := c.Do(`LSUB "" *`)
	if err != nil {
		return s, err
	}
	for _, r := range subscribed {
		if r.Name == "LSUB" && len(r.Args) >= 3 && !strings.Contains(strings.ToLower(strings.Join(r.Args[0].Words(), " ")), `\noselect`) {
			s.Subscribed = append(s.Subscribed, r.Args[2].Text)
		}
	}
	slices.Sort(s.Subscribed)
	slices.Sort(s.NoSelect)
	for name := range s.Folders {
		f, err := readFolder(c, name, examine)
		if err != nil {
			return s, err
		}
		s.Folders[name] = f
	}
	return s, nil
}

// ReadFrom is Read on a new connection.
func (s *Server) ReadFrom(examine bool, skip ...string) (State, error) {
	c, err := s.Dial()
	if err != nil {
		return State{}, err
	}
	defer c.Close()
	return Read(c, examine, skip...)
}

func readFolder(c *Client, name string, examine bool) (Folder, error) {
	var f Folder
	command := "SELECT"
	if examine {
		command = "EXAMINE"
	}
	opened, err := c.Do("%s %s", command, quote(name))
	if err != nil {
		return f, err
	}
	exists := uint32(0)
	for _, r := range opened {
		switch {
		case r.Name == "EXISTS":
			exists = r.Number
		case r.Name == "OK":
			if n, ok := code(r.Text, "UIDVALIDITY", 32); ok {
				f.UIDValidity = uint32(n)
			}
			if n, ok := code(r.Text, "UIDNEXT", 32); ok {
				f.UIDNext = uint32(n)
			}
		}
	}
	if exists == 0 {
		return f, nil
	}
	fetched, err := c.Do("UID FETCH 1:* (UID FLAGS RFC822.SIZE INTERNALDATE BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")
	if err != nil {
		return f, err
	}
	seen := map[uint32]int{} // a server may report flags once more
	for _, r := range fetched {
		m, whole, err := message(r)
		if err != nil {
			return f, fmt.Errorf("%s sent %q: %w", c.Server, r.Text, err)
		}
		if r.Name != "FETCH" || m.UID == 0 {
			continue
		}
		if at, ok := seen[m.UID]; ok {
			f.Messages[at].Flags = m.Flags
			continue
		}
		if whole {
			seen[m.UID] = len(f.Messages)
			f.Messages = append(f.Messages, m)
		}
	}
	slices.SortFunc(f.Messages, func(a, b Message) int { return int(a.UID) - int(b.UID) })
	return f, identify(c, f.Messages)
}

// identify reads the whole text of messages without a Message-ID. Dovecot permanently caches
// what it saw of the header of a file that cp had not finished.
func identify(c *Client, list []Message) error {
	for i := range list {
		m := &list[i]
		if m.ID != "" {
			continue
		}
		fetched, err := c.Do("UID FETCH %d (UID BODY.PEEK[])", m.UID)
		if err != nil {
			return err
		}
		for _, r := range fetched {
			got, whole, err := message(r)
			if err != nil {
				return fmt.Errorf("%s sent %q: %w", c.Server, r.Text, err)
			}
			if whole && got.UID == m.UID {
				m.ID = got.ID
			}
		}
	}
	return nil
}

// code parses the number of a response code such as [UIDNEXT 5], which has at
// most so many bits.
func code(text, name string, bits int) (uint64, bool) {
	_, rest, ok := strings.Cut(text, "["+name+" ")
	if !ok {
		return 0, false
	}
	digits, _, _ := strings.Cut(rest, "]")
	n, err := strconv.ParseUint(digits, 10, bits)
	return n, err == nil
}

// message parses a FETCH response; whole reports whether it contains the header.
func message(r Response) (m Message, whole bool, err error) {
	if r.Name != "FETCH" {
		return m, false, nil
	}
	if len(r.Args) != 1 || r.Args[0].Kind != List || len(r.Args[0].List)%2 != 0 {
		return m, false, errSyntax
	}
	items := r.Args[0].List
	for i := 0; i < len(items); i += 2 {
		value := items[i+1]
		switch key := strings.ToUpper(items[i].Text); {
		case key == "UID":
			n, err := strconv.ParseUint(value.Text, 10, 32)
			if err != nil {
				return m, false, err
			}
			m.UID = uint32(n)
		case key == "FLAGS":
			for _, f := range value.Words() {
				if f != `\Recent` {
					m.Flags = append(m.Flags, f)
				}
			}
			slices.Sort(m.Flags)
		case key == "RFC822.SIZE":
			m.Size = value.Text
		case key == "INTERNALDATE":
			if m.Date, err = instant(value.Text); err != nil {
				return m, false, err
			}
		case strings.HasPrefix(key, "BODY["):
			m.ID, whole = MessageID(value.Text), true
		}
	}
	return m, whole, nil
}

// madeUp counts the messages with a keyword whose name Dovecot invented, because the folder had
// none for its letter.
func (s State) madeUp() (n int) {
	for _, f := range s.Folders {
		for _, m := range f.Messages {
			if slices.ContainsFunc(m.Flags, unnamed) {
				n++
			}
		}
	}
	return n
}

// MessageID returns the Message-ID of a header, which may be followed by a body.
func MessageID(header string) string {
	for line := range strings.Lines(header) {
		if line == "\n" || line == "\r\n" {
			break
		}
		if name, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(name, "Message-ID") {
			return strings.Trim(strings.TrimSpace(value), "<>")
		}
	}
	return ""
}

// What says which parts of two states are compared.
type What struct {
	Dates     bool
	Subscribe bool
	// ButForwarded ignores $Forwarded, which mbsync writes as the letter P. Dovecot does
	// not show that letter.
	ButForwarded bool
	// ButSizes ignores RFC822.SIZE. When Dovecot 2.3 copies a message whose name has S= only,
	// it adds a W= that does not count the CRs, and trusts it.
	ButSizes bool
	// ButUnnamed ignores unknown-N, Dovecot's name for a keyword letter without a name,
	// which occurs when mutt moves a file to another folder. Dovecot adds it to
	// dovecot-keywords when it has read the folder, and a session with an outdated list may
	// replace another name by it.
	ButUnnamed bool
}

// unnamed reports whether a flag is unknown-N.
func unnamed(flag string) bool { return strings.HasPrefix(flag, "unknown-") }

// maxDifferences limits the number of lines of Differences.
const maxDifferences = 20

// Differences compares two states and returns an error if they differ.
func Differences(nameA string, a State, nameB string, b State, what What) error {
	d := &differences{a: nameA, b: nameB}
	if !slices.Equal(a.NoSelect, b.NoSelect) {
		d.add("levels without a folder", a.NoSelect, b.NoSelect)
	}
	if what.Subscribe && !slices.Equal(a.Subscribed, b.Subscribed) {
		d.add("subscriptions", a.Subscribed, b.Subscribed)
	}
	for _, name := range names(a, b) {
		fa, inA := a.Folders[name]
		fb, inB := b.Folders[name]
		if inA != inB {
			d.add("mailbox "+name, inA, inB)
			continue
		}
		if fa.UIDValidity != fb.UIDValidity {
			d.add("UIDVALIDITY of "+name, fa.UIDValidity, fb.UIDValidity)
		}
		if fa.UIDNext != fb.UIDNext {
			d.add("UIDNEXT of "+name, fa.UIDNext, fb.UIDNext)
		}
		d.messages(name, fa.Messages, fb.Messages, what)
	}
	if len(d.text) == 0 {
		return nil
	}
	return errors.New(strings.Join(d.text, "\n"))
}

func names(a, b State) []string {
	var all []string
	for name := range a.Folders {
		all = append(all, name)
	}
	for name := range b.Folders {
		all = append(all, name)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// differences collects how two states differ.
type differences struct {
	a, b string
	text []string
}

func (d *differences) add(what string, a, b any) {
	if len(d.text) == maxDifferences {
		d.text = append(d.text, "and more")
	}
	if len(d.text) < maxDifferences {
		d.text = append(d.text, fmt.Sprintf("%s: %s says %v, %s says %v", what, d.a, a, d.b, b))
	}
}

func (d *differences) messages(name string, a, b []Message, what What) {
	byUID := func(list []Message) map[uint32]Message {
		m := map[uint32]Message{}
		for _, one := range list {
			if !what.Dates {
				one.Date = ""
			}
			if what.ButSizes {
				one.Size = ""
			}
			one.Flags = slices.DeleteFunc(slices.Clone(one.Flags), func(f string) bool {
				return what.ButForwarded && f == "$Forwarded" || what.ButUnnamed && unnamed(f)
			})
			m[one.UID] = one
		}
		return m
	}
	ma, mb := byUID(a), byUID(b)
	var uids []uint32
	for uid := range ma {
		uids = append(uids, uid)
	}
	for uid := range mb {
		if _, ok := ma[uid]; !ok {
			uids = append(uids, uid)
		}
	}
	slices.Sort(uids)
	for _, uid := range uids {
		one, inA := ma[uid]
		two, inB := mb[uid]
		switch {
		case !inA:
			d.add("in "+name, "nothing", two)
		case !inB:
			d.add("in "+name, one, "nothing")
		case one.String() != two.String():
			d.add("in "+name, one, two)
		}
	}
}

// WrongSizes fetches every message and returns those whose RFC822.SIZE is not the
// size of the text.
func (s *Server) WrongSizes() ([]string, error) {
	c, err := s.Dial()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	state, err := Read(c, true)
	if err != nil {
		return nil, err
	}
	var wrong []string
	for name, f := range state.Folders {
		if len(f.Messages) == 0 {
			continue
		}
		if _, err := c.Do("EXAMINE %s", quote(name)); err != nil {
			return nil, err
		}
		fetched, err := c.Do("UID FETCH 1:* (RFC822.SIZE BODY.PEEK[])")
		if err != nil {
			return nil, err
		}
		for _, r := range fetched {
			if r.Name != "FETCH" || len(r.Args) != 1 {
				continue
			}
			size, octets := "", ""
			for i := 0; i+1 < len(r.Args[0].List); i += 2 {
				switch value := r.Args[0].List[i+1]; strings.ToUpper(r.Args[0].List[i].Text) {
				case "RFC822.SIZE":
					size = value.Text
				case "BODY[]":
					octets = strconv.Itoa(len(value.Text))
				}
			}
			if octets != "" && size != octets {
				wrong = append(wrong, fmt.Sprintf("%s, message %d: %s octets, RFC822.SIZE %s", name, r.Number, octets, size))
			}
		}
	}
	return wrong, nil
}

// Count returns the numbers of mailboxes and messages in a state.
func (s State) Count() (folders, messages int) {
	for _, f := range s.Folders {
		messages += len(f.Messages)
	}
	return len(s.Folders), messages
}

// instant converts an INTERNALDATE to UTC.
func instant(date string) (string, error) {
	t, err := time.Parse("_2-Jan-2006 15:04:05 -0700", date)
	if err != nil {
		return "", err
	}
	return t.UTC().Format(time.RFC3339), nil
}
