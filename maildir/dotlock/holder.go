package dotlock

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"maildird/maildir/dirfd"
)

// life is what is known about whether a lock's holder still exists.
type life uint8

const (
	unknown  life = iota // on another host, or the file does not say
	alive                // a process of this host
	dead                 // a process of this host that does not exist
	replaced             // its number belongs to a process that started after the lock's last change
)

// holder is the holder that a lock file names.
type holder struct {
	life life
	pid  int
	host string
}

func (h holder) String() string {
	switch {
	case h.pid == 0:
		return "an unknown program"
	case h.life == alive:
		return fmt.Sprintf("process %d of this host", h.pid)
	case h.life == unknown:
		return fmt.Sprintf("process %d of host %q", h.pid, h.host)
	}
	return fmt.Sprintf("process %d of this host, which no longer exists", h.pid)
}

// maxContent limits how many bytes of a lock file are read; Dovecot has the same limit.
const maxContent = 512

// holder determines the holder of the lock file f, which st describes; f is nil if it
// cannot be read.
func (l *Locker) holder(f *dirfd.File, st dirfd.Stat) holder {
	l.mu.Lock()
	held := l.own[st.ID()]
	l.mu.Unlock()
	if held { // it may be empty
		return holder{life: alive, pid: l.pid, host: l.host}
	}
	if f == nil || st.Size > maxContent {
		return holder{}
	}
	content := make([]byte, maxContent)
	n, err := f.ReadAt(content, 0)
	if err != nil && err != io.EOF {
		return holder{}
	}
	h, ok := parseHolder(content[:n])
	if !ok || h.host != l.host {
		return h
	}
	changed := st.Changed()
	if h.pid == l.pid {
		h.life = l.ownLife(st.ID(), changed)
		return h
	}
	p := l.find(h.pid)
	switch {
	case !p.exists:
		h.life = dead
	case !p.started.IsZero() && p.started.After(changed.Add(startSlack)):
		h.life = replaced
	default:
		h.life = alive
	}
	return h
}

// ownLife judges a lock with the number of this process. A lock that the Locker does not
// know and that is younger than the process may be held by a process with the same number
// and host name in another container: its holder is unknown.
func (l *Locker) ownLife(id dirfd.ID, changed time.Time) life {
	l.mu.Lock()
	held, ours := l.own[id]
	l.mu.Unlock()
	switch {
	case held:
		return alive
	case ours || changed.Before(l.start):
		return dead
	}
	return unknown
}

// parseHolder parses "<pid>:<host>", with or without a line end.
func parseHolder(content []byte) (holder, bool) {
	pid, host, ok := strings.Cut(string(bytes.TrimSuffix(content, []byte("\n"))), ":")
	if !ok {
		return holder{}, false
	}
	n, err := strconv.ParseInt(pid, 10, 32)
	if err != nil || n <= 0 {
		return holder{}, false
	}
	return holder{pid: int(n), host: host}, true
}

// process is what the system knows of a process number.
type process struct {
	exists  bool
	started time.Time // zero if it cannot be read
}

// startSlack is how much later than it was a process's start may seem, since the kernel
// counts it from boot in hundredths of a second.
const startSlack = 3 * time.Second

func findProcess(pid int) process {
	if err := unix.Kill(pid, 0); err == unix.ESRCH {
		return process{}
	}
	p := process{exists: true}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return p
	}
	ticks, ok := startTicks(stat)
	if boot := bootTime(); ok && !boot.IsZero() {
		p.started = boot.Add(time.Duration(ticks) * (time.Second / userHZ))
	}
	return p
}

// bootTime returns when the machine was started, according to the clock as it is now, or a
// moment before that, but never after it. The clock is read first, so that a delay between
// the two readings can neither make a process seem younger than a lock nor a lock older
// than the machine's start if they are not.
func bootTime() time.Time {
	now := time.Now()
	var up unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &up) != nil {
		return time.Time{}
	}
	return now.Add(-time.Duration(up.Nano()))
}

// userHZ is the unit of times in /proc, the same on every architecture on which Go supports
// Linux.
const userHZ = 100

// startTicks returns field 22 of /proc/<pid>/stat (proc_pid_stat(5)). The second field is
// the program's name in parentheses and may contain anything.
func startTicks(stat []byte) (int64, bool) {
	end := bytes.LastIndexByte(stat, ')')
	if end < 0 {
		return 0, false
	}
	fields := bytes.Fields(stat[end+1:])
	if len(fields) < 20 {
		return 0, false
	}
	n, err := strconv.ParseInt(string(fields[19]), 10, 64)
	return n, err == nil && n >= 0
}
