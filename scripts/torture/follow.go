package torture

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// follower applies the calls of a trace to a disk.
type follower struct {
	*disk
	syncs map[string]int // number of changes that a pending fsync covers, by thread
	// said is called with data that is written to something other than a file of the disk, such
	// as a connection, before anyone can have read it.
	said func(fd int, text string)
}

// take follows a call, and reports whether it changed what a power cut may leave.
func (f *follower) take(c call) (changed bool, err error) {
	switch c.name {
	case "close":
		if c.begun { // the number is free before the call has ended
			fd, _ := c.number(0)
			delete(f.fds, fd)
		}
		return false, nil
	case "fsync", "fdatasync":
		return f.takeSync(c)
	case "write", "writev", "sendto", "sendmsg":
		fd, _ := c.number(0)
		if f.fds[fd] == nil {
			if c.begun && (c.name == "write" || c.name == "sendto") {
				text, err := c.text(1)
				if err == nil {
					f.said(fd, text)
				}
			}
			return false, nil
		}
	}
	if c.begun || c.result < 0 {
		return false, nil
	}
	changed, err = f.done(c)
	if errors.Is(err, errForeign) {
		return false, nil
	}
	return changed, err
}

func (f *follower) takeSync(c call) (bool, error) {
	fd, _ := c.number(0)
	file := f.fds[fd]
	switch {
	case file == nil:
		delete(f.syncs, c.thread)
		return false, nil
	case c.begun:
		f.syncs[c.thread] = len(f.ops)
		return false, nil
	case c.result != 0:
		delete(f.syncs, c.thread)
		return false, nil
	}
	// Nothing is folded between beginning and end: see states.
	f.sync(file.ino, f.syncs[c.thread])
	delete(f.syncs, c.thread)
	return true, nil
}

// done follows a call that succeeded.
func (f *follower) done(c call) (bool, error) {
	switch c.name {
	case "openat":
		return f.opened(c)
	case "fcntl":
		if fd, _ := c.number(0); strings.HasPrefix(c.args[1], "F_DUPFD") && f.fds[fd] != nil {
			f.fds[c.result] = &openFile{ino: f.fds[fd].ino}
		}
		return false, nil
	case "write":
		fd, _ := c.number(0)
		return f.wrote(c, f.fds[fd])
	case "pwrite64":
		fd, _ := c.number(0)
		if at, ok := c.number(3); ok && f.fds[fd] != nil {
			return f.wrote(c, &openFile{ino: f.fds[fd].ino, pos: at})
		}
		return false, nil
	case "ftruncate":
		fd, _ := c.number(0)
		size, _ := c.number(1)
		if f.fds[fd] == nil {
			return false, nil
		}
		f.note(&change{on: f.fds[fd].ino, cut: true, offset: size})
		return true, nil
	case "renameat", "renameat2":
		return f.renamed(c)
	case "linkat":
		return f.linked(c)
	case "unlinkat":
		dir, name, err := f.at(c, 0, 1)
		if err == nil {
			f.note(&change{on: dir, name: name})
		}
		return true, err
	case "mkdirat":
		dir, name, err := f.at(c, 0, 1)
		if err == nil {
			f.note(&change{on: dir, name: name, target: f.newInode(true)})
		}
		return true, err
	case "utimensat", "sendto", "sendmsg":
		return false, nil
	case "open", "creat", "dup", "dup2", "dup3":
		return false, nil // Go opens with openat; a descriptor that is not known is not written to silently: see below
	}
	return false, f.unknown(c)
}

// unknown handles calls that the model does not follow. It returns an error if the call might
// change a known file.
func (f *follower) unknown(c call) error {
	for i := range c.args {
		if fd, ok := c.number(i); ok && i < 3 && f.fds[fd] != nil && f.fds[fd].ino.names == nil {
			return fmt.Errorf("the model does not follow %s", c.name)
		}
	}
	for i := range c.args {
		if path, err := c.text(i); err == nil && strings.HasPrefix(path, f.path) {
			return fmt.Errorf("the model does not follow %s", c.name)
		}
	}
	return nil
}

func (f *follower) opened(c call) (bool, error) {
	dir, name, err := f.at(c, 0, 1)
	delete(f.fds, c.result)
	if err != nil {
		return false, err
	}
	if dir == nil { // through /proc
		return false, nil
	}
	flags := c.args[2]
	changed := false
	var in *inode
	switch {
	case strings.Contains(flags, "O_TMPFILE"):
		in = f.newInode(false)
	case name == ".":
		in = dir
	default:
		in = dir.names[name]
	}
	if in == nil && strings.Contains(flags, "O_CREAT") {
		in = f.newInode(false)
		f.note(&change{on: dir, name: name, target: in})
		changed = true
	}
	if in == nil {
		return false, nil // a socket or the like, which existed before
	}
	if strings.Contains(flags, "O_TRUNC") {
		f.note(&change{on: in, cut: true})
		changed = true
	}
	f.fds[c.result] = &openFile{ino: in, appended: strings.Contains(flags, "O_APPEND")}
	return changed, nil
}

func (f *follower) wrote(c call, file *openFile) (bool, error) {
	text, err := c.text(1)
	if err != nil {
		return false, err
	}
	if c.result > len(text) {
		return false, errors.New("strace has cut off what was written")
	}
	text = text[:c.result]
	if file.appended {
		file.pos = len(file.ino.data)
	}
	f.note(&change{on: file.ino, offset: file.pos, write: []byte(text)})
	file.pos += len(text)
	return true, nil
}

func (f *follower) renamed(c call) (bool, error) {
	from, name, err := f.at(c, 0, 1)
	if err != nil {
		return false, err
	}
	to, newName, err := f.at(c, 2, 3)
	if err != nil {
		return false, err
	}
	in := from.names[name]
	if in == nil {
		return false, fmt.Errorf("renamed what is not there: %w", fs.ErrNotExist)
	}
	if from == to && name == newName {
		return false, nil
	}
	var needs *change
	for _, c := range f.ops {
		if c.on == from && c.name == name && c.target == in && !f.loose {
			needs = c
		}
	}
	first := f.note(&change{on: to, name: newName, target: in})
	second := f.note(&change{on: from, name: name, first: first})
	first.second, first.needs = second, needs
	return true, nil
}

func (f *follower) linked(c call) (bool, error) {
	from, name, err := f.at(c, 0, 1)
	if err != nil {
		return false, err
	}
	to, newName, err := f.at(c, 2, 3)
	if err != nil {
		return false, err
	}
	var in *inode
	if from == nil {
		fd, _ := strconv.Atoi(strings.TrimPrefix(name, "/proc/self/fd/"))
		if f.fds[fd] != nil {
			in = f.fds[fd].ino
		}
	} else {
		in = from.names[name]
	}
	if in == nil {
		return false, fmt.Errorf("linked what is not there: %w", fs.ErrNotExist)
	}
	f.note(&change{on: to, name: newName, target: in})
	return true, nil
}
