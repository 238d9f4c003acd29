package torture

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"maildird/scripts/coexist"
	"maildird/scripts/rig"
)

// driver is the client, and records what it was told.
type driver struct {
	t     *testing.T
	m     *rig.Maildird
	rec   *recording
	world *world
	c     *coexist.Client
	n     int

	selected place
	modseq   uint64 // up to which the client knows the selected mailbox
}

// ack records that something was acknowledged.
func (d *driver) ack(what string) {
	d.rec.what = append(d.rec.what, what)
	d.rec.worlds = append(d.rec.worlds, d.world.clone())
}

func (d *driver) text(size int) (id, text string) {
	d.n++
	id = fmt.Sprintf("m%02d@torture.test", d.n)
	text = mailText(id, size)
	d.rec.texts[id] = text
	return id, text
}

func (d *driver) put(p place, id string, l letter) {
	if d.world.mail[p] == nil {
		d.world.mail[p] = map[string]letter{}
	}
	d.world.mail[p][id] = l
}

// deliver sends a message to some users.
func (d *driver) deliver(size int, lmtp bool, users ...string) string {
	d.t.Helper()
	service := "smtp"
	if lmtp {
		service = "lmtp"
	}
	s, err := dialSender(d.m, service)
	must(d.t, err)
	defer s.Close()
	id, text := d.text(size)
	var to []string
	for _, u := range users {
		to = append(to, u+"@example.org")
		d.put(place{u, "INBOX"}, id, letter{})
	}
	if d.world.subscribed == "" {
		d.world.subscribed = "Archive Drafts INBOX Junk Sent Trash"
	}
	must(d.t, errors.Join(s.Deliver(from, text, to...)...))
	d.ack(service + " of " + id)
	return id
}

// do runs an IMAP command. change records its effect in the world.
func (d *driver) do(change func(tagged string, responses []coexist.Response), format string, args ...any) {
	d.t.Helper()
	command := fmt.Sprintf(format, args...)
	tagged, responses, err := d.c.Tagged("%s", command)
	must(d.t, err)
	if change != nil {
		change(tagged, responses)
	}
	d.ack(strings.SplitN(command, "\r\n", 2)[0])
	d.hear(tagged, responses)
}

// learn tells the client the UIDs of a mailbox; they count from here on.
func (d *driver) learn(p place) {
	d.t.Helper()
	d.do(func(_ string, responses []coexist.Response) {
		for _, r := range responses {
			if r.Name != "FETCH" {
				continue
			}
			var uid uint32
			var flags []string
			id := ""
			for i := 0; i+1 < len(r.Args[0].List); i += 2 {
				value := r.Args[0].List[i+1]
				switch key := r.Args[0].List[i].Text; {
				case key == "UID":
					_, err := fmt.Sscan(value.Text, &uid)
					must(d.t, err)
				case key == "MODSEQ":
				case key == "FLAGS":
					flags = slices.DeleteFunc(value.Words(), func(w string) bool { return w == `\Recent` })
					slices.Sort(flags)
				default:
					id = coexist.MessageID(value.Text)
				}
			}
			if l, ok := d.world.mail[p][id]; !ok || l.flags != strings.Join(flags, " ") {
				d.t.Fatalf("%q with %v in %v, known is %v", id, flags, p, l)
			}
			d.put(p, id, letter{strings.Join(flags, " "), uid})
		}
	}, "UID FETCH 1:* (UID FLAGS BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")
}

func (d *driver) sel(p place) {
	d.t.Helper()
	d.selected, d.modseq = p, 0
	d.do(func(_ string, responses []coexist.Response) {
		for _, r := range responses {
			var n uint32
			if _, rest, ok := strings.Cut(r.Text, "[UIDVALIDITY "); ok {
				_, err := fmt.Sscan(strings.Trim(strings.SplitN(rest, "]", 2)[0], " "), &n)
				must(d.t, err)
				d.world.validity[p] = n
			}
		}
	}, "SELECT %s", p.folder)
}

// flag stores flags, which replace those of the message.
func (d *driver) flag(p place, flags string, ids ...string) {
	d.t.Helper()
	d.do(func(string, []coexist.Response) {
		for _, id := range ids {
			words := strings.Fields(flags)
			slices.Sort(words)
			d.put(p, id, letter{strings.Join(words, " "), d.world.mail[p][id].uid})
		}
	}, "UID STORE %s FLAGS (%s)", d.uids(p, ids), flags)
}

func (d *driver) uids(p place, ids []string) string {
	var words []string
	for _, id := range ids {
		uid := d.world.mail[p][id].uid
		if uid == 0 {
			d.t.Fatalf("the client does not know the UID of %s", id)
		}
		words = append(words, fmt.Sprint(uid))
	}
	return strings.Join(words, ",")
}

