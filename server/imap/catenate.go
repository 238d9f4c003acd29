package imap

import (
	"errors"
	"io"

	"github.com/emersion/go-imap/v2"

	"maildird/maildir"
	"maildird/maildir/cache"
	"maildird/maildir/folder"
	"maildird/maildir/mailbox"
	"maildird/server/imap/imapurl"
	"maildird/server/imap/mailfile"
)

// catenateExtension is CATENATE (RFC 4469): a message of APPEND or REPLACE can be assembled
// from texts that the client sends and parts of messages in the account.
func catenateExtension() extension {
	return extension{
		caps: []imap.Cap{imap.CapCatenate},
		appendData: words[appendItem]{"CATENATE": func(lx *lexer, item *appendItem) {
			lx.SP()
			lx.Enter()
			item.Binary = true // a text may come as a literal8
			item.receive = func(s *session, to *destination, in *mailbox.Incoming) error {
				c := &catenation{s: s, to: to, in: in, source: urlSource{s: s, account: s.account}}
				defer c.source.close()
				return c.parts()
			}
		}},
	}
}

// maxCatenated is the maximum number of parts of one message.
const maxCatenated = 1000

// catenation is a message that is being assembled. Each part is written to the file as soon as
// it has been parsed, so that only a buffer of it is in memory.
type catenation struct {
	s      *session
	to     *destination
	in     *mailbox.Incoming
	size   int64 // octets so far
	source urlSource
}

// parts takes the list of parts including the closing parenthesis.
func (c *catenation) parts() error {
	lx := c.s.lx
	for n := 1; ; n++ {
		if err := c.s.interrupted(); err != nil {
			return err
		}
		var err error
		switch word := lx.Word(); string(word) {
		case "TEXT":
			lx.SP()
			err = c.text()
		case "URL":
			lx.SP()
			err = c.url()
		case "UTF8": // RFC 6855 section 4, as in APPEND itself
			if lx.startUTF8(); lx.Err() != nil {
				return lx.Err()
			}
			if err = c.text(); err == nil {
				lx.Expect(')')
			}
		default:
			lx.Fail("Unknown part %.40s.", word)
		}
		if err != nil {
			return err
		}
		if !lx.More() || lx.Peek() == ')' {
			break
		}
		if n == maxCatenated {
			return no(imap.ResponseCodeLimit, "A message may be assembled from at most %d parts.", maxCatenated)
		}
	}
	lx.Leave()
	if lx.Err() == nil && c.size == 0 {
		return errEmptyMessage()
	}
	return lx.Err()
}

// more adds n octets to the size of the message, or returns an error if that is too big.
func (c *catenation) more(n int64) error {
	if limit := c.s.lx.message; n > limit-c.size {
		return errMessageTooBig(limit)
	}
	c.size += n
	return c.to.room(c.size)
}

// text takes a literal and appends its octets.
func (c *catenation) text() error {
	lx := c.s.lx
	lit, ok := lx.LiteralHeader()
	if !ok {
		lx.Fail("Expected a literal with the text.")
		return lx.Err()
	}
	if err := c.more(lit.Size); err != nil {
		return err
	}
	_, err := lx.StreamLiteral().WriteTo(c.in)
	return err
}

// url takes a URL and appends what it refers to.
func (c *catenation) url() error {
	lx := c.s.lx
	text := string(lx.AString())
	if lx.Err() != nil {
		return lx.Err()
	}
	u, err := imapurl.Parse(text)
	if err == nil && u.Absolute { // whether it has URLAUTH or not
		err = errors.New("only URLs of your own account, without a server, can be used")
	}
	if err != nil {
		return badURL(text, err)
	}
	sp, mf, err := c.source.find(&u)
	if err != nil {
		return c.failed(text, err)
	}
	if err := c.more(sp.n); err != nil {
		return err
	}
	to := &keptError{w: c.in}
	if err := sp.copyTo(to, mf); err != nil {
		if to.err != nil {
			return to.err
		}
		return c.failed(text, err)
	}
	return nil
}

