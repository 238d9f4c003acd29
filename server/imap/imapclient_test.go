package imap

import (
	"crypto/tls"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"

	"maildird/maildir"
	"maildird/server/servertest"
)

// independent is a test with go-imap's client, which checks the server's output: it closes the
// connection if anything violates the grammar.
type independent struct {
	*imapclient.Client
	t *testing.T
}

// connect opens a connection, logged in as alice.
func (ts *testServer) connect(t *testing.T, opt *imapclient.Options) *independent {
	t.Helper()
	c, err := imapclient.DialInsecure(ts.addr, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.Login("alice", "secret").Wait(); err != nil {
		t.Fatal(err)
	}
	return &independent{c, t}
}

func (c *independent) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *independent) append(mailbox, text string, opt *imap.AppendOptions) *imap.AppendData {
	c.t.Helper()
	cmd := c.Append(mailbox, int64(len(text)), opt)
	_, err := io.WriteString(cmd, text)
	c.must(err)
	c.must(cmd.Close())
	data, err := cmd.Wait()
	c.must(err)
	return data
}

const clientMail = "From: Anna <anna@example.org>\r\nTo: bob@example.org\r\nSubject: plans\r\nDate: Sat, 3 Feb 2024 04:05:06 +0000\r\n" +
	"Message-Id: <1@example.org>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
	"--b\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8=\r\n" +
	"--b\r\nContent-Type: text/html\r\nContent-Disposition: attachment; filename=a.html\r\n\r\n<p>hello\r\n--b--\r\n"

// TestIndependentClient runs all of go-imap's commands, as IMAP4rev1 and with
// IMAP4rev2 enabled.
func TestIndependentClient(t *testing.T) {
	for _, rev2 := range []bool{false, true} {
		t.Run(map[bool]string{false: "rev1", true: "rev2"}[rev2], func(t *testing.T) {
			t.Parallel()
			ts := startServer(t)
			c := ts.connect(t, nil)
			if rev2 {
				enabled, err := c.Enable(imap.CapIMAP4rev2).Wait()
				c.must(err)
				if !enabled.Caps.Has(imap.CapIMAP4rev2) {
					t.Fatalf("enabled %v", enabled.Caps)
				}
			}
			c.account()
			c.folders()
			c.messages()
			c.searches()
			c.moves()
			c.must(c.Unauthenticate().Wait())
			c.must(c.Authenticate(sasl.NewPlainClient("", "alice", "secret")))
			c.must(c.Noop().Wait())
			c.must(c.Logout().Wait())
		})
	}
}

func (c *independent) account() {
	caps, err := c.Capability().Wait()
	c.must(err)
	for _, want := range []imap.Cap{imap.CapIMAP4rev1, imap.CapIMAP4rev2, imap.CapIdle, imap.CapMove, imap.CapUIDPlus, imap.CapLiteralPlus} {
		if !caps.Has(want) {
			c.t.Errorf("no %s in %v", want, caps)
		}
	}
	ns, err := c.Namespace().Wait()
	c.must(err)
	if len(ns.Personal) != 1 || ns.Personal[0].Delim != '/' {
		c.t.Errorf("namespace %+v", ns)
	}
	id, err := c.ID(&imap.IDData{Name: "test", Version: "1"}).Wait()
	c.must(err)
	if id.Name != "maildird" {
		c.t.Errorf("ID %+v", id)
	}
}

