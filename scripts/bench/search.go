package main

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"maildird/scripts/mailgen"
)

var searchFlags = search("UNSEEN", 0.7, func(*bench) string { return "UNSEEN" })
var searchSince = search("SINCE", 0.7, func(b *bench) string {
	return "SINCE " + mailgen.Date(b.opt.n/2).Format("2-Jan-2006")
})
var searchSubject = search("SUBJECT", 0.7, func(*bench) string { return `SUBJECT "team release"` })
var searchText = search("TEXT", 0.3, func(*bench) string { return `TEXT "hotel team release version"` })

// search returns a workload that searches for key.
func search(name string, target float64, key func(*bench) string) *workload {
	return askedTwice("SEARCH "+name, target, func(b *bench) string { return "SEARCH " + key(b) }, found)
}

// askedTwice returns a workload that sends a UID command twice, in a folder that is new to the
// server. read extracts from the responses what servers must agree on.
func askedTwice(name string, target float64, command func(*bench) string, read func([]byte) *answer) *workload {
	return &workload{
		name: strings.ToLower(name),
		rows: []row{
			{name: name + ", first", unit: millis, target: target},
			{name: name + ", second", unit: millis, target: target},
		},
		run: func(_ context.Context, b *bench, s *server) ([]float64, *answer, error) {
			c, _, _, err := b.selected(s)
			if err != nil {
				return nil, nil, err
			}
			defer c.close()
			var values []float64
			var a *answer
			for range 2 {
				ms, data, err := c.timed("UID %s", command(b))
				if err != nil {
					return nil, nil, err
				}
				values = append(values, ms)
				again := read(data)
				if d := a.difference(again); d != "" {
					return nil, nil, fmt.Errorf("a second %s says otherwise: %s", name, d)
				}
				a = again
			}
			return values, a, nil
		},
	}
}

// found returns the sorted numbers of a SEARCH response, one per line.
func found(data []byte) *answer {
	a := new(answer)
	for line := range bytes.Lines(data) {
		if numbers, ok := bytes.CutPrefix(line, []byte("* SEARCH")); ok {
			for _, n := range bytes.Fields(numbers) {
				a.lines = append(a.lines, fmt.Sprintf("%10s", n))
			}
		}
	}
	slices.Sort(a.lines)
	return a
}
