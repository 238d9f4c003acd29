package main

import (
	"bytes"
	"context"
	"fmt"
)

var sortDate = order("SORT (DATE)")
var sortSubject = order("SORT (SUBJECT)")
var sortFrom = order("SORT (FROM)")
var threadReferences = order("THREAD REFERENCES")

// order is a workload that asks for all messages of a folder that is new to the
// server in an order of the server's, twice.
func order(command string) *workload {
	return &workload{
		name: "order " + command,
		rows: []row{
			{name: command + ", first", unit: millis, target: 1},
			{name: command + ", second", unit: millis, target: 1},
		},
		run: func(_ context.Context, b *bench, s *server) ([]float64, *answer, error) {
			c, folder, _, err := b.fresh(s)
			if err != nil {
				return nil, nil, err
			}
			defer c.close()
			if _, err := c.do("SELECT %s", folder); err != nil {
				return nil, nil, err
			}
			var values []float64
			var a *answer
			for range 2 {
				ms, data, err := c.timed("UID %s UTF-8 ALL", command)
				if err != nil {
					return nil, nil, err
				}
				values = append(values, ms)
				again := ordered(data)
				if d := a.difference(again); d != "" {
					return nil, nil, fmt.Errorf("a second %s says otherwise: %s", command, d)
				}
				a = again
			}
			return values, a, nil
		},
	}
}

// ordered is what a SORT or THREAD response has, in its order: a message or a
// whole thread a line.
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
