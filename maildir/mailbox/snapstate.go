package mailbox

import (
	"cmp"
	"encoding/binary"
	"maps"
	"slices"

	"maildird/maildir/dirfd"
	"maildird/maildir/filename"
	"maildird/maildir/octets"
)

// state is what a snapshot contains besides the table.
type state struct {
	run      uint64 // identifies the run of the machine
	folder   dirfd.ID
	new, cur dirState
	// settled means that the table has everything that the directories had at these times,
	// and does not require listing them again as long as their times do not change.
	settled bool

	list, hist []byte // memos
	names      letterNames
	validity   uint32
	guid       string
	uidNext    uint32
	inNew      []uint32

	highest   uint64
	accounted uint32
	unsettled []uint32
	dated     []uint32
	was       []pastFlags
	strays    []uint32
}

// pastFlags are the flags of a row in the history, if they differ from its current ones.
type pastFlags struct {
	row   uint32
	flags filename.Flags
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// encode returns the state as it is stored in the file, with all numbers little-endian.
func (s *state) encode() []byte {
	le := binary.LittleEndian
	var b []byte
	flag := func(f bool) {
		if f {
			b = append(b, 1)
		} else {
			b = append(b, 0)
		}
	}
	text := func(s string) { b = octets.AppendText(b, s) }
	for _, n := range []uint64{s.run, s.folder.Dev, s.folder.Ino,
		s.new.Dev, s.new.Ino, uint64(s.new.mtime), uint64(s.new.ctime),
		s.cur.Dev, s.cur.Ino, uint64(s.cur.mtime), uint64(s.cur.ctime), s.highest} {
		b = le.AppendUint64(b, n)
	}
	flag(s.settled)
	b = le.AppendUint32(b, s.validity)
	b = le.AppendUint32(b, s.uidNext)
	b = le.AppendUint32(b, s.accounted)
	text(s.guid)
	text(string(s.list))
	text(string(s.hist))
	for _, name := range s.names {
		text(name)
	}
	for _, l := range [][]uint32{s.inNew, s.unsettled, s.dated, s.strays} {
		b = octets.AppendNumbers(b, l)
	}
	b = le.AppendUint32(b, uint32(len(s.was)))
	for _, p := range s.was {
		b = le.AppendUint32(b, p.row)
		b = le.AppendUint32(b, uint32(p.flags))
	}
	return b
}

// takeState decodes what encode wrote.
func takeState(d *octets.Decoder) *state {
	s := &state{}
	for _, n := range []*uint64{&s.run, &s.folder.Dev, &s.folder.Ino} {
		*n = d.U64()
	}
	for _, p := range []*dirState{&s.new, &s.cur} {
		p.Dev, p.Ino, p.mtime, p.ctime = d.U64(), d.U64(), int64(d.U64()), int64(d.U64())
	}
	s.highest = d.U64()
	s.settled = d.U8() == 1
	s.validity, s.uidNext, s.accounted = d.U32(), d.U32(), d.U32()
	s.guid, s.list, s.hist = string(d.Text()), d.Text(), d.Text()
	for i := range s.names {
		s.names[i] = string(d.Text())
	}
	s.inNew, s.unsettled, s.dated, s.strays = d.Numbers(), d.Numbers(), d.Numbers(), d.Numbers()
	for range d.Count(8) {
		p := pastFlags{row: d.U32()}
		p.flags = filename.Flags(d.U32())
		s.was = append(s.was, p)
	}
	return s
}

// fits reports whether all rows that the state mentions exist in a table of that many rows.
func (s *state) fits(rows uint32) bool {
	for _, list := range [][]uint32{s.inNew, s.unsettled, s.dated} {
		if slices.ContainsFunc(list, func(n uint32) bool { return n >= rows }) {
			return false
		}
	}
	return !slices.ContainsFunc(s.was, func(p pastFlags) bool { return p.row >= rows })
}
