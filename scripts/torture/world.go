package torture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"maildird/maildir"
	"maildird/maildir/filename"
	"maildird/maildir/folder"
	"maildird/maildir/mailbox"
	"maildird/scripts/coexist"
)

// standardFolders are the folders that "maildird init" configures.
var standardFolders = []folder.Default{
	{Name: "Drafts", SpecialUse: `\Drafts`}, {Name: "Sent", SpecialUse: `\Sent`}, {Name: "Junk", SpecialUse: `\Junk`},
	{Name: "Trash", SpecialUse: `\Trash`}, {Name: "Archive", SpecialUse: `\Archive`},
}

// place is a mailbox of a user.
type place struct{ user, folder string }

// letter is a message in a mailbox.
type letter struct {
	flags string // sorted
	uid   uint32 // 0 if no client was told of one
}

// world is what clients were told about all Maildirs: every message by place and
// identity. It is immutable.
type world struct {
	mail       map[place]map[string]letter
	validity   map[place]uint32
	subscribed string // alice's
}

func (w *world) clone() *world {
	c := &world{mail: map[place]map[string]letter{}, validity: maps.Clone(w.validity), subscribed: w.subscribed}
	for p, m := range w.mail {
		c.mail[p] = maps.Clone(m)
	}
	return c
}

// found is what the Maildirs contain.
type found struct {
	mail       map[place]map[string][]letter
	validity   map[place]uint32
	next       map[place]uint32
	subscribed string
}

// openWorld reads Maildirs as the program would serve them after a start. texts contains the
// messages as they were sent, and clients what they were told: an error is returned if one of
// them, coming back, is not told what is different.
func openWorld(root string, users []string, texts map[string]string, clients []told) (*found, error) {
	log := slog.New(slog.DiscardHandler)
	store := maildir.NewStore(maildir.Options{Host: "torture.test", Log: log, Idle: -1})
	defer store.Close()
	f := &found{map[place]map[string][]letter{}, map[place]uint32{}, map[place]uint32{}, ""}
	for _, user := range users {
		if err := f.account(store, filepath.Join(root, user), user, texts, clients); err != nil {
			return nil, fmt.Errorf("%s: %w", user, err)
		}
	}
	return f, nil
}

func (f *found) account(store *maildir.Store, root, user string, texts map[string]string, clients []told) error {
	a, err := store.Account(context.Background(), maildir.AccountOptions{
		Root: root, Folder: folder.Options{Layout: folder.LayoutMaildirPP, Separator: '/'}, Defaults: standardFolders,
	})
	if err != nil {
		return err
	}
	defer a.Release()
	subscribed, err := a.Tree().Subscriptions()
	if err != nil {
		return err
	}
	if user == "alice" {
		f.subscribed = strings.Join(subscribed, " ")
	}
	all, err := a.Tree().List()
	if err != nil {
		return err
	}
	for _, e := range all {
		if e.NoSelect {
			continue
		}
		if err := f.mailbox(a, place{user, e.Name}, texts, clients); err != nil {
			return fmt.Errorf("%s: %w", e.Name, err)
		}
	}
	return nil
}

func (f *found) mailbox(a *maildir.Account, at place, texts map[string]string, clients []told) error {
	box, err := a.Open(context.Background(), at.folder)
	if err != nil {
		return err
	}
	defer box.Release()
	v, err := box.NewView(context.Background(), false, nil)
	if err != nil {
		return err
	}
	defer v.Close()
	f.validity[at], f.next[at], f.mail[at] = v.UIDValidity(), v.UIDNext(), map[string][]letter{}
	for m := range v.Messages([]mailbox.Range{{First: 1, Last: ^uint32(0)}}, true) {
		var file mailbox.File
		if err := v.Open(&file, m, func(int64) []byte { return nil }); err != nil {
			return err
		}
		text := make([]byte, file.Size)
		_, err := file.ReadAt(text, 0)
		_ = file.Close()
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		id := coexist.MessageID(string(text))
		if sent, ok := texts[id]; !ok || !strings.HasSuffix(string(text), sent) {
			return fmt.Errorf("UID %d is not what was sent: %.300q", m.UID, text)
		}
		f.mail[at][id] = append(f.mail[at][id], letter{flagWords(v, m.Flags), m.UID})
	}
	if _, err := v.TellModSeq(context.Background()); err != nil {
		return err
	}
	for _, c := range clients {
		if c.place == at {
			if err := c.check(v, f.mail[at]); err != nil {
				return err
			}
		}
	}
	return nil
}

