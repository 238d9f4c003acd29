package imap

import (
	"strconv"
	"time"

	"github.com/emersion/go-imap/v2"

	"maildird/maildir"
	"maildird/maildir/mailbox"
	"maildird/server/imap/syntax"
)

// appendExtension is APPEND with MULTIAPPEND (RFC 3502) and APPENDLIMIT (RFC 7889). APPEND also
// takes a literal8, which is part of BINARY (RFC 3516).
func appendExtension(cfg *Config) extension {
	return extension{
		caps:     []imap.Cap{imap.CapMultiAppend, imap.Cap("APPENDLIMIT=" + strconv.FormatInt(cfg.AppendLimit, 10))},
		commands: []command{{name: "APPEND", in: loggedIn, news: allNews, run: runAppend}},
		statusItems: []statusItem{{name: "APPENDLIMIT", write: func(st *mailboxStatus) {
			st.s.w.Number(uint64(st.s.srv.cfg.AppendLimit))
		}}},
	}
}

// maxAppends is the maximum number of messages in one APPEND.
const maxAppends = 1000

// runAppend is APPEND (RFC 9051 section 6.3.12) of one or more messages. Each is written from
// the connection to a file in the mailbox's tmp/. When the command is complete, either all of
// them become mail or none.
func runAppend(s *session) (err error) {
	lx := s.lx
	lx.SP()
	name := lx.Mailbox()
	lx.SP()
	item, err := lx.appendItem()
	if err != nil {
		return err
	}
	to, err := s.openIncoming(name)
	if err != nil {
		return err
	}
	defer func() { to.close(s, err) }()
	for {
		if err := item.take(s, to); err != nil {
			return err
		}
		if !lx.More() {
			break
		}
		if len(to.taken) == maxAppends {
			return no(imap.ResponseCodeLimit, "APPEND takes at most %d messages.", maxAppends)
		}
		if item, err = lx.appendItem(); err != nil {
			return err
		}
	}
	if err := lx.End(); err != nil {
		return err
	}
	if s.done.code, err = to.save(s); err == nil {
		s.tellName(name, name)
	}
	return err
}

// destination is the mailbox that a command adds messages to.
type destination struct {
	*maildir.Mailbox
	name  string
	taken []*mailbox.Incoming // already in tmp/
	// begun: the client may send octets of a message. announced is the size of all literals
	// that are messages.
	begun     bool
	announced int64
	// old is the share of the quota of the message that the new one replaces.
	old mailbox.Taken
}

// openIncoming opens the mailbox that new messages are for. The caller must close it, whether
// the messages were saved or not.
func (s *session) openIncoming(name string) (*destination, error) {
	box, err := s.openDestination(name)
	if err != nil {
		return nil, err
	}
	return &destination{Mailbox: box, name: name}, nil
}

// save turns all messages that were taken into mail, or none of them, and
// returns the response code.
func (to *destination) save(s *session) (code string, err error) {
	validity, uids, err := to.Append(s.ctx, to.old, to.taken...)
	if err != nil {
		return "", err
	}
	s.ownMessages(to.Mailbox, uids)
	return appendUID(validity, uids), nil
}

// room returns an error if there is no room for another message of size octets besides those
// that were already taken. It is called before the client sends them.
func (to *destination) room(size int64) error {
	if err := to.RoomBeside(to.taken, size, to.old); err != nil {
		return err
	}
	return to.Reserved(size)
}

// close removes messages that were taken but not saved. err is the error of the command. It logs
// if the client disconnected or stalled in the middle of a message, or between the message and
// the end of the command.
func (to *destination) close(s *session, err error) {
	if to.begun && isConnError(err) {
		s.log.Info("message interrupted", "mailbox", to.name, "announced", to.announced, "reason", reason(s.cause(err)))
	}
	for _, one := range to.taken {
		one.Abort()
	}
	to.Release()
}

// appendItem is a message of APPEND without its octets.
type appendItem struct {
	mailbox.AppendOptions
	size int64 // of the literal that follows; 0 if the message is not a literal
	// receive reads the octets of the message.
	receive func(*session, *destination, *mailbox.Incoming) error
}

// take reads the octets into a file in the mailbox's tmp/.
func (item *appendItem) take(s *session, to *destination) error {
	if err := to.room(item.size); err != nil {
		return err
	}
	in, err := to.NewIncoming(item.AppendOptions)
	if err != nil {
		return err
	}
	to.begun = true
	to.announced += item.size
	if err = item.receive(s, to, in); err == nil {
		err = in.Finish()
	}
	if err != nil {
		in.Abort()
		return err
	}
	to.taken = append(to.taken, in)
	return nil
}

// appendItem takes what precedes the octets of a message: flags, date and the header of the
// literal. It does not yet ask the client to send the literal.
func (lx *lexer) appendItem() (item appendItem, err error) {
	if lx.Peek() == '(' {
		set := lx.flagList()
		item.Flags, item.Keywords = set.system, set.words
		lx.SP()
	}
	if lx.Peek() == '"' {
		if item.Date = lx.DateTime(); item.Date.IsZero() {
			item.Date = item.Date.Add(time.Second) // the zero Time stands for no date
		}
		lx.SP()
	}
	if c := lx.Peek(); c != '{' && c != '~' && syntax.IsWordChar(c) {
		lx.grammar.appendData.take(lx, &item, "data item")
		return item, lx.Err()
	}
	item.receive = (*session).receiveLiteral
	err = lx.appendLiteral(&item)
	return item, err
}

// appendLiteral takes the header of a literal that is a message.
func (lx *lexer) appendLiteral(item *appendItem) error {
	lit, ok := lx.LiteralHeader()
	switch {
	case !ok:
		lx.Fail("Expected a literal with the message.")
		return lx.Err()
	case lit.Size > lx.message:
		return errMessageTooBig(lx.message)
	case lit.Size == 0:
		return errEmptyMessage()
	}
	item.size, item.Binary = lit.Size, lit.Binary
	return nil
}

func errMessageTooBig(limit int64) error {
	return no(imap.ResponseCodeTooBig, "A message may have at most %d octets.", limit)
}

func errEmptyMessage() error {
	return no(imap.ResponseCodeCannot, "An empty message cannot be saved.")
}

// receiveLiteral reads the octets of the literal whose header appendLiteral took.
func (s *session) receiveLiteral(_ *destination, in *mailbox.Incoming) error {
	_, err := s.lx.StreamLiteral().WriteTo(in)
	return err
}

// appendUID returns the response code APPENDUID (RFC 9051 section 7.1).
func appendUID(validity uint32, uids []uint32) string {
	b := append(make([]byte, 0, 32), "APPENDUID "...)
	b = strconv.AppendUint(b, uint64(validity), 10)
	b = append(b, ' ')
	return string(syntax.AppendSet(b, uids))
}
