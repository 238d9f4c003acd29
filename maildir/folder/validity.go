package folder

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"maildird/maildir/dirfd"
)

// validityFile names Dovecot's counter of UIDVALIDITY in the root: the highest
// N of the empty files "dovecot-uidvalidity.<8 hex digits N>" is the last value
// given out, and renaming that file to a higher N is what takes a value. The
// file of the bare name repeats it as text.
const validityFile = "dovecot-uidvalidity"

// outliveValidity makes sure that a mailbox created later under the name of one
// that is now deleted gets a greater UIDVALIDITY (RFC 9051 section 2.3.1.1):
// the counter is raised to at least the deleted one's. Dovecot does nothing
// like it and relies on the counter being ahead of all mailboxes, which fails
// for one that was copied here or numbered by another program.
func (t *Tree) outliveValidity(at levels) error {
	d, err := t.layout.open(t.root, at)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	defer d.Close()
	deleted := validityOf(d)
	if deleted == 0 || deleted == 1<<32-1 {
		return nil
	}
	return t.raiseValidity(deleted)
}

// validityOf reads the UIDVALIDITY in the header of a folder's
// dovecot-uidlist; 0 if there is none that can be read.
func validityOf(d *dirfd.Dir) uint32 {
	f, err := d.Open("dovecot-uidlist")
	if err != nil {
		return 0
	}
	defer f.Close()
	line, err := bufio.NewReader(io.LimitReader(f, 1024)).ReadString('\n')
	if err != nil {
		return 0
	}
	fields := strings.Fields(line)
	if len(fields) < 2 {
		return 0
	}
	text := ""
	switch fields[0] {
	case "1":
		text = fields[1]
	case "3":
		for _, field := range fields[1:] {
			if field[0] == 'V' {
				text = field[1:]
			}
		}
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}

// raiseValidity raises the counter to at least a value.
func (t *Tree) raiseValidity(least uint32) error {
	name := func(n uint32) string { return fmt.Sprintf("%s.%08x", validityFile, n) }
	// Another program may take a value meanwhile: then our rename fails.
	for range 10 {
		highest, any, err := t.highestValidity()
		if err != nil || any && highest >= least {
			return err
		}
		if any {
			err = t.root.RenameNoReplace(name(highest), t.root, name(least))
		} else {
			err = t.createEmpty(name(least))
		}
		if err == nil {
			return t.writeValidity(least)
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return fmt.Errorf("%s/%s: other programs change it all the time", t.root.Path(), validityFile)
}

func (t *Tree) highestValidity() (highest uint32, any bool, err error) {
	err = t.root.List(func(name []byte, _ dirfd.Kind, _ uint64) bool {
		digits, ok := strings.CutPrefix(string(name), validityFile+".")
		if !ok || len(digits) != 8 {
			return true
		}
		if n, err := strconv.ParseUint(digits, 16, 32); err == nil {
			highest, any = max(highest, uint32(n)), true
		}
		return true
	})
	return highest, any, err
}

func (t *Tree) createEmpty(name string) error {
	f, err := t.root.Create(name, 0o444)
	if err != nil {
		return err
	}
	return f.Close()
}

// writeValidity repeats the counter as text, in a new file that takes the old
// one's place.
func (t *Tree) writeValidity(n uint32) error {
	rights, err := t.root.Rights()
	if err != nil {
		return err
	}
	temp := validityFile + ".maildird"
	if err := t.root.RemoveAll(temp); err != nil {
		return err
	}
	f, err := t.root.CreateAs(temp, rights)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = fmt.Fprintf(f, "%08x", n)
	if err == nil && t.opt.Fsync {
		err = f.Sync()
	}
	if err == nil {
		err = t.root.Rename(temp, t.root, validityFile)
	}
	if err == nil && t.opt.Fsync {
		err = t.root.Sync()
	}
	return err
}
