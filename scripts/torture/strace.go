package torture

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// straceCalls are the system calls by which a program can change a file system, and those that
// determine the meaning of their descriptors. "?" marks those that do not exist on every
// architecture.
const straceCalls = "?open,openat,?creat,close,dup,?dup2,dup3,fcntl,?fcntl64,write,pwrite64,writev,pwritev,pwritev2," +
	"ftruncate,?ftruncate64,truncate,?truncate64,fallocate,fsync,fdatasync,sync,syncfs,?sync_file_range,msync," +
	"?rename,?renameat,renameat2,?link,linkat,?symlink,symlinkat,?unlink,unlinkat,?rmdir," +
	"?mkdir,mkdirat,?mknod,mknodat,utimensat,copy_file_range,sendfile,splice,sendto,sendmsg"

// call is a system call in a trace. It appears twice: when it begins and when it has ended,
// because others may see its effect at any moment in between.
type call struct {
	thread string
	name   string
	args   []string
	begun  bool // false: it has ended, with result
	// result is the result of a call that has ended, -1 for an error.
	result int
}

var (
	straceLine    = regexp.MustCompile(`^([0-9]+) +(.*)$`)
	straceResumed = regexp.MustCompile(`^<\.\.\. ([a-z0-9_]+) resumed>(.*)$`)
	straceResult  = regexp.MustCompile(`^(.*)\) += (-?[0-9]+|\?|0x[0-9a-f]+).*$`)
)

// readTrace parses the output of "strace -f -xx" and passes the beginnings and ends of calls to
// f, in their order.
func readTrace(r io.Reader, f func(call) error) error {
	begun := map[string]string{} // by thread: the text of a call that has not ended
	lines := bufio.NewReaderSize(r, 1<<20)
	for {
		line, err := lines.ReadString('\n')
		if errors.Is(err, io.EOF) {
			if len(begun) > 0 && line != "" {
				return errors.New("the trace ends in the middle of a line")
			}
			return nil
		}
		if err != nil {
			return err
		}
		m := straceLine.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if m == nil {
			return fmt.Errorf("line of strace not understood: %.200q", line)
		}
		if err := readTraceLine(m[1], m[2], begun, f); err != nil {
			return fmt.Errorf("%w in %.300q", err, line)
		}
	}
}

func readTraceLine(thread, text string, begun map[string]string, f func(call) error) error {
	if strings.HasPrefix(text, "---") || strings.HasPrefix(text, "+++") {
		return nil // a signal, or the end of a thread
	}
	if head, ok := strings.CutSuffix(text, " <unfinished ...>"); ok {
		begun[thread] = head
		c, err := parseCall(head)
		if err != nil {
			return err
		}
		c.thread = thread
		return f(c)
	}
	both := true
	if m := straceResumed.FindStringSubmatch(text); m != nil {
		text, both = begun[thread]+m[2], false
		delete(begun, thread)
	}
	m := straceResult.FindStringSubmatch(text)
	if m == nil {
		return errors.New("no result")
	}
	c, err := parseCall(m[1])
	if err != nil {
		return err
	}
	c.thread = thread
	if both {
		if err := f(c); err != nil {
			return err
		}
	}
	c.begun = false
	if c.result, err = strconv.Atoi(m[2]); err != nil {
		c.result = -1
	}
	return f(c)
}

// parseCall parses "name(arg, arg", up to where it was written.
func parseCall(text string) (call, error) {
	name, rest, ok := strings.Cut(text, "(")
	if !ok {
		return call{}, errors.New("no call")
	}
	switch name { // the names on 32-bit machines
	case "fcntl64", "ftruncate64", "truncate64":
		name = strings.TrimSuffix(name, "64")
	}
	c := call{name: name, begun: true}
	depth, quoted, start := 0, false, 0
	for i := range len(rest) {
		switch b := rest[i]; {
		case b == '"':
			quoted = !quoted // -xx leaves no quote inside a string
		case quoted:
		case b == '[' || b == '{' || b == '(':
			depth++
		case b == ']' || b == '}' || b == ')':
			depth--
		case b == ',' && depth == 0:
			c.args = append(c.args, strings.TrimSpace(rest[start:i]))
			start = i + 1
		}
	}
	if last := strings.TrimSpace(rest[start:]); last != "" {
		c.args = append(c.args, last)
	}
	return c, nil
}

// text parses argument n as a string.
func (c call) text(n int) (string, error) {
	if n >= len(c.args) {
		return "", errors.New("argument is missing")
	}
	quoted, ok := strings.CutPrefix(c.args[n], `"`)
	if !ok || !strings.HasSuffix(quoted, `"`) {
		return "", errors.New("no whole string")
	}
	b, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSuffix(quoted, `"`), `\x`, ""))
	return string(b), err
}

// number parses argument n as a number; ok is false for a symbol.
func (c call) number(n int) (int, bool) {
	if n >= len(c.args) {
		return 0, false
	}
	v, err := strconv.ParseInt(c.args[n], 0, 64)
	return int(v), err == nil
}