func (c *independent) folders() {
	c.must(c.Create("Entwürfe & mehr", nil).Wait())
	c.must(c.Create("Post", &imap.CreateOptions{SpecialUse: []imap.MailboxAttr{imap.MailboxAttrSent}}).Wait())
	c.must(c.Create("A/B/C", nil).Wait())
	c.must(c.Subscribe("A/B/C").Wait())
	c.must(c.Rename("A", "Z", nil).Wait())
	list, err := c.List("", "*", &imap.ListOptions{
		ReturnSubscribed: true, ReturnChildren: true, ReturnSpecialUse: true,
		ReturnStatus: &imap.StatusOptions{NumMessages: true, UIDNext: true, UIDValidity: true, NumUnseen: true, Size: true},
	}).Collect()
	c.must(err)
	found := map[string]*imap.ListData{}
	for _, l := range list {
		found[l.Mailbox] = l
	}
	for name, attr := range map[string]imap.MailboxAttr{
		"INBOX": imap.MailboxAttrHasNoChildren, "Entwürfe & mehr": imap.MailboxAttrHasNoChildren, "Post": imap.MailboxAttrSent,
		"Z/B/C": imap.MailboxAttrHasNoChildren, "Z/B": imap.MailboxAttrHasChildren, "Trash": imap.MailboxAttrTrash,
	} {
		l := found[name]
		if l == nil || !slices.Contains(l.Attrs, attr) {
			c.t.Errorf("LIST has %+v for %s, want %s", l, name, attr)
		} else if !slices.Contains(l.Attrs, imap.MailboxAttrNoSelect) && !slices.Contains(l.Attrs, imap.MailboxAttrNonExistent) &&
			(l.Status == nil || *l.Status.NumMessages != 0) {
			c.t.Errorf("LIST has status %+v for %s", l.Status, name)
		}
	}
	c.must(c.Unsubscribe("A/B/C").Wait())
	c.must(c.Delete("Z/B/C").Wait())
	if err := c.Delete("Nonesuch").Wait(); !isCode(err, imap.ResponseCodeNonExistent) {
		c.t.Errorf("deleting what is not there: %v", err)
	}
}

func isCode(err error, code imap.ResponseCode) bool {
	var status *imap.Error
	return errors.As(err, &status) && status.Code == code
}

func (c *independent) messages() {
	when := time.Date(2024, 2, 3, 4, 5, 6, 0, time.UTC)
	for i := range 3 {
		opt := &imap.AppendOptions{Time: when}
		if i == 1 {
			opt.Flags = []imap.Flag{imap.FlagSeen, "$Work"}
		}
		if data := c.append("INBOX", clientMail, opt); data.UID != imap.UID(i+1) || data.UIDValidity == 0 {
			c.t.Errorf("APPENDUID %+v", data)
		}
	}
	sel, err := c.Select("INBOX", nil).Wait()
	c.must(err)
	if sel.NumMessages != 3 || sel.UIDNext != 4 || !slices.Contains(sel.PermanentFlags, imap.FlagWildcard) || !slices.Contains(sel.Flags, "$Work") {
		c.t.Errorf("SELECT %+v", sel)
	}
	whole := &imap.FetchItemBodySection{Peek: true}
	part := &imap.FetchItemBodySection{Part: []int{2}, Specifier: imap.PartSpecifierMIME, Peek: true}
	fields := &imap.FetchItemBodySection{Specifier: imap.PartSpecifierHeader, HeaderFields: []string{"Subject"}, Peek: true}
	piece := &imap.FetchItemBodySection{Partial: &imap.SectionPartial{Offset: 6, Size: 4}, Peek: true}
	binary := &imap.FetchItemBinarySection{Part: []int{1}, Peek: true}
	msgs, err := c.Fetch(imap.SeqSetNum(1, 2), &imap.FetchOptions{
		UID: true, Flags: true, InternalDate: true, RFC822Size: true, Envelope: true,
		BodyStructure:     &imap.FetchItemBodyStructure{Extended: true},
		BodySection:       []*imap.FetchItemBodySection{whole, part, fields, piece},
		BinarySection:     []*imap.FetchItemBinarySection{binary},
		BinarySectionSize: []*imap.FetchItemBinarySectionSize{{Part: []int{1}}},
	}).Collect()
	c.must(err)
	if len(msgs) != 2 {
		c.t.Fatalf("FETCH gives %d messages", len(msgs))
	}
	m := msgs[1]
	if m.UID != 2 || m.RFC822Size != int64(len(clientMail)) || !m.InternalDate.Equal(when) ||
		!slices.Contains(m.Flags, imap.FlagSeen) || !slices.Contains(m.Flags, "$Work") {
		c.t.Errorf("FETCH %+v", m)
	}
	if e := m.Envelope; e.Subject != "plans" || e.MessageID != "1@example.org" || !e.Date.Equal(when) || e.From[0].Addr() != "anna@example.org" {
		c.t.Errorf("ENVELOPE %+v", e)
	}
	if bs, ok := m.BodyStructure.(*imap.BodyStructureMultiPart); !ok || len(bs.Children) != 2 || bs.Children[1].Disposition().Params["filename"] != "a.html" {
		c.t.Errorf("BODYSTRUCTURE %+v", m.BodyStructure)
	}
	for section, want := range map[*imap.FetchItemBodySection]string{
		whole: clientMail, part: "Content-Type: text/html\r\nContent-Disposition: attachment; filename=a.html\r\n\r\n",
		fields: "Subject: plans\r\n\r\n", piece: "Anna",
	} {
		if got := string(m.FindBodySection(section)); got != want {
			c.t.Errorf("%+v is %q, want %q", section, got, want)
		}
	}
	if got := string(m.FindBinarySection(binary)); got != "hello" || m.BinarySectionSize[0].Size != 5 {
		c.t.Errorf("BINARY[1] is %q, its size %d", got, m.BinarySectionSize[0].Size)
	}
	stored, err := c.Store(imap.UIDSetNum(1), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagFlagged, imap.FlagForwarded}}, nil).Collect()
	c.must(err)
	if len(stored) != 1 || !slices.Contains(stored[0].Flags, imap.FlagForwarded) {
		c.t.Errorf("STORE gives %+v", stored)
	}
	st, err := c.Status("INBOX", &imap.StatusOptions{NumMessages: true, NumUnseen: true, NumDeleted: true, Size: true, AppendLimit: true}).Wait()
	c.must(err)
	if *st.NumMessages != 3 || *st.NumUnseen != 2 || *st.NumDeleted != 0 || *st.Size != int64(3*len(clientMail)) || *st.AppendLimit == 0 {
		c.t.Errorf("STATUS %+v", st)
	}
}