func flagWords(v *mailbox.View, flags filename.Flags) string {
	var words []string
	for flag, word := range map[filename.Flags]string{filename.Seen: `\Seen`, filename.Flagged: `\Flagged`, filename.Answered: `\Answered`,
		filename.Deleted: `\Deleted`, filename.Draft: `\Draft`} {
		if flags&flag != 0 {
			words = append(words, word)
		}
	}
	flags.EachKeyword(func(i int) {
		name, ok := v.KeywordName(i)
		if !ok {
			name = fmt.Sprintf("letter-%d", i)
		}
		words = append(words, name)
	})
	slices.Sort(words)
	return strings.Join(words, " ")
}

// compare returns an error if the Maildirs differ from every state that is allowed: that before
// an operation, that after it, or one in between.
func (f *found) compare(before, after *world) error {
	var wrong []string
	add := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	places := map[place]bool{}
	for _, all := range []*world{before, after} {
		for p := range all.mail {
			places[p] = true
		}
	}
	for p := range f.mail {
		if !places[p] && len(f.mail[p]) > 0 {
			add("nobody made the mailbox %v", p)
		}
	}
	ids := map[string]bool{}
	for p := range places {
		_, was := before.mail[p]
		_, will := after.mail[p]
		if _, is := f.mail[p]; !is && was && will {
			add("mailbox %v is gone", p)
			continue
		}
		if v := before.validity[p]; v != 0 && will && f.validity[p] != v {
			add("UIDVALIDITY of %v was %d and is %d", p, v, f.validity[p])
		}
		for _, all := range []map[string]letter{before.mail[p], after.mail[p]} {
			for id := range all {
				ids[id] = true
			}
		}
		f.comparePlace(p, before.mail[p], after.mail[p], add)
	}
	for id := range ids {
		if min(before.count(id), after.count(id)) > 0 && f.count(id) == 0 {
			add("%s is lost", id)
		}
	}
	if f.subscribed != before.subscribed && f.subscribed != after.subscribed {
		add("subscribed is %q, has to be %q or %q", f.subscribed, before.subscribed, after.subscribed)
	}
	if len(wrong) == 0 {
		return nil
	}
	slices.Sort(wrong)
	return errors.New(strings.Join(wrong, "\n"))
}

func (f *found) comparePlace(p place, before, after map[string]letter, add func(string, ...any)) {
	uids := map[uint32]string{}
	for id, l := range before {
		if l.uid != 0 {
			uids[l.uid] = id
			if f.next[p] != 0 && f.next[p] <= l.uid {
				add("UIDNEXT of %v is %d, and UID %d is known", p, f.next[p], l.uid)
			}
		}
	}
	for id, is := range f.mail[p] {
		was, inBefore := before[id]
		will, inAfter := after[id]
		if len(is) > 1 || !inBefore && !inAfter {
			add("%s is in %v %d times", id, p, len(is))
			continue
		}
		if is[0].flags != was.flags && is[0].flags != will.flags || !inBefore && is[0].flags != will.flags || !inAfter && is[0].flags != was.flags {
			add("%s in %v has the flags %q, has to have %q or %q", id, p, is[0].flags, was.flags, will.flags)
		}
		if inBefore && was.uid != 0 && is[0].uid != was.uid {
			add("%s in %v had UID %d and has %d", id, p, was.uid, is[0].uid)
		}
		if other, ok := uids[is[0].uid]; ok && other != id {
			add("UID %d of %v stood for %s and stands for %s", is[0].uid, p, other, id)
		}
	}
	for id := range before {
		if _, stays := after[id]; stays && len(f.mail[p][id]) == 0 && f.mail[p] != nil {
			add("%s is not in %v any more", id, p)
		}
	}
}

func (w *world) count(id string) (n int) {
	for _, m := range w.mail {
		if _, ok := m[id]; ok {
			n++
		}
	}
	return n
}

func (f *found) count(id string) (n int) {
	for _, m := range f.mail {
		n += len(m[id])
	}
	return n
}
