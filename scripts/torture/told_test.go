package torture

import (
	le "encoding/binary"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"maildird/maildir/dirfd"
	"maildird/maildir/history"
	"maildird/scripts/coexist"
)

// modSeqIn returns the highest mod-sequence in a response, 0 if there is none.
func modSeqIn(text string) (highest uint64) {
	text = strings.ToUpper(text)
	for {
		_, rest, ok := strings.Cut(text, "MODSEQ ")
		if !ok {
			return highest
		}
		var n uint64
		if _, err := fmt.Sscan(strings.FieldsFunc(rest, func(r rune) bool { return r < '0' || r > '9' })[0], &n); err == nil {
			highest = max(highest, n)
		}
		text = rest
	}
}

// hear notes what the client knows of the selected mailbox after a command.
func (d *driver) hear(tagged string, responses []coexist.Response) {
	for _, r := range responses {
		d.modseq = max(d.modseq, modSeqIn(r.Text))
	}
	d.modseq = max(d.modseq, modSeqIn(tagged))
	if d.modseq > 0 {
		d.rec.told = append(d.rec.told, told{d.selected, len(d.rec.what), d.modseq, maps.Clone(d.world.mail[d.selected])})
	}
}

// restarted makes the histories below a directory, which are copies, ones that the machine had
// before it was restarted: the format is described in package history.
func restarted(root string) error {
	return filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.Name() != history.Name {
			return err
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		const size = 64
		sum := func(b []byte) uint32 { return crc32.Checksum(b[:size-4], crc32.MakeTable(crc32.Castagnoli)) }
		b := make([]byte, size)
		if n, _ := f.ReadAt(b, 0); n < size || sum(b) != le.LittleEndian.Uint32(b[size-4:]) {
			return nil
		}
		st, err := dirfd.FileStat(f)
		if err != nil {
			return err
		}
		le.LittleEndian.PutUint64(b[8:], st.Ino)
		le.LittleEndian.PutUint64(b[32:], le.LittleEndian.Uint64(b[32:])^2)
		le.LittleEndian.PutUint64(b[48:], uint64(dirfd.Birth(f)))
		le.LittleEndian.PutUint32(b[size-4:], sum(b))
		_, err = f.WriteAt(b, 0)
		return err
	})
}
