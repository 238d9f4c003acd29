package maildirsize

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"maildird/maildir/dirfd"
)

// LongFile is the size in bytes from which on the file has to be rewritten, as in all
// programs that maintain it.
const LongFile = 5120

// maxFile limits how much is read of a file that nobody has rewritten for long.
const maxFile = 1 << 20

// ErrDamaged means that the lines of the file are malformed and the sum has to be
// recalculated.
var ErrDamaged = errors.New("maildirsize is damaged")

// Limit is what a Maildir may contain; 0 means no limit.
type Limit struct{ Bytes, Messages int64 }

// parseLimit parses the first line of the file, such as "1048576S,1000C": bytes and
// messages. Unknown fields are skipped, as the format requires.
func parseLimit(line string) (l Limit) {
	for field := range strings.SplitSeq(strings.TrimSpace(line), ",") {
		if field == "" {
			continue
		}
		n, err := strconv.ParseInt(field[:len(field)-1], 10, 64)
		if err != nil || n < 0 {
			continue
		}
		switch field[len(field)-1] {
		case 'S':
			l.Bytes = n
		case 'C':
			l.Messages = n
		}
	}
	return l
}

// String returns the limit in the form of the file's first line.
func (l Limit) String() string {
	var fields []string
	if l.Bytes > 0 {
		fields = append(fields, strconv.FormatInt(l.Bytes, 10)+"S")
	}
	if l.Messages > 0 {
		fields = append(fields, strconv.FormatInt(l.Messages, 10)+"C")
	}
	return strings.Join(fields, ",")
}

// Sum is the content of the file.
type Sum struct {
	Limit           Limit
	Bytes, Messages int64
	Lines           int   // after the first
	Size            int64 // of the file
	Mtime           time.Time
}

// Read adds up the lines. It returns fs.ErrNotExist if there is no file, and ErrDamaged
// with only the limit if the lines cannot be added up.
func Read(root *dirfd.Dir) (Sum, error) {
	st, err := root.Lstat(name)
	if err != nil {
		return Sum{}, err
	}
	s := Sum{Size: st.Size, Mtime: st.Mtime}
	text, err := root.ReadFile(name, maxFile)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		return s, err
	}
	first, rest, complete := bytes.Cut(text, []byte("\n"))
	s.Limit = parseLimit(string(first))
	for line := range bytes.Lines(rest) {
		f := strings.Fields(string(line))
		if len(f) != 2 || line[len(line)-1] != '\n' {
			return s, ErrDamaged
		}
		size, err := strconv.ParseInt(f[0], 10, 64)
		n, nerr := strconv.ParseInt(f[1], 10, 64)
		if err != nil || nerr != nil || !add(&s.Bytes, size) || !add(&s.Messages, n) {
			return s, ErrDamaged
		}
		s.Lines++
	}
	if !complete || s.Lines == 0 || s.Bytes < 0 || s.Messages < 0 {
		return s, ErrDamaged
	}
	return s, nil
}

// add adds n to sum, and reports whether the result fits in 64 bits.
func add(sum *int64, n int64) bool {
	before := *sum
	*sum += n
	return (*sum >= before) == (n >= 0)
}

// Write replaces the file by one with a limit and a sum. What other programs add between
// the counting and this is missing from the sum until it is recalculated.
func Write(root *dirfd.Dir, l Limit, size, messages int64) error {
	_, err := root.Replace(name, name+".maildird", func(f *dirfd.File) error {
		_, err := fmt.Fprintf(f, "%s\n%d %d\n", l, size, messages)
		return errors.Join(err, f.Close())
	})
	return err
}
