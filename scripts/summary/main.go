// Command summary reads the events of "go test -json" from standard input. It prints one line
// for each package when it ends, the full output of each failure, the reason for each skip, the
// totals, and finally a digest of each failed test. Its exit status is that of the tests.
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

// event is an event as documented by cmd/test2json.
type event struct {
	Action     string
	Package    string
	ImportPath string
	Test       string
	Output     string
	Elapsed    float64 // seconds
}

// key identifies a test, or a package if test is "".
type key struct{ pkg, test string }

// report is the state after the events so far.
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
				fmt.Fprint(r.w, string(line)) // output of the go command itself
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

// unfinished prints the output of tests that never ended: a panic or a timeout is in the output
// of the test that was running.
func (r *report) unfinished(pkg string) {
	for k, lines := range r.output {
		if k.pkg == pkg && k.test != "" {
			fmt.Fprint(r.w, strings.Join(lines, ""))
			r.digests = append(r.digests, digest(k, lines))
			delete(r.output, k)
		}
	}
}

// reason returns the last line that a skipped test wrote before its verdict.
func reason(lines []string) string {
	for i := len(lines) - 1; i >= 0; i-- {
		if line := strings.TrimSpace(lines[i]); line != "" && !strings.HasPrefix(line, "---") && !strings.HasPrefix(line, "===") {
			return ": " + line + "\n"
		}
	}
	return "\n"
}

// What digest keeps of a failed test. A test may print a server log of thousands of lines, and
// a reader who sees only the end of the output needs the reason.
const (
	digestMessages = 12
	digestLines    = 3   // of each message
	digestWidth    = 300 // bytes of each line
)

// says matches the beginning of a message from the testing package or the runtime.
var says = regexp.MustCompile(`^( {4,}\S+\.go:\d+: |panic: |WARNING: DATA RACE)`)

// digest returns the beginning of each message of a failed test.
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
