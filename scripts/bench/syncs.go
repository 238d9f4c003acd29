package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"maildird/scripts/mailgen"
)

// The operations whose system calls for durability are counted. The counts are shown in the
// rows that name them.
const (
	delivering = "a delivery by LMTP"
	appending  = "an APPEND"
	storing    = "a STORE on 1"
	storingAll = "a STORE on 1k"
	copying    = "a COPY of 1k"
	moving     = "a MOVE of 1k"
	expunging  = "an EXPUNGE of 1k"
)

// tracedTimes is how often a small operation is repeated while it is counted.
const tracedTimes = 10

// durable matches the beginning of a call that waits for the disk.
var durable = regexp.MustCompile(`(?m)^[0-9]+ +(?:fsync|fdatasync|syncfs|sync|sync_file_range|msync)\(`)

// calls are the system calls that strace traces.
const calls = "trace=fsync,fdatasync,syncfs,sync,sync_file_range,msync"

var countSyncs = &workload{
	name: "fsyncs",
	once: true,
	rows: []row{
		{name: "fsyncs of " + delivering, unit: calledTimes},
		{name: "fsyncs of " + appending, unit: calledTimes},
		{name: "fsyncs of " + storing, unit: calledTimes},
		{name: "fsyncs of " + storingAll, unit: calledTimes},
		{name: "fsyncs of " + copying, unit: calledTimes},
		{name: "fsyncs of " + moving, unit: calledTimes},
		{name: "fsyncs of " + expunging, unit: calledTimes},
	},
	run: func(ctx context.Context, b *bench, s *server) ([]float64, *answer, error) {
		if _, err := exec.LookPath("strace"); err != nil {
			note("strace is not installed: fsyncs are not counted")
			return nil, nil, nil
		}
		c, name, _, err := b.fresh(s)
		if err != nil {
			return nil, nil, err
		}
		defer c.close()
		if err := steps(c, "CREATE %s-to", "SELECT %s")(name); err != nil {
			return nil, nil, err
		}
		return b.traced(ctx, s, c, name)
	},
}

// steps returns a function that sends commands. The name of a mailbox replaces %s.
func steps(c *imapClient, commands ...string) func(name string) error {
	return func(name string) error {
		for _, command := range commands {
			if strings.Contains(command, "%s") {
				command = fmt.Sprintf(command, name)
			}
			if _, err := c.do("%s", command); err != nil {
				return err
			}
		}
		return nil
	}
}

// traced performs each operation under strace and returns the counts.
func (b *bench) traced(ctx context.Context, s *server, c *imapClient, name string) (values []float64, _ *answer, err error) {
	lmtp, err := dialLMTP(s)
	if err != nil {
		return nil, nil, err
	}
	defer lmtp.close()
	text := func(i int) []byte { return mailgen.Letter(i, letterSize) }
	if err := lmtp.deliver(newLetter(text(0))); err != nil { // creates the Maildir
		return nil, nil, err
	}
	t, err := startTrace(ctx, s, filepath.Join(b.dir, "strace"))
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, t.stop()) }()
	n := min(some, b.opt.n)
	times := func(n int, do func(i int) error) (int, func() error) {
		return n, func() error {
			for i := range n {
				if err := do(i); err != nil {
					return err
				}
			}
			return nil
		}
	}
	command := func(format string, args ...any) func(int) error {
		return func(int) error {
			_, err := c.do(format, args...)
			return err
		}
	}
	count := func(n int, do func() error) error {
		calls, err := t.count(do)
		values = append(values, float64(calls)/float64(n))
		return err
	}
	err = count(times(tracedTimes, func(i int) error { return lmtp.deliver(newLetter(text(i))) }))
	err = errors.Join(err, count(times(tracedTimes, func(i int) error {
		data := text(i)
		_, err := c.do("APPEND %s-to (\\Seen) {%d+}\r\n%s", name, len(data), data)
		return err
	})))
	err = errors.Join(err, count(times(tracedTimes, func(i int) error {
		_, err := c.do(`UID STORE %d +FLAGS.SILENT (\Flagged)`, 1+i*b.opt.n/tracedTimes)
		return err
	})))
	err = errors.Join(err,
		count(times(1, command(`UID STORE 1:%d +FLAGS.SILENT (\Draft)`, n))),
		count(times(1, command("UID COPY 1:%d %s-to", n, name))),
		count(times(1, command("UID MOVE 1:%d %s-to", n, name))))
	if err != nil {
		return nil, nil, err
	}
	if c, err = b.doomed(s, c, n); err != nil {
		return nil, nil, err
	}
	defer c.close()
	err = count(times(1, command("EXPUNGE")))
	return values, nil, err
}

