package imap

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"maildird/maildir"
	"maildird/maildir/folder"
	"maildird/server/imap/imapurl"
)

// urlAuthExtension is URLAUTH (RFC 4467): a user lets others, or himself later,
// read a part of a message by a URL that carries the authorisation. A URL works
// with what its owner may read at the time, and only that is read: the owner is
// the user in the URL, who alone can have it authorised. Its text is not told of
// before the token was found to be right.
//
// What mechanisms there are is told (URLMECH) to every session, because a
// session is as protected from others as the settings want it to be: with an
// empty auth.plaintext_from there is no login without TLS.
func urlAuthExtension(cfg *Config) extension {
	if cfg.Lookup == nil || cfg.OpenExisting == nil {
		return extension{}
	}
	return extension{
		caps: []imap.Cap{imap.CapURLAuth},
		commands: []command{
			{name: "RESETKEY", in: loggedIn, news: allNews, run: runResetKey},
			{name: "GENURLAUTH", in: loggedIn, news: allNews, run: runGenURLAuth},
			{name: "URLFETCH", in: loggedIn, news: allNews, run: runURLFetch},
		},
		selected: (*session).tellURLMechanisms,
	}
}

const (
	internalMechanism = "INTERNAL"
	urlMechanisms     = "URLMECH " + internalMechanism

	// tokenVersion begins a token, and says how the rest is made, so that there
	// may be another way one day (RFC 4467 section 2.4.1): HMAC-SHA-256 of the
	// URL up to the mechanism, with the mailbox access key.
	tokenVersion = 1
)

func urlToken(key []byte, rump string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(rump))
	return mac.Sum([]byte{tokenVersion})
}

func (s *session) tellURLMechanisms() {
	s.writeStatus(nil, "OK", urlMechanisms, "URLs can be authorised.")
}

// runResetKey is RESETKEY: a mailbox gets another key, or all mailboxes lose
// theirs, which takes back all URLs that were authorised with them.
func runResetKey(s *session) error {
	lx := s.lx
	if !lx.More() {
		if err := lx.End(); err != nil {
			return err
		}
		s.done.text = "All keys have been removed."
		return s.account.RemoveAccessKeys()
	}
	name, known := lx.Mailbox(), true
	for lx.More() {
		known = string(lx.Word()) == internalMechanism && known
	}
	if err := lx.End(); err != nil {
		return err
	}
	if !known {
		return no(imap.ResponseCodeCannot, "The only supported mechanism is INTERNAL.")
	}
	s.done = done{code: urlMechanisms, text: "The mailbox has a new key."}
	return s.account.NewAccessKey(s.ctx, name)
}

// runGenURLAuth is GENURLAUTH: the URLs of a user are authorised. What is wrong
// with one is told by BAD, as RFC 4467 wants it.
func runGenURLAuth(s *session) error {
	lx := s.lx
	var urls []string
	known := true
	lx.SP()
	for {
		urls = append(urls, string(lx.AString()))
		lx.SP()
		known = string(lx.Word()) == internalMechanism && known
		if !lx.More() {
			break
		}
	}
	if err := lx.End(); err != nil {
		return err
	}
	if !known {
		return bad("The only supported mechanism is INTERNAL.")
	}
	for i, text := range urls {
		token, err := s.authorise(text)
		if err != nil {
			return err
		}
		urls[i] += ":" + internalMechanism + ":" + hex.EncodeToString(token)
	}
	w := s.w
	w.Raw("* GENURLAUTH")
	for _, text := range urls {
		w.SP()
		w.Str(text)
	}
	w.CRLF()
	return nil
}

// authorise makes the token of a URL.
func (s *session) authorise(text string) ([]byte, error) {
	u, err := imapurl.Parse(text)
	switch {
	case err != nil:
		return nil, bad("The URL cannot be authorised: %s.", err)
	case u.Auth.Access == imapurl.NoAccess:
		return nil, bad("The URL has no access identifier.")
	case u.Auth.Token != nil:
		return nil, bad("The URL already has a token.")
	case u.User == "":
		return nil, bad("The URL does not name its user.")
	case !s.isUser(u.User):
		return nil, bad("The URL is not for the logged-in user.")
	case !s.isHere(u.Host):
		return nil, bad("The URL is for a server other than %s.", s.srv.cfg.Hostname)
	}
	key, err := s.account.MakeAccessKey(u.Mailbox)
	if errors.Is(err, folder.ErrNotFound) || errors.Is(err, folder.ErrName) {
		return nil, bad("The URL does not name a mailbox.")
	}
	if err != nil {
		return nil, err
	}
	return urlToken(key, u.Auth.Rump), nil
}

// isUser tells whether a name is one of the user who is logged in.
func (s *session) isUser(name string) bool {
	user, ok := s.srv.cfg.Lookup(name)
	return ok && user.Name == s.user.Name
}

