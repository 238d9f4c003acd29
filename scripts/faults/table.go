package faults

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

// line is a line of the table.
type line struct{ operation, answer string }

// section is the part of the table for a fault.
type section struct {
	fault string
	lines []line
}

// readTable reads the table: "fault NAME:" begins a section, an indented line is "OPERATION:
// ANSWER", and other lines are comments.
func readTable(path string) ([]section, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var table []section
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		text := lines.Text()
		if name, ok := strings.CutPrefix(text, "fault "); ok {
			table = append(table, section{fault: strings.TrimSuffix(name, ":")})
			continue
		}
		if !strings.HasPrefix(text, "  ") {
			continue
		}
		operation, answer, ok := strings.Cut(strings.TrimSpace(text), ": ")
		if !ok || len(table) == 0 {
			return nil, fmt.Errorf("%s: %q is not \"OPERATION: ANSWER\" below a fault", path, text)
		}
		last := &table[len(table)-1]
		last.lines = append(last.lines, line{strings.TrimSpace(operation), strings.TrimSpace(answer)})
	}
	return table, lines.Err()
}
