package cache

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"time"
)

// ID identifies the mailbox whose messages are cached.
type ID struct {
	Account     string // the path of its Maildir
	GUID        string // of dovecot-uidlist
	UIDValidity uint32
}

// name returns the name of the mailbox's files. It does not depend on the UIDVALIDITY, so
// that the files for a new one replace the old ones.
func (id ID) name() string {
	h := sha256.Sum256([]byte(id.Account + "\x00" + id.GUID))
	return hex.EncodeToString(h[:16])
}

// The header of both files, little-endian: magic (16), format (4), isIndex or isData (4),
// the number that both files share (8), a hash of the ID (16), zero (12), checksum (4).
const (
	fileHead = 64
	magic    = "maildird cache\r\n"

	isIndex = 1
	isData  = 2
)

func (id ID) header(which uint32, number uint64) []byte {
	le := binary.LittleEndian
	b := append(make([]byte, 0, fileHead), magic...)
	b = le.AppendUint32(b, Format)
	b = le.AppendUint32(b, which)
	b = le.AppendUint64(b, number)
	h := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d", id.Account, id.GUID, id.UIDValidity))
	b = append(b, h[:16]...)
	b = append(b, make([]byte, 12)...)
	return le.AppendUint32(b, sum(number, b))
}

// pair is the two open files of a mailbox.
type pair struct {
	name        string
	index, data *os.File
	number      uint64
	read        int64 // number of bytes of the index that were read
	large       bool  // nothing more may be added
}

func (p *pair) close() {
	_ = p.index.Close()
	_ = p.data.Close()
}

var errStopped = errors.New("cache is being closed")

// errUnusable means that the files are not those of this mailbox and version.
var errUnusable = errors.New("cache files cannot be used")

// openPair opens the existing files. If the error is errUnusable, or one that missing
// recognises, new files can be created.
func (s *Store) openPair(id ID) (*pair, error) {
	p := &pair{name: id.name(), read: fileHead}
	var err error
	if p.index, err = s.openFile(p.name+indexSuffix, os.O_RDWR); err != nil {
		return nil, err
	}
	if p.data, err = s.openFile(p.name+dataSuffix, os.O_RDWR); err != nil {
		_ = p.index.Close()
		return nil, err
	}
	var have [2][fileHead]byte
	for i, f := range []*os.File{p.index, p.data} {
		if _, err := f.ReadAt(have[i][:], 0); err != nil {
			p.close()
			return nil, errUnusable
		}
	}
	p.number = binary.LittleEndian.Uint64(have[0][24:])
	if string(have[0][:]) != string(id.header(isIndex, p.number)) || string(have[1][:]) != string(id.header(isData, p.number)) {
		p.close()
		return nil, errUnusable
	}
	if st, err := p.index.Stat(); err == nil && time.Since(st.ModTime()) > 24*time.Hour {
		now := time.Now()
		_ = os.Chtimes(p.index.Name(), now, now) // evict uses this time as that of the last use
	}
	return p, nil
}

const tempSuffix = ".tmp"

// createPair creates empty files under temporary names and locks them.
func (s *Store) createPair(id ID) (*pair, error) {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, err
	}
	var random [16]byte
	_, _ = rand.Read(random[:])
	p := &pair{name: id.name(), read: fileHead, number: binary.LittleEndian.Uint64(random[:])}
	temp := p.name + "." + hex.EncodeToString(random[8:])
	var err error
	if p.index, err = s.openFile(temp+indexSuffix+tempSuffix, os.O_RDWR|os.O_CREATE|os.O_EXCL); err != nil {
		return nil, err
	}
	if p.data, err = s.openFile(temp+dataSuffix+tempSuffix, os.O_RDWR|os.O_CREATE|os.O_EXCL); err != nil {
		_ = os.Remove(p.index.Name())
		_ = p.index.Close()
		return nil, err
	}
	_, err = p.index.WriteAt(id.header(isIndex, p.number), 0)
	if err == nil {
		_, err = p.data.WriteAt(id.header(isData, p.number), 0)
	}
	if err == nil {
		_, err = lock(p.index)
	}
	if err != nil {
		p.abandon()
		return nil, err
	}
	return p, nil
}

// abandon removes files that createPair created.
func (p *pair) abandon() {
	_ = os.Remove(p.index.Name())
	_ = os.Remove(p.data.Name())
	p.close()
}

// place renames files that createPair created into place.
func (s *Store) place(p *pair) error {
	err := os.Rename(p.data.Name(), filepath.Join(s.dir, p.name+dataSuffix))
	if err == nil {
		err = os.Rename(p.index.Name(), filepath.Join(s.dir, p.name+indexSuffix))
	}
	return err
}

// remove removes the names of the files of a mailbox, whoever uses them at the moment.
func (s *Store) remove(name string) {
	_ = os.Remove(filepath.Join(s.dir, name+indexSuffix))
	_ = os.Remove(filepath.Join(s.dir, name+dataSuffix))
}

// current reports whether the names still lead to these files.
func (s *Store) current(p *pair) bool {
	return s.same(p.index, p.name+indexSuffix) && s.same(p.data, p.name+dataSuffix)
}

// add appends records and their entries, whose offsets are relative to data. The index is
// locked.
func (p *pair) add(data []byte, entries []entry) error {
	end, err := size(p.data)
	if err != nil {
		return err
	}
	at, err := size(p.index)
	if err != nil {
		return err
	}
	end = max(end, fileHead)
	at = max(at-at%entrySize, fileHead) // a partial entry left by a crash is overwritten
	raw := make([]byte, 0, len(entries)*entrySize)
	for i := range entries {
		if entries[i].len > 0 {
			entries[i].off += end
		}
		raw = appendEntry(raw, p.number, &entries[i])
	}
	if _, err = p.data.WriteAt(data, end); err == nil {
		_, err = p.index.WriteAt(raw, at)
	}
	if err != nil {
		_ = p.index.Truncate(at)
		_ = p.data.Truncate(end)
		return err
	}
	p.read = at + int64(len(raw))
	return nil
}

// each calls f with the entries of the index that were not read yet. During the call,
// p.read is the offset of the entry.
func (p *pair) each(f func(entry)) error {
	end, err := size(p.index)
	if err != nil {
		return err
	}
	buf := make([]byte, min(max(end-p.read, 0), 1024*entrySize))
	for p.read+entrySize <= end {
		b := buf[:min(int64(len(buf)), end-p.read)/entrySize*entrySize]
		n, err := p.index.ReadAt(b, p.read)
		if n < len(b) {
			return err // it was truncated
		}
		for raw := range chunks(b) {
			if e, ok := parseEntry(raw, p.number); ok {
				f(e)
			}
			p.read += entrySize
		}
	}
	return nil
}

// entries returns the number of entries in the index.
func (p *pair) entries() int64 {
	n, _ := size(p.index)
	return max(n-fileHead, 0) / entrySize
}

func chunks(b []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for ; len(b) >= entrySize; b = b[entrySize:] {
			if !yield(b[:entrySize]) {
				return
			}
		}
	}
}

func size(f *os.File) (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}
