package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"maildird/scripts/rig"
)

// size describes what was measured.
func (b *bench) size() string {
	return fmt.Sprintf("Mailboxes of %d messages, %.1f MB; medians of %d rounds.", b.opt.n, float64(b.octets)/1e6, b.opt.rounds)
}

// surroundings describes the machine, the versions of the programs, and the file system of dir.
func surroundings(dir string) string {
	parts := []string{fmt.Sprintf("%d CPUs (%s)", runtime.NumCPU(), processor())}
	if m := memory(); m > 0 {
		parts = append(parts, fmt.Sprintf("%.0f GiB", float64(m)/(1<<30)))
	}
	parts = append(parts, kernel(), filesystem(dir), runtime.Version())
	for _, rival := range []struct{ name, version string }{{"Dovecot", rig.DovecotVersion()}, {"Postfix", rig.PostfixVersion()}} {
		if rival.version == "" {
			parts = append(parts, "no "+rival.name)
		} else {
			parts = append(parts, rival.name+" "+rival.version)
		}
	}
	return "Machine: " + strings.Join(parts, ", ") + "."
}

// invocation returns the command that repeats this run.
func invocation() string {
	words := []string{"go run ./scripts/bench"}
	for _, arg := range os.Args[1:] {
		if strings.ContainsAny(arg, " |$^*?()[]\\'\"") {
			arg = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
		words = append(words, arg)
	}
	return strings.Join(words, " ")
}

// processor returns the model of the first processor.
func processor() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// memory returns the memory of the machine in bytes, 0 if unknown.
func memory() uint64 {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return 0
	}
	return uint64(info.Totalram) * uint64(info.Unit)
}

// kernel returns the version of the running kernel.
func kernel() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "unknown kernel"
	}
	return "Linux " + unix.ByteSliceToString(u.Release[:])
}

// filesystem returns the type of the file system that contains path.
func filesystem(path string) string {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return "unknown file system"
	}
	device := fmt.Sprintf("%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev))
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "unknown file system"
	}
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		if len(fields) > 2 && fields[2] == device {
			if _, after, ok := strings.Cut(line, " - "); ok {
				return strings.Fields(after)[0]
			}
		}
	}
	return "unknown file system"
}
