// Command summary reads the events of `go test -json` from standard input and prints a
// line a package as it ends, the full output of what failed, the reason of
// every skip, totals, and what each failed test said once more, in short. Its
// exit status is that of the tests.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"
)

// event is what cmd/test2json documents.
type event struct {
	Action     string
	Package    string
	ImportPath string
	Test       string
	Output     string
	Elapsed    float64 // seconds
}

// key is a test, or with test "" its package.
type key struct{ pkg, test string }

// report is what the events told so far.
type report struct {
	w                       io.Writer
	output                  map[key][]string
	passed, failed, skipped int
	packages, bad           int
	digests                 []string
}

func main() {
	start := time.Now()
	r := &report{w: os.Stdout, output: map[key][]string{}}
	if err := r.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "summary:", err)
		os.Exit(1)
	}
	fmt.Printf("\n%d packages, %d tests passed, %d failed, %d skipped, %s\n",
		r.packages, r.passed, r.failed, r.skipped, time.Since(start).Round(time.Second))
	for _, d := range r.digests {
		fmt.Print(d)
	}
	if r.bad > 0 || r.failed > 0 || r.packages == 0 {
		fmt.Println("FAIL")
		os.Exit(1)
	}
	fmt.Println("PASS")
}

func (r *report) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil {
				fmt.Fprint(r.w, string(line)) // the go command itself speaks
			} else {
				r.event(e)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *report) event(e event) {
	k := key{e.Package, e.Test}
	switch e.Action {
	case "output":
		r.output[k] = append(r.output[k], e.Output)
	case "build-output":
		fmt.Fprint(r.w, e.Output)
	case "build-fail":
		r.bad++
	case "pass", "fail", "skip":
		if e.Test == "" {
			r.endPackage(e, k)
		} else {
			r.endTest(e, k)
		}
		delete(r.output, k)
	}
}

func (r *report) endTest(e event, k key) {
	switch e.Action {
	case "pass":
		r.passed++
	case "fail":
		r.failed++
		fmt.Fprint(r.w, strings.Join(r.output[k], ""))
		r.digests = append(r.digests, digest(k, r.output[k]))
	case "skip":
		r.skipped++
		fmt.Fprintf(r.w, "skip  %s %s%s", e.Package, e.Test, reason(r.output[k]))
	}
}

func (r *report) endPackage(e event, k key) {
	switch e.Action {
	case "pass":
		r.packages++
		fmt.Fprintf(r.w, "ok    %7.1fs  %s\n", e.Elapsed, e.Package)
	case "fail":
		r.packages++
		r.bad++
		r.unfinished(e.Package)
		fmt.Fprint(r.w, strings.Join(r.output[k], ""))
		fmt.Fprintf(r.w, "FAIL  %7.1fs  %s\n", e.Elapsed, e.Package)
	}
}

// unfinished prints what tests wrote that never ended: a panic or a time-out
// is in the output of the test that was running.
func (r *report) unfinished(pkg string) {
	for k, lines := range r.output {
		if k.pkg == pkg && k.test != "" {
			fmt.Fprint(r.w, strings.Join(lines, ""))
			r.digests = append(r.digests, digest(k, lines))
			delete(r.output, k)
		}
	}
}

// reason is the last line that a skipped test wrote before its own verdict.
func reason(lines []string) string {
	for i := len(lines) - 1; i >= 0; i-- {
		if line := strings.TrimSpace(lines[i]); line != "" && !strings.HasPrefix(line, "---") && !strings.HasPrefix(line, "===") {
			return ": " + line + "\n"
		}
	}
	return "\n"
}

// What digest keeps of a failed test: a log of a server that a test shows may
// have thousands of lines, and who sees only the end of the output wants the reason.
const (
	digestMessages = 12
	digestLines    = 3   // of a message
	digestWidth    = 300 // octets of a line
)

// says is how the testing package begins a message of a test, and the runtime
// its own.
var says = regexp.MustCompile(`^( {4,}\S+\.go:\d+: |panic: |WARNING: DATA RACE)`)

// digest gives the beginnings of what a failed test said.
func digest(k key, output []string) string {
	var messages [][]string
	for _, line := range output {
		line = strings.TrimRight(line, "\n")
		switch {
		case says.MatchString(line):
			messages = append(messages, nil)
		case len(messages) == 0 || !strings.HasPrefix(line, "        ") || len(messages[len(messages)-1]) == digestLines:
			continue
		}
		last := &messages[len(messages)-1]
		*last = append(*last, line[:min(len(line), digestWidth)])
	}
	var d strings.Builder
	fmt.Fprintf(&d, "failed  %s %s\n", k.pkg, k.test)
	for _, m := range messages[:min(len(messages), digestMessages)] {
		fmt.Fprintln(&d, strings.Join(m, "\n"))
	}
	return d.String()
}
