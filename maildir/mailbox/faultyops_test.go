package mailbox

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"maildird/maildir/filename"
)

// faultyOp is an operation to be tested.
type faultyOp struct {
	name    string
	fresh   bool // the folder was never opened, and is not
	prepare func(*faulty)
	run     func(*faulty) error
	// check says what is wrong with the result; now is what is on disk.
	check func(w *faulty, failed bool, now, to map[string]string) string
	// settled are the names that must be durable after success.
	settled func(w *faulty) []string
}

func (w *faulty) append(n int, opt AppendOptions) error {
	w.n++
	var in []*Incoming
	for i := range n {
		one, err := w.m.NewIncoming(opt)
		if err == nil {
			in = append(in, one)
			_, err = fmt.Fprintf(one, "Subject: appended %d of %d\r\n\r\nhello\r\n", i, w.n)
		}
		if err != nil {
			for _, one := range in {
				one.Abort()
			}
			return err
		}
	}
	_, uids, err := w.m.Append(ctx, Taken{}, in...)
	for i, uid := range uids {
		if err != nil {
			return fmt.Errorf("UIDs %d, and %w", uids, err)
		}
		text := fmt.Sprintf("Subject: appended %d of %d\n\nhello\n", i, w.n)
		if was, ok := w.told[w.b][uid]; ok && was != text {
			w.t.Errorf("APPEND gives UID %d, that was told for %q", uid, was)
		}
		w.told[w.b][uid] = text
	}
	return err
}

func otherFiles(before, now map[string]string) string {
	if maps.Equal(before, now) {
		return ""
	}
	return fmt.Sprintf("before: %v, now: %v", before, now)
}

func textsOf(in map[string]string) []string { return slices.Sorted(maps.Keys(in)) }

func mailNames(w *faulty, b *box) []string {
	return slices.Concat(w.f.Missing(b.path+"/cur", ""), w.f.Missing(b.path+"/new", ""))
}

func listNames(w *faulty, b *box) []string {
	return slices.DeleteFunc(w.f.Missing(b.path, "dovecot-uidlist"), func(name string) bool { return strings.HasSuffix(name, uidlistLock) })
}

func checkAppend(n int) func(w *faulty, failed bool, now, to map[string]string) string {
	return func(w *faulty, failed bool, now, _ map[string]string) string {
		want := len(w.before)
		if !failed {
			want += n
		}
		for text, flags := range w.before {
			if now[text] != flags {
				return "another message changed"
			}
		}
		if len(now) != want {
			return fmt.Sprintf("%d messages, want %d: %q", len(now), want, textsOf(now))
		}
		return ""
	}
}

func checkStore(w *faulty, failed bool, now, _ map[string]string, want func(text, flags string) string) string {
	if !slices.Equal(textsOf(now), textsOf(w.before)) {
		return fmt.Sprintf("messages %q, before %q", textsOf(now), textsOf(w.before))
	}
	for text, flags := range now {
		wanted := want(text, w.before[text])
		if flags != wanted && (!failed || flags != w.before[text]) {
			return fmt.Sprintf("%q has %q, before %q, want %q", text, flags, w.before[text], wanted)
		}
	}
	return ""
}

func hasNumber(text string, is ...int) bool {
	return slices.ContainsFunc(is, func(i int) bool { return strings.HasPrefix(text, fmt.Sprintf("Subject: 17%08d.M", i)) })
}

// openAnew opens the folder as another process would, and looks at it.
func (w *faulty) openAnew() error {
	m, err := w.open(w.b, w.env, w.f)
	if err != nil {
		return err
	}
	defer m.Close()
	_, err = w.look(w.b, m)
	return err
}

