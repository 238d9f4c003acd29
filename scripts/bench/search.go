package main

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"maildird/scripts/mailgen"
)

var searchFlags = search("UNSEEN", 0.7, func(*bench) string { return "UNSEEN" })
var searchSince = search("SINCE", 0.7, func(b *bench) string {
	return "SINCE " + mailgen.Date(b.opt.n/2).Format("2-Jan-2006")
})
var searchSubject = search("SUBJECT", 0.7, func(*bench) string { return `SUBJECT "team release"` })
var searchText = search("TEXT", 0.3, func(*bench) string { return `TEXT "hotel team release version"` })

// search is a workload that searches a folder that is new to the server, twice.
func search(name string, target float64, key func(*bench) string) *workload {
	return &workload{
		name: "search " + name,
		rows: []row{
			{name: "SEARCH " + name + ", first", unit: millis, target: target},
			{name: "SEARCH " + name + ", second", unit: millis, target: target},
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
			a := new(answer)
			for range 2 {
				ms, data, err := c.timed("UID SEARCH %s", key(b))
				if err != nil {
					return nil, nil, err
				}
				values = append(values, ms)
				if again := found(data); len(a.lines) == 0 {
					a = again
				} else if d := a.difference(again); d != "" {
					return nil, nil, fmt.Errorf("a second SEARCH says otherwise: %s", d)
				}
			}
			return values, a, nil
		},
	}
}

// found is the numbers of a SEARCH response in order, one a line.
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
