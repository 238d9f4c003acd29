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

// life is what can be known of a lock's holder.
type life uint8

const (
	unknown  life = iota // of another host, or the file does not say
	alive                // a process of this host
	dead                 // a process of this host that does not exist
	replaced             // its number belongs to a process that began after the lock's last change
)

// holder is who a lock file says holds it.
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

// maxContent bounds what is read of a lock file, in bytes; Dovecot reads as much.
const maxContent = 512

// holder reads the lock file f, which st describes; nil if it cannot be read.
func (l *Locker) holder(f *os.File, st dirfd.Stat) holder {
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

// ownLife judges a lock with the number of this process. One that is not in
// the books and younger than the process may be held by a process with the
// same number and host name in another container: it stays unknown.
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

// parseHolder reads "<pid>:<host>", with or without a line end.
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

// startSlack is how much a process's start, which the kernel counts from boot
// in hundredths of a second, may seem later than it was.
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

// bootTime is when the machine was started, by the clock as it is now, or before
// that, never after it: the clock is read first, so that who is held up between
// the two readings does not find a process younger than a lock, nor a lock older
// than the machine's start, that are not.
func bootTime() time.Time {
	now := time.Now()
	var up unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &up) != nil {
		return time.Time{}
	}
	return now.Add(-time.Duration(up.Nano()))
}

// userHZ is the unit of times in /proc, the same on every architecture that Go
// runs Linux on.
const userHZ = 100

// startTicks finds field 22 of /proc/<pid>/stat (proc_pid_stat(5)). The second
// field is the program's name in parentheses and may hold anything.
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
