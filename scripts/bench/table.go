package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// bareName stands for the machine itself in the results.
const bareName = "machine"

// print writes the table: medians and, with a rival, what ours is of its.
func (b *bench) print(w io.Writer) {
	fmt.Fprintf(w, "%-70s %14s %14s %9s  %s\n", "", b.servers[0].name, "rival", "ratio", "target")
	for _, r := range b.results {
		if r.workload.bare {
			fmt.Fprintf(w, "%-70s %14s\n", r.row.name, figure(r.values[bareName], r.row.unit))
			continue
		}
		ours, theirs := b.pair(r)
		line := fmt.Sprintf("%-70s %14s %14s", r.row.name, figure(ours, r.row.unit), figure(theirs, r.row.unit))
		if len(ours) > 0 && len(theirs) > 0 && median(theirs) > 0 {
			line += fmt.Sprintf(" %8.2fx", median(ours)/median(theirs))
		} else {
			line += strings.Repeat(" ", 10)
		}
		fmt.Fprintln(w, strings.TrimRight(line+"  "+r.row.goal(), " "))
	}
}

func figure(values []float64, u unit) string {
	if len(values) == 0 {
		return "-"
	}
	v := median(values)
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f %s", v, u.name)
	case v >= 10:
		return fmt.Sprintf("%.1f %s", v, u.name)
	}
	return fmt.Sprintf("%.2f %s", v, u.name)
}

// goal renders the target of a row.
func (r row) goal() string {
	sign := "<="
	if r.unit.rate {
		sign = ">="
	}
	var parts []string
	if r.target > 0 {
		parts = append(parts, fmt.Sprintf("%s %gx", sign, r.target))
	}
	if r.limit > 0 {
		parts = append(parts, fmt.Sprintf("%s %g %s", sign, r.limit, r.unit.name))
	}
	return strings.Join(parts, ", ")
}

// kernel names the running kernel.
func kernel() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "unknown kernel"
	}
	return "Linux " + unix.ByteSliceToString(u.Release[:])
}

// filesystem names the type of the file system that holds path.
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