// failed returns the error of the command if what a URL refers to is not available.
func (c *catenation) failed(text string, err error) error {
	if endsSession(err) {
		return err
	}
	switch {
	case errors.Is(err, errNotFound), errors.Is(err, errNoPart):
	case errors.Is(err, folder.ErrNotFound), errors.Is(err, folder.ErrName):
		err = errors.New("there is no such mailbox")
	case errors.Is(err, mailbox.ErrGone), errors.Is(err, mailbox.ErrReplaced):
		err = errors.New("the message was removed")
	case c.s.ctx.Err() != nil:
		return err
	default:
		c.s.log.Warn("message of a URL cannot be read", "mailbox", c.source.name, "url", text, "error", err)
		err = errors.New("the message cannot be read (see the server log)")
	}
	return badURL(text, err)
}

// badURL returns the error of a command that fails because of a URL (RFC 4469 section 4.1).
func badURL(text string, why error) error {
	code := codeBadURL
	switch {
	case len(text) > imapurl.MaxLen:
		code = imap.ResponseCodeLimit // BADURL would have to contain the URL
	case text != "":
		code += imap.ResponseCode(" " + imapurl.Escape(text))
	}
	return no(code, "The URL cannot be used: %s.", why)
}

// keptError is a writer that keeps its error, to tell it from one of the reader.
type keptError struct {
	w   io.Writer
	err error
}

func (k *keptError) Write(p []byte) (int, error) {
	n, err := k.w.Write(p)
	if err != nil {
		k.err = err
	}
	return n, err
}

// urlSource finds what URLs refer to. It keeps the last mailbox and the last message open,
// because consecutive URLs are usually of the same ones. The caller must close it.
type urlSource struct {
	s       *session
	account *maildir.Account
	name    string
	box     *maildir.Mailbox // nil if none is open
	view    *mailbox.View
	mf      *mailfile.File // nil if none is open
	known   mailfile.Known
	f       fetcher
}

var (
	errNotFound = errors.New("there is no such message")
	errNoPart   = errors.New("the message has no such part")
)

// find returns what a URL refers to in the account; the result is valid until the next call. It
// does not set \Seen.
func (src *urlSource) find(u *imapurl.URL) (servedPart, *mailfile.File, error) {
	fail := func(err error) (servedPart, *mailfile.File, error) { return servedPart{}, nil, err }
	name := u.Mailbox
	if name == "" {
		if src.s.sel == nil {
			return fail(folder.ErrNotFound)
		}
		name = src.s.sel.name
	}
	if err := src.open(name); err != nil {
		return fail(err)
	}
	if u.Validity != 0 && u.Validity != src.view.UIDValidity() {
		return fail(folder.ErrNotFound) // RFC 5092 section 5
	}
	if err := src.message(u.UID); err != nil {
		return fail(err)
	}
	src.f.s, src.f.arena = src.s, src.f.arena[:0]
	sp, err := src.f.resolve(&u.Part, src.mf)
	if err == nil && sp.none {
		err = errNoPart
	}
	return sp, src.mf, err
}

// open opens a mailbox, unless it is already open.
func (src *urlSource) open(name string) error {
	name, err := src.account.Tree().Canonical(name)
	if err != nil || src.box != nil && src.name == name {
		return err
	}
	src.close()
	ctx, done := src.s.waitContext()
	box, err := src.account.Open(ctx, name)
	done()
	if err != nil {
		return err
	}
	view, err := box.NewView(src.s.ctx, true, nil)
	if err != nil {
		box.Release()
		return err
	}
	src.name, src.box, src.view = name, box, view
	return nil
}

// message opens the message with a UID, unless it is already open.
func (src *urlSource) message(uid uint32) error {
	if src.mf != nil && src.mf.UID() == uid {
		return nil
	}
	src.closeMessage()
	for m := range src.view.Messages([]mailbox.Range{{First: uid, Last: uid}}, true) {
		src.mf = mailfile.New(src.view, m, &src.known, cache.Record{}, src.s.interrupted)
		return nil
	}
	return errNotFound
}

func (src *urlSource) closeMessage() {
	if src.mf != nil {
		src.mf.Close()
		src.mf = nil
	}
}

func (src *urlSource) close() {
	src.closeMessage()
	if src.box != nil {
		src.view.Close()
		src.box.Release()
		src.box, src.known = nil, mailfile.Known{}
	}
}