// isHere tells whether a host, maybe with a port, is this server: by its name,
// or by the address that the client has reached.
func (s *session) isHere(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	if s.srv.cfg.Hostname != "" && strings.EqualFold(host, s.srv.cfg.Hostname) {
		return true
	}
	local, ok := s.wire.Socket.LocalAddr().(*net.TCPAddr)
	if !ok {
		return false
	}
	return local.IP.Equal(net.ParseIP(host)) || local.IP.IsLoopback() && strings.EqualFold(host, "localhost")
}

// runURLFetch is URLFETCH: it tells the text of URLs that are authorised, NIL
// for all others.
func runURLFetch(s *session) error {
	lx := s.lx
	var urls []string
	lx.SP()
	for {
		urls = append(urls, string(lx.AString()))
		if !lx.More() {
			break
		}
	}
	if err := lx.End(); err != nil {
		return err
	}
	f := &urlFetcher{s: s}
	defer f.close()
	w := s.w
	w.Raw("* URLFETCH")
	for _, text := range urls {
		if err := s.interrupted(); err != nil {
			return err
		}
		w.SP()
		w.Str(text)
		w.SP()
		f.tell(text)
	}
	w.CRLF()
	return nil
}

// urlFetcher finds what authorised URLs refer to, of whichever user.
type urlFetcher struct {
	s      *session
	owner  string // of what is open
	source urlSource
	other  *maildir.Account // that of owner, if he is not the session's user
}

func (f *urlFetcher) close() {
	f.source.close()
	if f.other != nil {
		f.other.Release()
	}
	f.other, f.owner, f.source = nil, "", urlSource{}
}

// tell writes the text of a URL.
func (f *urlFetcher) tell(text string) {
	w := f.s.w
	u, err := imapurl.Parse(text)
	if err != nil || !f.usable(&u) || !f.open(u.User) || !f.valid(&u) {
		w.Raw("NIL")
		return
	}
	sp, mf, err := f.source.find(&u)
	switch {
	case errors.Is(err, errNoPart): // RFC 4467 section 8, URLFETCH response
		w.Str("")
	case err != nil:
		f.s.log.Info("text of an authorised URL cannot be sent", "owner", f.owner, "mailbox", u.Mailbox, "uid", u.UID, "error", err)
		w.Raw("NIL")
	default:
		if f.other != nil {
			f.s.log.Info("text of another user is sent for an authorised URL", "owner", f.owner, "mailbox", u.Mailbox, "uid", u.UID)
		}
		sp.write(w, mf)
	}
}

// usable tells whether the session may use a URL that says so, if it is valid.
func (f *urlFetcher) usable(u *imapurl.URL) bool {
	a, s := &u.Auth, f.s
	if u.User == "" || a.Mechanism != internalMechanism || !a.Expires.IsZero() && time.Now().After(a.Expires) {
		return false
	}
	switch a.Access {
	case imapurl.SubmitAccess:
		return slices.ContainsFunc(s.srv.cfg.Submitters, func(name string) bool { return s.isUser(name) })
	case imapurl.UserAccess:
		return s.isUser(a.User)
	case imapurl.AuthUserAccess, imapurl.AnonymousAccess:
		return true // nobody logs in as anonymous
	}
	return false
}

// open opens the Maildir of the user whose URL it is.
func (f *urlFetcher) open(name string) bool {
	s := f.s
	user, ok := s.srv.cfg.Lookup(name)
	switch {
	case !ok:
		return false
	case f.owner == user.Name:
		return true
	}
	f.close()
	account := s.account
	if user.Name != s.user.Name {
		var err error
		if account, err = s.srv.cfg.OpenExisting(s.ctx, user); err != nil {
			s.log.Warn("mail of a URL's owner cannot be opened", "owner", user.Name, "error", err)
			return false
		}
		f.other = account
	}
	f.owner, f.source = user.Name, urlSource{s: s, account: account}
	return true
}

// valid tells whether the token of a URL is right. Without a key one is made
// up, so that the time says nothing of which mailboxes there are (RFC 4467
// section 6).
func (f *urlFetcher) valid(u *imapurl.URL) bool {
	key, err := f.source.account.AccessKey(u.Mailbox)
	if err != nil && !errors.Is(err, folder.ErrNotFound) && !errors.Is(err, folder.ErrName) {
		f.s.log.Warn("access key cannot be read", "owner", f.owner, "mailbox", u.Mailbox, "error", err)
	}
	known := err == nil && key != nil
	if !known {
		key = make([]byte, sha256.Size)
		_, _ = rand.Read(key) // never fails
	}
	return hmac.Equal(urlToken(key, u.Auth.Rump), u.Auth.Token) && known
}
