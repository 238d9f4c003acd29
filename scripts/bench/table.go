package main

import (
	"fmt"
	"io"
	"strings"
)

// bareName stands for the machine itself in the results.
const bareName = "machine"

// heads are the headings of the table.
var heads = [...]string{"", oursName, "rival", "ratio", "target", "fsyncs"}

// legend explains the table.
const legend = `rival   Dovecot, but where a row names Postfix
ratio   maildird divided by the rival: of times and memory less than 1 is better, of rates (/s, MB/s) more
target  what the ratio, or maildird's own figure, is to be
fsyncs  calls that wait for the disk, for one operation: maildird / rival`

// line returns the cells of a result: medians and, with a rival, their ratio; and the number of
// fsyncs of an operation for both.
func (b *bench) line(r *result) [len(heads)]string {
	cells := [len(heads)]string{r.row.name}
	if r.workload.bare {
		cells[1] = figure(r.values[bareName], r.row.unit)
		return cells
	}
	ours, theirs := b.pair(r)
	cells[1], cells[2] = figure(ours, r.row.unit), figure(theirs, r.row.unit)
	if r.late && len(theirs) == 0 && r.row.unit == millis {
		cells[2] = "no answer"
	}
	if len(ours) > 0 && len(theirs) > 0 && median(theirs) > 0 && r.row.unit != percent && r.row.unit != timesBare {
		cells[3] = fmt.Sprintf("%.2fx", median(ours)/median(theirs))
	}
	cells[4], cells[5] = r.row.goal(), b.syncs(r.row.operation)
	if r.row.missed(ours, theirs) {
		cells[4] += " missed"
	}
	return cells
}

// print writes the table for a terminal.
func (b *bench) print(w io.Writer) {
	show := func(c [len(heads)]string) {
		text := fmt.Sprintf("%-66s %12s %12s %9s  %-19s %s", c[0], c[1], c[2], c[3], c[4], c[5])
		fmt.Fprintln(w, strings.TrimRight(text, " "))
	}
	show(heads)
	for _, r := range b.results {
		show(b.line(r))
	}
}

// printMarkdown writes the table in Markdown.
func (b *bench) printMarkdown(w io.Writer) {
	show := func(c [len(heads)]string) {
		fmt.Fprintf(w, "| %s |\n", strings.Join(c[:], " | "))
	}
	show(heads)
	fmt.Fprintln(w, "|---|---:|---:|---:|---|---|")
	for _, r := range b.results {
		cells := b.line(r)
		cells[4] = strings.NewReplacer("<=", "≤", ">=", "≥").Replace(cells[4])
		show(cells)
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

// missed reports whether a row misses its target.
func (r row) missed(ours, theirs []float64) bool {
	short := func(v, bound float64) bool {
		return bound > 0 && (r.unit.rate && v < bound || !r.unit.rate && v > bound)
	}
	if len(ours) == 0 {
		return false
	}
	return short(median(ours), r.limit) || len(theirs) > 0 && median(theirs) > 0 && short(median(ours)/median(theirs), r.target)
}
