package main

import (
	"bytes"
)

var sortDate = order("SORT (DATE)")
var sortSubject = order("SORT (SUBJECT)")
var sortFrom = order("SORT (FROM)")
var threadReferences = order("THREAD REFERENCES")

// order returns a workload that requests all messages in a server-side order.
func order(command string) *workload {
	return askedTwice(command, 1, func(*bench) string { return command + " UTF-8 ALL" }, ordered)
}

// ordered returns the content of a SORT or THREAD response in order, with one message
// or thread per line.
func ordered(data []byte) *answer {
	a := new(answer)
	for line := range bytes.Lines(data) {
		line = bytes.TrimSpace(line)
		if numbers, ok := bytes.CutPrefix(line, []byte("* SORT")); ok {
			for _, n := range bytes.Fields(numbers) {
				a.lines = append(a.lines, string(n))
			}
		} else if threads, ok := bytes.CutPrefix(line, []byte("* THREAD ")); ok {
			depth, from := 0, 0
			for i, c := range threads {
				switch c {
				case '(':
					depth++
				case ')':
					if depth--; depth == 0 {
						a.lines = append(a.lines, string(threads[from:i+1]))
						from = i + 1
					}
				}
			}
		}
	}
	return a
}
