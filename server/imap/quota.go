package imap

import (
	"github.com/emersion/go-imap/v2"

	"maildird/maildir/quota"
)

// quotaRoot is the name of the only quota root, which covers all mailboxes of the account. It
// has the same name in Dovecot. An account without limits has no root: Thunderbird 153 cannot
// read a QUOTA response without resources, and then loses its place in what follows, such as
// EXISTS, and its connection.
const quotaRoot = "User quota"

// quotaExtension is QUOTA (RFC 9208). APPEND, COPY and REPLACE fail with OVERQUOTA because of
// the error that the mailbox returns.
func quotaExtension() extension {
	return extension{
		caps: []imap.Cap{imap.CapQuota, "QUOTA=RES-STORAGE", "QUOTA=RES-MESSAGE"},
		commands: []command{
			{name: "GETQUOTA", in: loggedIn, news: allNews, run: runGetQuota},
			{name: "GETQUOTAROOT", in: loggedIn, news: allNews, run: runGetQuotaRoot},
			{name: "SETQUOTA", in: loggedIn, news: allNews, run: runSetQuota},
		},
		statusItems: []statusItem{{
			name: "DELETED-STORAGE",
			begin: func(st *mailboxStatus) (err error) {
				st.deletedSize, err = st.box.DeletedSize(st.s.ctx, st.s.interrupted)
				return err
			},
			write: func(st *mailboxStatus) { st.s.w.Number(uint64(st.deletedSize)) },
		}},
	}
}

// runGetQuota is GETQUOTA (RFC 9208 section 4.1.1).
func runGetQuota(s *session) error {
	s.lx.SP()
	root := string(s.lx.AString())
	if err := s.lx.End(); err != nil {
		return err
	}
	if root != quotaRoot {
		return no(imap.ResponseCodeNonExistent, "No such quota root.")
	}
	usage, err := s.account.Quota().Usage()
	if err != nil {
		return err
	}
	if usage.Limit == (quota.Limit{}) {
		return no(imap.ResponseCodeNonExistent, "No such quota root.")
	}
	s.w.quota(usage)
	return nil
}

// runGetQuotaRoot is GETQUOTAROOT (RFC 9208 section 4.1.2). The mailbox need not exist.
func runGetQuotaRoot(s *session) error {
	name, err := s.lx.mailboxArgument()
	if err == nil {
		name, err = s.account.Tree().Canonical(name)
	}
	if err != nil {
		return err
	}
	usage, err := s.account.Quota().Usage()
	if err != nil {
		return err
	}
	s.w.Raw("* QUOTAROOT ")
	s.w.Mailbox(name)
	if usage.Limit == (quota.Limit{}) {
		s.w.CRLF()
		return nil
	}
	s.w.SP()
	s.w.Str(quotaRoot)
	s.w.CRLF()
	s.w.quota(usage)
	return nil
}

// quota writes the QUOTA response (RFC 9208 section 4.2.1) with the resources that have
// limits, of which there is at least one. STORAGE is in units of 1024 octets.
func (w *writer) quota(u quota.Usage) {
	w.Raw("* QUOTA ")
	w.Str(quotaRoot)
	sep := " ("
	resource := func(name string, used, limit int64) {
		w.Raw(sep)
		w.Raw(name)
		w.SP()
		w.Number(uint64(used))
		w.SP()
		w.Number(uint64(limit))
		sep = " "
	}
	if u.Limit.Bytes > 0 {
		resource("STORAGE", (u.Bytes+1023)/1024, max(u.Limit.Bytes/1024, 1))
	}
	if u.Limit.Messages > 0 {
		resource("MESSAGE", u.Messages, u.Limit.Messages)
	}
	w.Raw(")\r\n")
}

// runSetQuota refuses SETQUOTA (RFC 9208 section 4.1.3): limits are set in the configuration,
// and QUOTASET is not announced.
func runSetQuota(s *session) error {
	lx := s.lx
	lx.SP()
	lx.AString()
	lx.SP()
	lx.OptionalList(func() {
		lx.Atom()
		lx.SP()
		lx.Number64()
	})
	if err := lx.End(); err != nil {
		return err
	}
	return no(imap.ResponseCodeNoPerm, "Quotas are set by the administrator.")
}