func (d *driver) transfer(verb string, from, to place, ids ...string) {
	d.t.Helper()
	d.do(func(string, []coexist.Response) {
		for _, id := range ids {
			d.put(to, id, letter{flags: d.world.mail[from][id].flags})
			if verb == "MOVE" {
				delete(d.world.mail[from], id)
			}
		}
	}, "UID %s %s %s", verb, d.uids(from, ids), to.folder)
}

func (d *driver) append(p place, size int, flags string) string {
	d.t.Helper()
	id, text := d.text(size)
	text = strings.ReplaceAll(text, "\n", "\r\n")
	d.do(func(string, []coexist.Response) { d.put(p, id, letter{flags: flags}) }, "APPEND %s (%s) {%d+}\r\n%s", p.folder, flags, len(text), text)
	return id
}

func (d *driver) expunge(p place, ids ...string) {
	d.t.Helper()
	d.do(func(string, []coexist.Response) {
		for _, id := range ids {
			delete(d.world.mail[p], id)
		}
	}, "EXPUNGE")
}

// run does everything once. Some operations follow each other closely, in an
// order that invites mistakes.
func (d *driver) run() {
	t := d.t
	m1 := d.deliver(0, false, "alice") // creates her Maildir
	for _, p := range []string{"Archive", "Drafts", "Junk", "Sent", "Trash"} {
		d.put(place{"alice", p}, "", letter{})
		delete(d.world.mail[place{"alice", p}], "")
	}
	d.rec.worlds[len(d.rec.worlds)-1] = d.world.clone()
	m2 := d.deliver(30_000, true, "alice")
	d.deliver(80_000, false, "alice", "bob")
	var err error
	d.c, err = coexist.Dial("maildird", d.m.Address("imap"), "alice@example.org", "secret")
	must(t, err)
	defer d.c.Close()
	d.ack("LOGIN")
	d.do(nil, "ENABLE QRESYNC")
	d.sel(inbox) // moves the new mail to cur/
	d.learn(inbox)
	d.do(nil, "UID FETCH 1:* SAVEDATE") // puts the history on disk
	d.flag(inbox, `\Flagged`, m1)
	d.flag(inbox, `\Flagged urgent`, m1)
	m4 := d.deliver(0, false, "alice")
	d.do(nil, "NOOP")
	d.learn(inbox)
	d.flag(inbox, `\Seen urgent later`, m4, m2)
	m5 := d.append(inbox, 0, `\Draft`)
	d.append(archive, 60_000, "")
	d.append(archive, 0, `\Seen new-keyword`)
	work := place{"alice", "Work"}
	d.do(func(string, []coexist.Response) { d.world.mail[work] = map[string]letter{} }, "CREATE Work")
	d.transfer("COPY", inbox, work, m1, m4)
	d.transfer("MOVE", inbox, archive, m2)
	d.learn(inbox)
	d.flag(inbox, "", m1)
	d.flag(inbox, `\Deleted`, m1, m5)
	d.expunge(inbox, m1, m5)
	m6 := d.deliver(0, true, "alice")
	d.do(nil, "NOOP")
	d.learn(inbox)
	d.transfer("MOVE", inbox, work, m6) // which was in new/ a moment ago
	m7 := d.deliver(0, true, "alice", "bob")
	d.do(nil, "NOOP")
	d.learn(inbox)
	d.flag(inbox, `\Deleted`, m7)
	d.expunge(inbox, m7)
	kept := place{"alice", "Kept"}
	d.do(func(string, []coexist.Response) {
		d.world.mail[kept] = d.world.mail[work]
		delete(d.world.mail, work)
	}, "RENAME Work Kept")
	d.do(func(string, []coexist.Response) { d.world.subscribed = "Archive Drafts INBOX Junk Kept Sent Trash" }, "SUBSCRIBE Kept")
	d.sel(archive)
	d.learn(archive)
	d.transfer("MOVE", archive, kept, m2)
	d.do(func(string, []coexist.Response) { d.world.mail[place{"alice", "Old"}] = map[string]letter{} }, "CREATE Old (USE (\\Archive))")
	d.do(func(string, []coexist.Response) { delete(d.world.mail, place{"alice", "Old"}) }, "DELETE Old")
	d.sel(kept)
	d.learn(kept)
	d.flag(kept, `\Deleted`, m4)
	d.expunge(kept, m4)
	d.selected, d.modseq = place{}, 0
	d.do(nil, "UNSELECT")
}
