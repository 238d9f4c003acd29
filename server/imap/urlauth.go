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

// urlAuthExtension is URLAUTH (RFC 4467): with a URL that carries the authorisation, a user
// lets others, or himself later, read a part of a message. Only the user named in the URL can
// have it authorised, and it gives access only to what this user can read when it is used.
// Nothing of the text is revealed before the token has been verified.
//
// The mechanisms (URLMECH) are announced in every session, because each is as well protected as
// the operator requires: if auth.plaintext_from is empty, nobody can log in without TLS.
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

	// tokenVersion is the first octet of a token and identifies how the rest is made, to allow
	// for other methods later (RFC 4467 section 2.4.1). The rest is the HMAC-SHA-256 of the URL
	// up to the mechanism, with the mailbox access key.
	tokenVersion = 1
)

func urlToken(key []byte, rump string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(rump))
	return mac.Sum([]byte{tokenVersion})
}

func (s *session) tellURLMechanisms() {
	s.w.untagged("OK", urlMechanisms, "URLs can be authorised.")
}

// runResetKey is RESETKEY: one mailbox gets a new key, or all mailboxes lose theirs. This
// revokes all URLs that were authorised with the old keys.
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

// runGenURLAuth is GENURLAUTH, which authorises URLs of the user. An invalid URL is answered
// with BAD, as RFC 4467 requires.
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

// authorise returns the token of a URL.
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

// isUser reports whether a name is one of the logged-in user.
func (s *session) isUser(name string) bool {
	user, ok := s.srv.cfg.Lookup(name)
	return ok && user.Name == s.user.Name
}

// isHere reports whether a host, possibly with a port, is this server: by its name, or by the
// address that the client has connected to.
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

// runURLFetch is URLFETCH, which returns the text of authorised URLs, and NIL for all others.
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

// urlFetcher finds what authorised URLs of any user refer to.
type urlFetcher struct {
	s      *session
	owner  string // user whose account is open
	source urlSource
	other  *maildir.Account // account of owner, unless it is the session's own
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
	if err == nil && sp.absent {
		err = errors.New("it is too long for IMAP4rev1")
	}
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

// usable reports whether this session may use a URL according to its access identifier and
// expiry, if its token is valid.
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
		return true // anonymous login does not exist
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

// valid reports whether the token of a URL is correct. Without a key it computes with a random
// one, so that the response time does not reveal which mailboxes exist (RFC 4467 section 6).
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