// trace is a strace of all processes of a server.
type trace struct {
	cmd  *exec.Cmd
	path string
}

// startTrace attaches strace to the processes of a server and waits until it traces them.
func startTrace(ctx context.Context, s *server, path string) (*trace, error) {
	args := []string{"-f", "-o", path, "-e", calls, "-e", "signal=none"}
	for _, root := range s.processes() {
		tree, err := processTree(root)
		if err != nil {
			return nil, err
		}
		for _, p := range tree {
			args = append(args, "-p", strconv.Itoa(p.pid))
		}
	}
	t := &trace{cmd: exec.CommandContext(ctx, "strace", args...), path: path}
	var said bytes.Buffer
	t.cmd.Stderr = &said
	if err := t.cmd.Start(); err != nil {
		return nil, err
	}
	if err := attached(s); err != nil {
		return nil, errors.Join(fmt.Errorf("strace: %w", err), t.stop(), errors.New(said.String()))
	}
	return t, nil
}

// attached waits until every thread of a server has a tracer.
func attached(s *server) error {
	for deadline := time.Now().Add(limit); ; time.Sleep(5 * time.Millisecond) {
		alone, err := untraced(s)
		if err != nil || alone == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d threads have no tracer after %s", alone, limit)
		}
	}
}

// untraced counts the threads of a server without a tracer.
func untraced(s *server) (int, error) {
	alone := 0
	for _, root := range s.processes() {
		tree, err := processTree(root)
		if err != nil {
			return 0, err
		}
		for _, p := range tree {
			threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", p.pid))
			if err != nil {
				return 0, err
			}
			for _, path := range threads {
				status, err := os.ReadFile(path)
				if err != nil && !gone(err) {
					return 0, err
				}
				if bytes.Contains(status, []byte("\nTracerPid:\t0\n")) {
					alone++
				}
			}
		}
	}
	return alone, nil
}

// count returns the number of durable calls that begin while do runs. strace writes a call down
// before the process continues, so a response comes after the record of its calls.
func (t *trace) count(do func() error) (int, error) {
	before, err := t.calls()
	if err != nil {
		return 0, err
	}
	if err := do(); err != nil {
		return 0, err
	}
	after, err := t.calls()
	return after - before, err
}

func (t *trace) calls() (int, error) {
	data, err := os.ReadFile(t.path)
	return len(durable.FindAll(data, -1)), err
}

// stop detaches strace.
func (t *trace) stop() error {
	_ = t.cmd.Process.Signal(syscall.SIGINT)
	var exit *exec.ExitError
	if err := t.cmd.Wait(); err != nil && !errors.As(err, &exit) { // the signal is reported as an error
		return err
	}
	return os.Remove(t.path)
}

// syncs renders the counts of an operation, for maildird and the rival.
func (b *bench) syncs(operation string) string {
	if operation == "" {
		return ""
	}
	for _, r := range b.results {
		if r.workload != countSyncs || r.row.name != "fsyncs of "+operation {
			continue
		}
		ours, theirs := b.pair(r)
		text := number(ours)
		if len(theirs) > 0 {
			text += " / " + number(theirs)
		}
		return text
	}
	return ""
}

func number(values []float64) string {
	if len(values) == 0 {
		return "-"
	}
	return strconv.FormatFloat(median(values), 'g', 4, 64)
}
