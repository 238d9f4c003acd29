package torture

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// disk is a model of a file system and of what a power cut may leave of it. It follows the
// system calls of a program and knows for every change whether it has been synced.
//
// It promises less than ext4, XFS, btrfs and ZFS do:
//
//   - fsync and fdatasync of a file make its content and length durable, but not its name.
//   - fsync of a directory makes durable which names it contains.
//   - Without fsync, each change may or may not be on disk, regardless of their order. A write
//     may be there in part, and of an extended file, only the length may be there, with zeros.
//   - A rename within a file system is on disk as a whole or not at all, and not before the
//     file's old name is on disk. If loose is set, the file may have both names after a
//     rename, but never none.
type disk struct {
	root  *inode
	path  string // of the root
	loose bool

	fds  map[int]*openFile
	ops  []*change // not yet folded into the durable state of the inodes
	last int       // number of the newest inode
}

// inode is a file or directory. names and data are what the program sees.
type inode struct {
	id    int
	names map[string]*inode // nil: a file
	data  []byte
	// The durable state, as far as changes have been folded into it.
	safeNames map[string]*inode
	safeData  []byte
	sum       [sha256.Size]byte // of safeData, if summed
	summed    bool
}

func (in *inode) safeSum() [sha256.Size]byte {
	if !in.summed {
		in.sum, in.summed = sha256.Sum256(in.safeData), true
	}
	return in.sum
}

// change is a change that may or may not be on disk.
type change struct {
	on      *inode
	durable bool

	// In a directory: a name that was added (target) or removed (nil).
	name   string
	target *inode
	first  *change // in the second half of a rename: the first half
	second *change // in the first half of a rename: the second half
	needs  *change // in a rename: the change that gave the file its old name

	// In a file: bytes written at an offset, or a new length.
	write  []byte
	offset int
	cut    bool // to the length offset
}

func (c *change) ofFile() bool { return c.on.names == nil }

// openFile is the file or directory of a descriptor.
type openFile struct {
	ino      *inode
	pos      int
	appended bool
}

// newDisk loads a directory, whose contents count as durable.
func newDisk(path string, loose bool) (*disk, error) {
	d := &disk{path: path, loose: loose, fds: map[int]*openFile{}}
	var load func(string) (*inode, error)
	load = func(path string) (*inode, error) {
		entries, err := os.ReadDir(path)
		if err != nil {
			return nil, err
		}
		dir := d.newInode(true)
		for _, e := range entries {
			var in *inode
			switch {
			case e.IsDir():
				in, err = load(filepath.Join(path, e.Name()))
			case e.Type().IsRegular():
				in = d.newInode(false)
				in.data, err = os.ReadFile(filepath.Join(path, e.Name()))
				in.safeData = in.data
			default:
				continue
			}
			if err != nil {
				return nil, err
			}
			dir.names[e.Name()], dir.safeNames[e.Name()] = in, in
		}
		return dir, nil
	}
	var err error
	d.root, err = load(path)
	return d, err
}

func (d *disk) newInode(dir bool) *inode {
	d.last++
	in := &inode{id: d.last}
	if dir {
		in.names, in.safeNames = map[string]*inode{}, map[string]*inode{}
	}
	return in
}

// errForeign means that a path is not on the disk.
var errForeign = errors.New("not on this disk")

// at returns the directory and the name that a path refers to.
func (d *disk) at(c call, dirArg, pathArg int) (*inode, string, error) {
	path, err := c.text(pathArg)
	if err != nil {
		return nil, "", err
	}
	from := d.root
	switch {
	case strings.HasPrefix(path, "/proc/self/fd/"):
		return nil, path, nil
	case strings.HasPrefix(path, "/"):
		rel, ok := strings.CutPrefix(path, d.path)
		if !ok || rel != "" && rel[0] != '/' {
			return nil, "", errForeign
		}
		path = strings.Trim(rel, "/")
	case c.args[dirArg] == "AT_FDCWD":
		// The program was started in the root of the disk.
	default:
		fd, _ := c.number(dirArg)
		f := d.fds[fd]
		if f == nil {
			return nil, "", errForeign
		}
		from = f.ino
	}
	if path == "" {
		path = "."
	}
	parts := strings.Split(path, "/")
	for _, part := range parts[:len(parts)-1] {
		if from = from.names[part]; from == nil || from.names == nil {
			return nil, "", fmt.Errorf("%w: %s", fs.ErrNotExist, path)
		}
	}
	return from, parts[len(parts)-1], nil
}

func (d *disk) note(c *change) *change {
	d.ops = append(d.ops, c)
	if c.ofFile() {
		c.on.data = c.applyData(c.on.data)
	} else {
		setName(c.on.names, c.name, c.target)
	}
	return c
}

func setName(names map[string]*inode, name string, target *inode) {
	if target == nil {
		delete(names, name)
	} else {
		names[name] = target
	}
}

// applyData returns the content of a file after the change.
func (c *change) applyData(data []byte) []byte {
	end := c.offset
	if !c.cut {
		end += len(c.write)
	}
	n := max(len(data), end)
	if c.cut {
		n = end
	}
	out := make([]byte, n)
	copy(out, data)
	copy(out[min(c.offset, n):], c.write)
	return out
}

// sync marks changes of an inode as durable. Only those made before the call began are
// guaranteed to be: the first upTo of all changes.
func (d *disk) sync(in *inode, upTo int) {
	for _, c := range d.ops[:min(upTo, len(d.ops))] {
		if c.on != in {
			continue
		}
		c.durable = true
		// A rename is a single change, and is durable with the new name.
		if c.second != nil && !d.loose {
			c.second.durable = true
		}
	}
}

// fold moves durable changes into the safe state of their inode, up to the first one
// that is not durable.
func (d *disk) fold() {
	waits := map[*inode]bool{}
	kept := d.ops[:0]
	for _, c := range d.ops {
		if !c.durable || waits[c.on] {
			waits[c.on] = true
			kept = append(kept, c)
			continue
		}
		if c.ofFile() {
			c.on.safeData, c.on.summed = c.applyData(c.on.safeData), false
		} else {
			setName(c.on.safeNames, c.name, c.target)
		}
	}
	clear(d.ops[len(kept):])
	d.ops = kept
}
