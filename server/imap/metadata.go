package imap

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/emersion/go-imap/v2"

	"maildird/maildir/folder"
	"maildird/maildir/metadata"
	"maildird/server/imap/syntax"
)

// metadataExtension is METADATA (RFC 5464) and LIST-METADATA (RFC 9590). The mailbox "" stands
// for the server; every account has server entries of its own. Of the shared ones, which only
// the operator could set, there is only /shared/admin.
func metadataExtension() extension {
	return extension{
		caps: []imap.Cap{imap.CapMetadata, "LIST-METADATA"},
		commands: []command{
			{name: "GETMETADATA", in: loggedIn, news: allNews, run: runGetMetadata},
			{name: "SETMETADATA", in: loggedIn, news: allNews, run: runSetMetadata},
		},
		listReturn: words[listCommand]{"METADATA": func(lx *lexer, cmd *listCommand) {
			q := metadataQuery{maxSize: -1}
			lx.SP()
			lx.List(func() { q.names = append(q.names, lx.entryName()) })
			lx.boundEntries(&q)
			cmd.each = append(cmd.each, func(s *session, e *folder.Entry) error {
				_, err := s.metadataResponse(e.Name, &q)
				return err
			})
		}},
	}
}

// maxEntriesAsked is the maximum number of entries in one command, derived from
// how many can exist.
const maxEntriesAsked = 4 * metadata.MaxEntries

// boundEntries fails a command that asks for more.
func (lx *lexer) boundEntries(q *metadataQuery) {
	if len(q.names) > maxEntriesAsked {
		lx.FailWith(no(imap.ResponseCodeLimit, "Too many entries, at most %d can be asked for at once.", maxEntriesAsked))
	}
}

// metadataQuery is what GETMETADATA asks for.
type metadataQuery struct {
	names   []string
	depth   int   // levels below each name
	maxSize int64 // of a value, in octets; -1 for no limit
}

// wants reports whether the client asked for an entry.
func (q *metadataQuery) wants(entry string) bool {
	for _, name := range q.names {
		rest, ok := strings.CutPrefix(entry, strings.ToLower(name))
		if ok && (rest == "" || rest[0] == '/' && strings.Count(rest, "/") <= q.depth) {
			return true
		}
	}
	return false
}

// entryName takes the name of an entry (RFC 5464 section 3.2).
func (lx *lexer) entryName() string {
	name := string(lx.AString())
	scope, _, _ := strings.Cut(strings.TrimPrefix(name, "/"), "/")
	if lx.Err() == nil && (!metadata.ValidName(name) || !strings.EqualFold(scope, "private") && !strings.EqualFold(scope, "shared")) {
		lx.Fail("Not an entry name.")
	}
	return name
}

// runGetMetadata is GETMETADATA (RFC 5464 section 4.2). The grammar of the RFC has the options
// before the mailbox, its examples after it: both are accepted.
func runGetMetadata(s *session) error {
	lx := s.lx
	q := metadataQuery{maxSize: -1}
	lx.SP()
	if lx.Peek() == '(' {
		lx.OptionalList(func() { lx.metadataOption(&q) })
		lx.SP()
	}
	name := lx.Mailbox()
	lx.SP()
	for again := true; again; again = lx.More() {
		if lx.Peek() != '(' {
			q.names = append(q.names, lx.entryName())
			continue
		}
		lx.List(func() {
			if c := lx.Peek(); len(q.names) == 0 && c != '/' && c != '"' && c != '{' {
				lx.metadataOption(&q)
			} else {
				q.names = append(q.names, lx.entryName())
			}
		})
	}
	if lx.Err() == nil && len(q.names) == 0 {
		lx.Fail("Expected an entry name.")
	}
	lx.boundEntries(&q)
	if err := lx.End(); err != nil {
		return err
	}
	longest, err := s.metadataResponse(name, &q)
	if longest > 0 {
		s.done.code = fmt.Sprintf("METADATA LONGENTRIES %d", longest)
	}
	return err
}

func (lx *lexer) metadataOption(q *metadataQuery) {
	switch word := lx.Word(); string(word) {
	case "MAXSIZE":
		lx.SP()
		q.maxSize = int64(lx.Number())
	case "DEPTH":
		lx.SP()
		switch depth := lx.Word(); string(depth) {
		case "0":
			q.depth = 0
		case "1":
			q.depth = 1
		case "INFINITY":
			q.depth = metadata.MaxName
		default:
			lx.Fail("DEPTH must be 0, 1 or infinity.")
		}
	default:
		lx.Fail("Unknown GETMETADATA option %.40s.", word)
	}
}