func (c *independent) searches() {
	search := func(criteria *imap.SearchCriteria, opt *imap.SearchOptions) *imap.SearchData {
		c.t.Helper()
		data, err := c.UIDSearch(criteria, opt).Wait()
		c.must(err)
		return data
	}
	all := search(&imap.SearchCriteria{
		Header: []imap.SearchCriteriaHeaderField{{Key: "Subject", Value: "PLANS"}}, Body: []string{"hello"}, Flag: []imap.Flag{imap.FlagSeen},
		Since: time.Date(2024, 2, 3, 0, 0, 0, 0, time.UTC), Larger: 10, Not: []imap.SearchCriteria{{Flag: []imap.Flag{imap.FlagDraft}}},
		Or: [][2]imap.SearchCriteria{{{Flag: []imap.Flag{"$Work"}}, {Text: []string{"nothing"}}}},
	}, nil)
	if uids := all.AllUIDs(); !slices.Equal(uids, []imap.UID{2}) {
		c.t.Errorf("SEARCH gives %v", uids)
	}
	ends := search(&imap.SearchCriteria{}, &imap.SearchOptions{ReturnMin: true, ReturnMax: true, ReturnCount: true})
	if ends.Min != 1 || ends.Max != 3 || ends.Count != 3 {
		c.t.Errorf("ESEARCH gives %+v", ends)
	}
	sorted, err := c.UIDSort(&imapclient.SortOptions{
		SearchCriteria: &imap.SearchCriteria{}, SortCriteria: []imapclient.SortCriterion{{Key: imapclient.SortKeyArrival, Reverse: true}},
	}).Wait()
	c.must(err)
	if len(sorted) != 3 {
		c.t.Errorf("SORT gives %v", sorted)
	}
	threads, err := c.UIDThread(&imapclient.ThreadOptions{Algorithm: imap.ThreadReferences, SearchCriteria: &imap.SearchCriteria{}}).Wait()
	c.must(err)
	if len(threads) == 0 {
		c.t.Error("THREAD gives nothing")
	}
}