var faultyOps = []faultyOp{
	{
		name: "open for the first time", fresh: true,
		run:   (*faulty).openAnew,
		check: func(w *faulty, _ bool, now, _ map[string]string) string { return otherFiles(w.before, now) },
		settled: func(w *faulty) []string {
			if w.again { // who opens it cannot know; a list that is lost as a whole gets a new UIDVALIDITY
				return nil
			}
			return listNames(w, w.b)
		},
	},
	{
		name:  "open",
		run:   (*faulty).openAnew,
		check: func(w *faulty, _ bool, now, _ map[string]string) string { return otherFiles(w.before, now) },
	},
	{
		name:    "new mail",
		prepare: func(w *faulty) { w.b.drop("new/"); w.b.drop("cur/"); w.b.drop("new/") },
		run: func(w *faulty) error {
			err := w.c.v.Poll(ctx)
			if err == nil {
				_, err = w.look(w.b, w.m)
			}
			return err
		},
		check: func(w *faulty, _ bool, now, _ map[string]string) string { return otherFiles(w.before, now) },
	},
	{
		name: "select new mail",
		prepare: func(w *faulty) {
			w.c.v.Close()
			w.c = nil
			w.b.drop("new/")
			w.b.drop("new/")
		},
		run: func(w *faulty) error {
			v, err := w.m.NewView(ctx, false, nil)
			if err != nil {
				return err
			}
			v.Close()
			return nil
		},
		check: func(w *faulty, _ bool, now, _ map[string]string) string { return otherFiles(w.before, now) },
	},
	{
		name:    "changes of others",
		prepare: func(w *faulty) { w.others() },
		run:     func(w *faulty) error { return w.c.v.Poll(ctx) },
		check:   func(w *faulty, _ bool, now, _ map[string]string) string { return otherFiles(w.before, now) },
	},
	{
		name: "STORE one",
		run: func(w *faulty) error {
			_, err := w.c.v.Store(ctx, w.uid(1), Add, filename.Flagged, nil)
			return err
		},
		check: func(w *faulty, failed bool, now, to map[string]string) string {
			return checkStore(w, failed, now, to, func(text, flags string) string {
				if hasNumber(text, 1) {
					return "F|"
				}
				return flags
			})
		},
		settled: func(w *faulty) []string { return mailNames(w, w.b) },
	},
	{
		name: "STORE many",
		run: func(w *faulty) error {
			_, err := w.c.v.Store(ctx, w.uid(1, 2, 3, 4, 5), Set, filename.Flagged, []string{"known"})
			return err
		},
		check: func(w *faulty, failed bool, now, to map[string]string) string {
			return checkStore(w, failed, now, to, func(string, string) string { return "F|known" })
		},
		settled: func(w *faulty) []string { return mailNames(w, w.b) },
	},
	{
		name: "STORE conditionally",
		run: func(w *faulty) error {
			_, mod, err := w.c.v.StoreUnchangedSince(ctx, w.c.v.HighestModSeq(), w.uid(1, 2), Add, filename.Draft, nil)
			if err == nil && len(mod) > 0 {
				_, err = w.c.v.Store(ctx, w.uid(1, 2), Add, filename.Draft, nil)
			}
			return err
		},
		check: func(w *faulty, failed bool, now, to map[string]string) string {
			return checkStore(w, failed, now, to, func(text, flags string) string {
				if hasNumber(text, 1) {
					return "D|"
				} else if hasNumber(text, 2) {
					return "DS|"
				}
				return flags
			})
		},
		settled: func(w *faulty) []string { return mailNames(w, w.b) },
	},
	{
		name: "STORE new keyword",
		run: func(w *faulty) error {
			_, err := w.c.v.Store(ctx, w.uid(1, 3), Add, 0, []string{"brandnew"})
			return err
		},
		check: func(w *faulty, failed bool, now, to map[string]string) string {
			return checkStore(w, failed, now, to, func(text, flags string) string {
				if hasNumber(text, 1, 3) {
					return flags + "brandnew"
				}
				return flags
			})
		},
		settled: func(w *faulty) []string {
			return append(mailNames(w, w.b), w.f.Missing(w.b.path, "dovecot-keywords")...)
		},
	},
	{
		name:  "EXPUNGE",
		run:   func(w *faulty) error { _, err := w.c.v.Expunge(ctx, nil); return err },
		check: checkGone(4, 5),
	},
	{
		name: "remove most", // so that the list is written anew
		run: func(w *faulty) error {
			_, err := w.c.v.Remove(ctx, w.uid(1, 2, 3, 4)...)
			return err
		},
		check: checkGone(1, 2, 3, 4),
	},
	{
		name: "COPY",
		run: func(w *faulty) error {
			c, err := w.c.v.Copy(ctx, w.uid(1, 4), w.d)
			w.toldCopied(c, err)
			return err
		},
		check: func(w *faulty, failed bool, now, to map[string]string) string {
			if c := otherFiles(w.before, now); c != "" {
				return c
			}
			return checkCopied(w, failed, to, 1, 4)
		},
		settled: func(w *faulty) []string { return append(mailNames(w, w.to), listNames(w, w.to)...) },
	},
	{
		name: "MOVE",
		run: func(w *faulty) error {
			uids := slices.DeleteFunc(w.uid(1, 4), func(uid uint32) bool { return slices.Contains(w.moved.Source, uid) })
			moved, err := w.c.v.Move(ctx, uids, w.d)
			w.moved.Source = append(w.moved.Source, moved.Source...)
			w.toldCopied(moved, err)
			return err
		},
		check: func(w *faulty, failed bool, now, to map[string]string) string {
			for text, flags := range w.before {
				_, here := now[text]
				_, there := to[text]
				if hasNumber(text, 1, 4) {
					if !here && !there {
						return fmt.Sprintf("%q is lost", text)
					}
					told := slices.Contains(w.moved.Source, w.uids[text])
					switch {
					case here && there && !(failed && w.lasting):
						return fmt.Sprintf("%q is in both", text)
					case there && !here && !told, !there && told:
						return fmt.Sprintf("%q is moved: %v; the client was told %v", text, there && !here, told)
					case !failed && here:
						return fmt.Sprintf("%q was not moved", text)
					}
					continue
				}
				if now[text] != flags || there {
					return fmt.Sprintf("%q changed", text)
				}
			}
			return ""
		},
		settled: func(w *faulty) []string { return append(mailNames(w, w.to), listNames(w, w.to)...) },
	},
	{
		name: "APPEND", run: func(w *faulty) error { return w.append(1, AppendOptions{}) }, check: checkAppend(1),
		settled: func(w *faulty) []string { return append(mailNames(w, w.b), listNames(w, w.b)...) },
	},
	{
		name: "APPEND three with a keyword", run: func(w *faulty) error {
			return w.append(3, AppendOptions{Flags: filename.Seen, Keywords: []string{"brandnew"}, Date: time.Unix(1e9, 0)})
		}, check: checkAppend(3),
		settled: func(w *faulty) []string {
			return slices.Concat(mailNames(w, w.b), listNames(w, w.b), w.f.Missing(w.b.path, "dovecot-keywords"))
		},
	},
	{
		name:    "FETCH",
		prepare: func(w *faulty) { w.others() },
		run: func(w *faulty) error {
			for _, msg := range w.c.all() {
				f, err := openText(w.c.v, msg)
				if errors.Is(err, ErrGone) {
					continue
				}
				if err != nil {
					return err
				}
				must(w.t, f.Close())
			}
			return nil
		},
		check: func(w *faulty, _ bool, now, _ map[string]string) string { return otherFiles(w.before, now) },
	},
}