// metadataResponse writes the requested entries, and returns the size in octets of the longest
// value that exceeded MAXSIZE. With depth 0, entries that do not exist are NIL.
func (s *session) metadataResponse(name string, q *metadataQuery) (longest int64, err error) {
	set, err := s.metadata(name)
	if err != nil {
		return 0, err
	}
	w, sep := s.w, ""
	entry := func(entry, value string, ok bool) {
		if sep == "" {
			w.Raw("* METADATA ")
			w.Mailbox(name)
			sep = " ("
		}
		w.Raw(sep)
		w.entryName(entry)
		w.SP()
		w.binary(value, ok)
		sep = " "
	}
	if q.depth == 0 {
		for _, name := range q.names {
			if _, ok := set.Get(name); !ok {
				entry(strings.ToLower(name), "", false)
			}
		}
	}
	for _, have := range set.Names() {
		value, _ := set.Get(have)
		switch size := int64(len(value)); {
		case !q.wants(have):
		case q.maxSize >= 0 && size > q.maxSize:
			longest = max(longest, size)
		default:
			entry(have, value, true)
		}
	}
	if sep != "" {
		w.Raw(")\r\n")
	}
	return longest, nil
}

// entryName writes the name of an entry, quoted unless it is an atom: names may contain
// parentheses, quotes and braces.
func (w *writer) entryName(name string) {
	if syntax.IsAtom(name) {
		w.Raw(name)
	} else {
		w.Str(name)
	}
}

// binary writes a value, which may contain any octets; NIL if ok is false.
func (w *writer) binary(value string, ok bool) {
	if !ok || strings.IndexByte(value, 0) < 0 {
		w.NString(value, ok)
		return
	}
	w.Literal8(int64(len(value)))
	_, _ = w.Write([]byte(value))
	w.EndLiteral()
}

// metadata returns the annotations of a mailbox, or of the account for "".
func (s *session) metadata(name string) (*metadata.Set, error) {
	set, err := s.account.Metadata(s.ctx, name)
	if err == nil && name == "" && s.srv.cfg.Postmaster != "" {
		set.Show(sharedAdmin, "mailto:"+s.srv.cfg.Postmaster, true)
	}
	return set, err
}

// sharedAdmin tells how to reach the operator (RFC 5464 section 6.2.2).
const sharedAdmin = "/shared/admin"

// runSetMetadata is SETMETADATA (RFC 5464 section 4.3).
func runSetMetadata(s *session) error {
	lx := s.lx
	lx.SP()
	name := lx.Mailbox()
	lx.SP()
	var changes []metadata.Change
	lx.List(func() {
		c := metadata.Change{Name: lx.entryName()}
		if lx.Err() == nil && !settable(c.Name) {
			lx.Fail("The entry name has too few components.")
		}
		lx.SP()
		c.Value, c.Remove = lx.metadataValue()
		changes = append(changes, c)
	})
	if err := lx.End(); err != nil {
		return err
	}
	if name == "" {
		for _, c := range changes {
			if strings.HasPrefix(strings.ToLower(c.Name), "/shared/") {
				return no(imap.ResponseCodeNoPerm, "Shared server entries are set by the administrator.")
			}
		}
	}
	ctx, done := s.waitContext()
	defer done()
	switch err := s.account.SetMetadata(ctx, s, name, changes); {
	case errors.Is(err, metadata.ErrTooBig):
		return errMetadataSize()
	case errors.Is(err, metadata.ErrTooMany):
		return no("METADATA TOOMANY", "At most %d entries are allowed.", metadata.MaxEntries)
	default:
		return err
	}
}

// settable reports whether name can be an entry, and is not only a prefix of entries
// (RFC 5464 section 3.2).
func settable(name string) bool {
	levels := strings.Split(strings.ToLower(name[1:]), "/")
	if len(levels) > 1 && levels[1] == "vendor" {
		return len(levels) >= 4
	}
	return len(levels) >= 2
}

// metadataValue takes a value: NIL, a string, or a literal8.
func (lx *lexer) metadataValue() (value string, remove bool) {
	var b []byte
	switch c := lx.Peek(); c {
	case '{', '~':
		lit, ok := lx.LiteralHeader()
		if ok && lit.Size > metadata.MaxValue {
			lx.FailWith(errMetadataSize())
			return "", false
		}
		if b = lx.ReadLiteral(); !lit.Binary && bytes.IndexByte(b, 0) >= 0 {
			lx.Fail("NUL in a literal.")
		}
	default:
		b, remove = lx.NString()
	}
	return string(b), remove
}

func errMetadataSize() error {
	return no(imap.ResponseCode(fmt.Sprintf("METADATA MAXSIZE %d", metadata.MaxValue)), "A value may have at most %d octets.", metadata.MaxValue)
}
