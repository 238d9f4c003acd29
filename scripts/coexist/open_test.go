package coexist

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"maildird/maildir/folder"
)

// TestOpen: one server opens a Maildir that it has never seen, and then the other one does.
// Both must report the same state, including all UIDs, also after each has changed it.
func TestOpen(t *testing.T) {
	for _, layout := range []string{"maildir++", "fs"} {
		for _, separator := range []string{"/", "."} {
			for _, first := range []string{"maildird", "Dovecot"} {
				name := strings.NewReplacer("/", "slash", ".", "dot", "++", "pp").Replace(layout + " " + separator + " " + first + " first")
				// Each pair of conditions occurs once at full size.
				messages := 1500
				if (layout == "fs") != (separator == ".") != (first == "maildird") {
					messages = 5000
				}
				t.Run(name, func(t *testing.T) { testOpen(t, layout, separator, first == "maildird", messages) })
			}
		}
	}
}

func testOpen(t *testing.T, layout, separator string, oursFirst bool, messages int) {
	prefix := ""
	if separator == "." {
		prefix = "INBOX."
	}
	site := newSite(t, Options{Layout: layout, Separator: separator, Prefix: prefix})
	must(t, site.MakeMaildir())
	c := Corpus{Root: site.Root, Layout: layout, Folders: slices.Clone(difficult), Messages: messages, Subscribe: "v1"}
	if separator == "." {
		c.Subscribe = "v2"
	}
	if layout == "fs" && separator == "/" {
		c.Folders = append(c.Folders, withDots...)
	}
	must(t, c.Write())
	must(t, site.Own())
	ours, dovecot := startMaildird(t, site, 0), startDovecot(t, site)
	one, two := ours, dovecot
	if !oursFirst {
		one, two = dovecot, ours
	}

	before, err := one.ReadFrom(false)
	must(t, err)
	if folders, n := before.Count(); folders != len(c.Folders)+1 || n != c.Messages {
		t.Errorf("%s sees %d folders and %d messages of %d and %d", one.Name, folders, n, len(c.Folders)+1, c.Messages)
	}
	what := What{Dates: true, Subscribe: true}
	if err := Differences(one.Name+" at first", before, two.Name+" after it", agree(t, what, true, two, one), what); err != nil {
		t.Errorf("the second server changed something:\n%v", err)
	}
	change(t, two, separator, "second")
	change(t, one, separator, "first")
	state := agree(t, what, false, two, one)
	folders, n := state.Count()
	t.Logf("%d folders, %d messages, %d subscriptions: equal", folders, n, len(state.Subscribed))
	if layout == "maildir++" && separator == "/" {
		refusesDots(t, ours)
	}
	if complaints := site.Complaints(); len(complaints) > 0 {
		t.Errorf("maildird complains:\n%s", strings.Join(complaints, "\n"))
	}
}

// change makes a change of every kind on a server.
func change(t *testing.T, s *Server, separator, tag string) {
	t.Helper()
	c := dial(t, s)
	defer c.Close()
	do := func(format string, args ...any) {
		t.Helper()
		if _, err := c.Do(format, args...); err != nil {
			t.Fatal(err)
		}
	}
	made := quote(s.Prefix + folder.EncodeUTF7("made by "+tag+" & co, größer") + separator + "below")
	do("CREATE %s", made)
	do("SUBSCRIBE %s", made)
	do("UNSUBSCRIBE %s", quote(s.Prefix+"Lists"))
	do("SUBSCRIBE %s", quote(s.Prefix+"Archive"))
	for i, name := range []string{"INBOX", s.Prefix + "Lists", s.Prefix + "Archive", s.Prefix + folder.EncodeUTF7("Grüße"), s.Prefix + folder.EncodeUTF7("R&D")} {
		do("SELECT %s", quote(name))
		do("STORE 1:9 +FLAGS.SILENT (\\Flagged $label1 %s)", "Custom"+tag)
		do("STORE 10:12 FLAGS.SILENT (\\Seen $Forwarded)")
		do("STORE 13:20 -FLAGS.SILENT (\\Seen NonJunk)")
		do("STORE 21 +FLAGS.SILENT (\\Deleted)")
		do("EXPUNGE")
		do("COPY 2:4 %s", made)
		do("MOVE 5:7 %s", made)
		text := sprintf("Message-ID: <appended%d.%s@x.test>\r\nSubject: x\r\n\r\nbody\r\n", i, tag)
		do("APPEND %s (\\Draft $MDNSent) \"17-Jul-1996 02:44:25 -0700\" {%d+}\r\n%s", quote(name), len(text), text)
	}
}

// refusesDots checks that a name that the layout cannot represent is refused with a reason that
// a client can understand.
func refusesDots(t *testing.T, s *Server) {
	t.Helper()
	_, err := dial(t, s).Do("CREATE %s", quote("v1.2"))
	var refused *RefusedError
	if !errors.As(err, &refused) || !strings.HasPrefix(refused.Answer, "NO [CANNOT]") {
		t.Errorf("CREATE of a name with a dot in Maildir++: %v", err)
	}
}
