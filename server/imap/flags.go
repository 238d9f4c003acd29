package imap

import (
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"maildird/maildir/filename"
	"maildird/maildir/mailbox"
	"maildird/server/imap/syntax"
)

// systemFlags are the flags that have both a name in IMAP and a letter in Maildir.
var systemFlags = []struct {
	name imap.Flag
	flag filename.Flags
}{
	{imap.FlagAnswered, filename.Answered},
	{imap.FlagFlagged, filename.Flagged},
	{imap.FlagDeleted, filename.Deleted},
	{imap.FlagSeen, filename.Seen},
	{imap.FlagDraft, filename.Draft},
}

// flagSet is a set of flags from a client.
type flagSet struct {
	system filename.Flags
	words  []string // keywords as the client wrote them, each once
	recent bool     // \Recent was one of them
}

const (
	// maxKeyword is the maximum length of a keyword, which becomes a line of dovecot-keywords.
	maxKeyword = 255
	// maxKeywords is the maximum number of keywords in a flagSet, which is more than a mailbox can
	// have. APPEND keeps those of all its messages.
	maxKeywords = 100
)

// flag takes one flag and adds it to the set.
func (lx *lexer) flag(set *flagSet) {
	if lx.Accept('\\') {
		name := lx.AtomAs("a flag")
		for _, f := range systemFlags {
			if syntax.EqualFold(name, string(f.name[1:])) {
				set.system |= f.flag
				return
			}
		}
		// Clients that copy flags send back \Recent, which only the server can set.
		if !syntax.EqualFold(name, "Recent") {
			lx.Fail("Unknown flag \\%.40s.", name)
		}
		set.recent = true
		return
	}
	b := lx.AtomAs("a flag")
	switch {
	case lx.Err() != nil, slices.ContainsFunc(set.words, func(have string) bool { return syntax.EqualFold(b, have) }):
	case len(b) > maxKeyword:
		lx.FailWith(no(imap.ResponseCodeLimit, "A keyword may have at most %d octets.", maxKeyword))
	case len(set.words) == maxKeywords:
		lx.FailWith(no(imap.ResponseCodeLimit, "Too many keywords, at most %d are allowed at once.", maxKeywords))
	default:
		set.words = append(set.words, string(b))
	}
}

// flagList takes a list of flags in parentheses. It may be empty.
func (lx *lexer) flagList() (set flagSet) {
	lx.OptionalList(func() { lx.flag(&set) })
	return set
}

// flagsArgument takes the flags of STORE: a list, or flags without parentheses up to the
// end of the line.
func (lx *lexer) flagsArgument() (set flagSet) {
	if lx.Peek() == '(' {
		return lx.flagList()
	}
	lx.flag(&set)
	for lx.More() {
		lx.flag(&set)
	}
	return set
}

// flags writes the flags of a message in parentheses.
func (s *session) flags(m mailbox.Message) {
	var b [256]byte
	s.w.RawBytes(s.appendFlags(b[:0], m))
}

func (s *session) appendFlags(b []byte, m mailbox.Message) []byte {
	sep := byte('(')
	put := func(name string) {
		b = append(append(b, sep), name...)
		sep = ' '
	}
	for _, f := range systemFlags {
		if m.Flags&f.flag != 0 {
			put(string(f.name))
		}
	}
	// IMAP4rev2 has no \Recent (RFC 9051 appendix E).
	if m.Recent && !s.rev2 {
		put(`\Recent`)
	}
	forwarded := false
	m.Flags.EachKeyword(func(i int) {
		if name, ok := s.sel.view.KeywordName(i); ok {
			forwarded = forwarded || isForwarded(name)
			put(name)
		}
	})
	if m.Flags&filename.Passed != 0 && !forwarded {
		put(string(imap.FlagForwarded))
	}
	if sep == '(' {
		b = append(b, '(')
	}
	return append(b, ')')
}

// isForwarded reports whether a keyword is $Forwarded. Keywords differ in more than case.
func isForwarded(keyword string) bool { return strings.EqualFold(keyword, string(imap.FlagForwarded)) }

// flagTexts caches the results of appendFlags: most mailboxes have only a few
// different sets of flags.
type flagTexts struct {
	texts [8]flagText
	n     int // number of texts in use
	next  int // index of the text to replace next
}

// flagText is the result of appendFlags for these flags.
type flagText struct {
	flags  filename.Flags
	recent bool
	text   []byte
}

// forget must be called when names of keywords may have changed.
func (t *flagTexts) forget() { t.n = 0 }

// of returns the flags of a message as appendFlags does. The result is valid
// until the next call.
func (t *flagTexts) of(s *session, m mailbox.Message) []byte {
	for i := range t.texts[:t.n] {
		if e := &t.texts[i]; e.flags == m.Flags && e.recent == m.Recent {
			return e.text
		}
	}
	i := t.n
	if i < len(t.texts) {
		t.n++
	} else {
		i = t.next
		t.next = (i + 1) % len(t.texts)
	}
	e := &t.texts[i]
	e.flags, e.recent, e.text = m.Flags, m.Recent, s.appendFlags(e.text[:0], m)
	return e.text
}

// mailboxFlags writes the flags of the selected mailbox in parentheses. With star it adds "\*",
// which means that new keywords can be created.
func (s *session) mailboxFlags(star bool) {
	w := s.w
	w.Raw(`(\Answered \Flagged \Deleted \Seen \Draft`)
	forwarded := false
	for _, name := range s.sel.view.KeywordNames() {
		forwarded = forwarded || isForwarded(name)
		w.Byte(' ')
		w.Raw(name)
	}
	// The letter P in a file name stands for $Forwarded, so every mailbox has this keyword.
	if !forwarded {
		w.Byte(' ')
		w.Raw(string(imap.FlagForwarded))
	}
	if star {
		w.Raw(` \*`)
	}
	w.Byte(')')
}