func (c *independent) moves() {
	copied, err := c.Copy(imap.UIDSetNum(1), "Archive").Wait()
	c.must(err)
	if !slices.Equal(nums(c.t, copied.SourceUIDs), []imap.UID{1}) || !slices.Equal(nums(c.t, copied.DestUIDs), []imap.UID{1}) {
		c.t.Errorf("COPYUID %+v", copied)
	}
	moved, err := c.Move(imap.SeqSetNum(2), "Trash").Wait()
	c.must(err)
	if source, ok := moved.SourceUIDs.(imap.UIDSet); !ok || source.String() != "2" {
		c.t.Errorf("MOVE %+v", moved)
	}
	if _, err := c.Copy(imap.UIDSetNum(1), "Nonesuch").Wait(); !isCode(err, imap.ResponseCodeTryCreate) {
		c.t.Errorf("COPY to what is not there: %v", err)
	}
	c.must(c.Store(imap.UIDSetNum(1, 3), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close())
	gone, err := c.UIDExpunge(imap.UIDSetNum(3)).Collect()
	c.must(err)
	if !slices.Equal(gone, []uint32{2}) {
		c.t.Errorf("UID EXPUNGE gives %v", gone)
	}
	gone, err = c.Expunge().Collect()
	c.must(err)
	if !slices.Equal(gone, []uint32{1}) {
		c.t.Errorf("EXPUNGE gives %v", gone)
	}
	c.must(c.Unselect().Wait())
	_, err = c.Select("Trash", &imap.SelectOptions{ReadOnly: true}).Wait()
	c.must(err)
	if err := c.Store(imap.SeqSetNum(1), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close(); err == nil {
		c.t.Error("STORE after EXAMINE is OK")
	}
	c.must(c.UnselectAndExpunge().Wait())
}

func nums(t *testing.T, set imap.UIDSet) []imap.UID {
	t.Helper()
	uids, ok := set.Nums()
	if !ok {
		t.Errorf("%s has no end", set)
	}
	return uids
}

// TestIndependentClientIdle waits for a message that another session appends.
func TestIndependentClientIdle(t *testing.T) {
	t.Parallel()
	ts := startServer(t)
	exists, expunged := make(chan uint32, 10), make(chan uint32, 10)
	c := ts.connect(t, &imapclient.Options{UnilateralDataHandler: &imapclient.UnilateralDataHandler{
		Mailbox: func(data *imapclient.UnilateralDataMailbox) {
			if data.NumMessages != nil {
				exists <- *data.NumMessages
			}
		},
		Expunge: func(seq uint32) { expunged <- seq },
	}})
	_, err := c.Select("INBOX", nil).Wait()
	c.must(err)
	for len(exists) > 0 {
		<-exists
	}
	idle, err := c.Idle()
	c.must(err)
	other := ts.connect(t, nil)
	other.append("INBOX", clientMail, nil)
	wait(t, exists, 1)
	_, err = other.Select("INBOX", nil).Wait()
	other.must(err)
	other.must(other.Store(imap.SeqSetNum(1), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close())
	other.must(other.Expunge().Close())
	wait(t, expunged, 1)
	c.must(idle.Close())
	c.must(idle.Wait())
	c.must(c.Logout().Wait())
}

func wait(t *testing.T, news <-chan uint32, want uint32) {
	t.Helper()
	select {
	case got := <-news:
		if got != want {
			t.Errorf("told of %d, want %d", got, want)
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("not told")
	}
}

// TestIndependentClientTLS uses STARTTLS, and then logs in.
func TestIndependentClientTLS(t *testing.T) {
	t.Parallel()
	cert, pool := servertest.Certificate(t)
	ts := startServer(t, withTLS(cert), func(cfg *Config, _ *maildir.AccountOptions) { cfg.PlaintextFrom = nil })
	c, err := imapclient.DialStartTLS(ts.addr, &imapclient.Options{TLSConfig: &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	caps, err := c.Capability().Wait()
	if err != nil || caps.Has(imap.CapStartTLS) || caps.Has(imap.CapLoginDisabled) {
		t.Fatalf("after STARTTLS: %v, %v", caps, err)
	}
	if err := c.Login("alice", "secret").Wait(); err != nil {
		t.Fatal(err)
	}
	if err := c.Create(strings.Repeat("long ", 20), nil).Wait(); err != nil {
		t.Error(err)
	}
}