func checkGone(is ...int) func(w *faulty, failed bool, now, to map[string]string) string {
	return func(w *faulty, failed bool, now, _ map[string]string) string {
		for text, flags := range w.before {
			f, there := now[text]
			if hasNumber(text, is...) {
				if there && !failed {
					return fmt.Sprintf("%q is there", text)
				}
			} else if f != flags {
				return fmt.Sprintf("%q has %q, before %q", text, f, flags)
			}
		}
		return ""
	}
}

func checkCopied(w *faulty, failed bool, to map[string]string, is ...int) string {
	for text, flags := range w.before {
		f, there := to[text]
		if want := hasNumber(text, is...) && !failed; there != want || there && f != flags {
			return fmt.Sprintf("%q is there: %v (%q), want %v (%q)", text, there, f, want, flags)
		}
	}
	if want := len(w.toBefore); failed && len(to) != want {
		return fmt.Sprintf("%d messages, want %d", len(to), want)
	}
	return ""
}

func (w *faulty) toldCopied(c Copied, err error) {
	texts := map[uint32]string{}
	for text, uid := range w.uids {
		texts[uid] = text
	}
	for i, uid := range c.Dest {
		text := texts[c.Source[i]]
		if was, ok := w.told[w.to][uid]; ok && was != text {
			w.t.Errorf("a copy of %q gets UID %d, that was told for %q", text, uid, was)
		}
		w.told[w.to][uid] = text
	}
}

// others rename, remove and add, as mutt does.
func (w *faulty) others() {
	for rel := range w.b.files() {
		switch base := filepath.Base(rel); {
		case hasNumber("Subject: "+base, 1):
			w.b.rename(rel, rel+"R")
		case hasNumber("Subject: "+base, 2):
			w.b.remove(rel)
		case hasNumber("Subject: "+base, 3):
			w.b.rename(rel, strings.Replace(rel, ":2,FS", ":2,FSa", 1))
		}
	}
	w.b.drop("cur/")
}
