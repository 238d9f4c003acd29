package coexist

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"maildird/maildir/folder"
)

// difficult are mailbox names, by level, that both separators and both layouts allow.
var difficult = [][]string{
	{"With Space"}, {"R&D"}, {`quo"te`}, {`back\slash`}, {"[Gmail]"}, {"[Gmail]", "All Mail"},
	{"Grüße"}, {"日本語", "メール"}, {"star*per%cent"}, {"Lists"}, {"Lists", "golang nuts"}, {"Lists", "golang nuts", "2024"},
	{"it's; a, (very) {odd} name"}, {"a~tilde"}, {"trailing space "}, {"UPPER"}, {"Upper"}, {"smile 😀"},
	{"&"}, {"&-"}, {"Entwürfe & Späße"}, {"implied only", "leaf"}, {"100%"}, {"#hash"}, {"!bang"},
	{"Archive"}, {"Archive", "2001"}, {"Archive", "2001", "Q1"}, {"minus-"},
}

// withDots are names for the layout fs with the separator "/".
var withDots = [][]string{{"v1.2"}, {"[Gmail]", "example.org"}, {"ends.in.dot."}, {".hidden"}}

// Corpus is a Maildir to be written, with everything that a server may find when it
// first sees a tree.
type Corpus struct {
	Root      string
	Layout    string
	Folders   [][]string // in addition to INBOX
	Messages  int
	Subscribe string // format of the subscriptions file: "", "v1" or "v2"
	// Undeleted omits \Deleted, which synchronisers cannot start with.
	Undeleted bool
}

// Write writes the Maildir. Some folders have a dovecot-uidlist of version 1 or 3 that lists
// some of their messages, others have none.
func (c Corpus) Write() error {
	rng := rand.New(rand.NewPCG(1, 2))
	all := append([][]string{nil}, c.Folders...)
	for i, levels := range all {
		dir := c.dir(levels)
		for _, sub := range []string{"cur", "new", "tmp"} {
			if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
				return err
			}
		}
		f := corpusFolder{dir: dir, kind: i % 4, rng: rng, undeleted: c.Undeleted}
		for n := i; n < c.Messages; n += len(all) {
			if err := f.write(n); err != nil {
				return err
			}
		}
		if err := f.lists(); err != nil {
			return err
		}
	}
	return c.subscriptions()
}

// dir returns the directory of a mailbox.
func (c Corpus) dir(levels []string) string {
	if len(levels) == 0 {
		return c.Root
	}
	disk := make([]string, len(levels))
	for i, l := range levels {
		disk[i] = folder.EncodeUTF7(l)
	}
	if c.Layout == "fs" {
		return filepath.Join(append([]string{c.Root}, disk...)...)
	}
	return filepath.Join(c.Root, "."+strings.Join(disk, "."))
}

func (c Corpus) subscriptions() error {
	if c.Subscribe == "" {
		return nil
	}
	separator, text := ".", ""
	if c.Layout == "fs" {
		separator = "/"
	}
	if c.Subscribe == "v2" {
		separator, text = "\t", "V\t2\n\n"
	}
	for i, levels := range c.Folders {
		if i%2 == 0 {
			disk := make([]string, len(levels))
			for i, l := range levels {
				disk[i] = folder.EncodeUTF7(l)
			}
			text += strings.Join(disk, separator) + "\n"
		}
	}
	return os.WriteFile(filepath.Join(c.Root, "subscriptions"), []byte(text), 0o600)
}

// corpusFolder is a folder of the corpus.
type corpusFolder struct {
	dir   string
	kind  int // 0: no uidlist; 1: version 3; 2: version 1; 3: all mail is new
	rng   *rand.Rand
	bases []string

	undeleted bool
}

var corpusEpoch = time.Date(2020, 2, 29, 23, 59, 59, 0, time.UTC)

func (f *corpusFolder) write(n int) error {
	at := corpusEpoch.Add(time.Duration(n) * 61 * time.Second)
	text := fmt.Sprintf("Message-ID: <corpus%d@x.test>\nDate: %s\nFrom: a@x.test\nSubject: number %d\n\n%s", n,
		at.Format(time.RFC1123Z), n, strings.Repeat("line\n", n%40))
	base := f.base(n, at, text)
	f.bases = append(f.bases, base)
	name := "cur/" + base
	switch {
	case f.kind == 3 || n%10 == 9:
		name = "new/" + base
		if n%3 == 0 {
			name += ":2," + f.flags("FRST") // as mbsync and mutt leave it
		}
	case n%10 != 8: // a file in cur/ without info is rare but allowed
		name += ":2," + f.flags("DFRSTabc")
		if n%50 == 3 {
			name += "X" // a letter without a meaning
		}
	}
	path := filepath.Join(f.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return err
	}
	return os.Chtimes(path, at, at)
}

// base returns a file name as one of several programs would choose it.
func (f *corpusFolder) base(n int, at time.Time, text string) string {
	virtual := len(text) + strings.Count(text, "\n")
	switch n % 7 {
	case 0, 1:
		return fmt.Sprintf("%d.M%dP%d.mx,S=%d,W=%d", at.Unix(), f.rng.IntN(1e6), 1000+n, len(text), virtual)
	case 2:
		return fmt.Sprintf("%d.%d_%d.shell", at.Unix(), 2000+n, n)
	case 3:
		return fmt.Sprintf("%d.R%dH.mutt", at.Unix(), f.rng.Uint64())
	case 4:
		if f.kind == 1 {
			return fmt.Sprintf("copied by hand %d", n)
		}
		return fmt.Sprintf("copied-by-hand-%d", n)
	case 5:
		return fmt.Sprintf("%d.M%dP%dQ%d.mx,S=%d", at.Unix()/3600, f.rng.IntN(1000), n, n, len(text))
	}
	return fmt.Sprintf("%d.%d_1.host,U=%d", at.Unix(), 3000+n, n)
}

func (f *corpusFolder) flags(letters string) string {
	var out strings.Builder
	for i := range letters {
		if f.rng.IntN(3) == 0 && !(f.undeleted && letters[i] == 'T') {
			out.WriteByte(letters[i])
		}
	}
	return out.String()
}

// lists writes dovecot-uidlist and dovecot-keywords.
func (f *corpusFolder) lists() error {
	write := func(name, text string) error {
		return os.WriteFile(filepath.Join(f.dir, name), []byte(text), 0o600)
	}
	if err := write("dovecot-keywords", "0 $Forwarded\n1 NonJunk\n2 $label1\n"); err != nil {
		return err
	}
	list := ""
	uid := 1
	for i, base := range f.bases {
		if i%3 == 2 {
			continue // not listed yet
		}
		switch f.kind {
		case 1:
			list += fmt.Sprintf("%d G%032x :%s\n", uid, uid, base)
		case 2:
			list += fmt.Sprintf("%d %s\n", uid, base)
		}
		uid += 1 + f.rng.IntN(3)
	}
	switch f.kind {
	case 1:
		return write("dovecot-uidlist", fmt.Sprintf("3 V%d N%d Gabcdef0123456789abcdef0123456789\n", 1500000000+len(f.bases), uid+10)+list)
	case 2:
		return write("dovecot-uidlist", fmt.Sprintf("1 %d %d\n", 1400000000+len(f.bases), uid)+list)
	}
	return nil
}
