package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ticksPerSecond is the unit of the times in /proc/PID/stat, USER_HZ, which is 100 on every
// architecture that Go supports.
const ticksPerSecond = 100

// procStat is the content of /proc/PID/stat.
type procStat struct {
	pid, parent int
	// ticks is the user and system time of the process and of its children that have ended.
	ticks int64
}

// parseStat parses a line of /proc/PID/stat. The name in parentheses may contain anything.
func parseStat(line string) (procStat, error) {
	head, _, _ := strings.Cut(line, " ")
	pid, err := strconv.Atoi(head)
	end := strings.LastIndexByte(line, ')')
	if err != nil || end < 0 {
		return procStat{}, fmt.Errorf("a /proc/PID/stat that cannot be read: %.80q", line)
	}
	fields := strings.Fields(line[end+1:]) // from field 3 on, see proc(5)
	if len(fields) < 15 {
		return procStat{}, fmt.Errorf("a /proc/PID/stat that is too short: %.80q", line)
	}
	st := procStat{pid: pid}
	if st.parent, err = strconv.Atoi(fields[1]); err != nil {
		return procStat{}, err
	}
	for _, f := range fields[11:15] { // utime, stime, cutime, cstime
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return procStat{}, err
		}
		st.ticks += n
	}
	return st, nil
}

// processTree returns the process root and all its descendants.
func processTree(root int) ([]procStat, error) {
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	byPID, children := map[int]procStat{}, map[int][]int{}
	for _, path := range paths {
		line, err := os.ReadFile(path)
		if gone(err) {
			continue
		} else if err != nil {
			return nil, err
		}
		st, err := parseStat(string(line))
		if err != nil {
			return nil, err
		}
		byPID[st.pid] = st
		children[st.parent] = append(children[st.parent], st.pid)
	}
	if _, ok := byPID[root]; !ok {
		return nil, fmt.Errorf("process %d has ended", root)
	}
	var tree []procStat
	for todo := []int{root}; len(todo) > 0; todo = todo[1:] {
		tree = append(tree, byPID[todo[0]])
		todo = append(todo, children[todo[0]]...)
	}
	return tree, nil
}

// gone reports whether the error of a file in /proc means that the process has ended.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH)
}

// processorTime returns the processor time used by the processes of a server, including
// those that have ended.
func (s *server) processorTime() (time.Duration, error) {
	var ticks int64
	for _, root := range s.processes() {
		tree, err := processTree(root)
		if err != nil {
			return 0, err
		}
		for _, p := range tree {
			ticks += p.ticks
		}
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond, nil
}

// ownTime returns the processor time used by this process.
func ownTime() time.Duration {
	var used unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &used) != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// proportionalSize returns the memory of a server's processes in bytes, with shared pages
// divided among the processes that share them (PSS).
func (s *server) proportionalSize() (int64, error) {
	var total int64
	for _, root := range s.processes() {
		tree, err := processTree(root)
		if err != nil {
			return 0, err
		}
		for _, p := range tree {
			data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p.pid))
			if gone(err) {
				continue
			} else if err != nil {
				return 0, err
			}
			n, err := parsePSS(data)
			if err != nil {
				return 0, fmt.Errorf("process %d: %w", p.pid, err)
			}
			total += n
		}
	}
	return total, nil
}

func parsePSS(rollup []byte) (int64, error) {
	for lines := bufio.NewScanner(bytes.NewReader(rollup)); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "Pss:"); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 10, 64)
			return n << 10, err
		}
	}
	return 0, errors.New("no Pss in smaps_rollup")
}
