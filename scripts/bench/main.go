// Bench compares maildird with Debian's Dovecot and Postfix, with equal durability, on
// copies of the same generated Maildirs. The servers take turns (A B, B A, A B, ...), so
// that other load on the machine affects both, and medians are reported. Bench compares the
// responses of the two servers and exits with an error if they differ. If Dovecot is not
// installed, it measures maildird alone.
//
// A workload is an entry of the table in workloads.go. It is defined in the file of its
// subject, such as search.go, change.go or lmtp.go; barechange.go and bareloop.go measure the
// file system alone. server.go starts maildird and Dovecot, and rivals.go Postfix. imap.go and
// lmtp.go are the clients, crowd.go is many of them. answer.go compares responses, syncs.go
// counts fsyncs, process.go and memory.go inspect processes. table.go prints, curves.go and
// draw.go draw, and machine.go describes the machine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"maildird/scripts/rig"
)

type options struct {
	n, rounds int
	only      *regexp.Regexp
	dir       string
	against   string
	markdown  bool
	curves    string
	million   bool
	optimized bool
}

func main() {
	var opt options
	var only string
	flag.IntVar(&opt.n, "n", 10_000, "messages in a mailbox")
	flag.IntVar(&opt.rounds, "rounds", 3, "measurements of each workload and server")
	flag.StringVar(&only, "only", "", "regular expression: only workloads with such a name")
	flag.StringVar(&opt.dir, "dir", "", "directory to work in, on the file system to measure (default: that of temporary files)")
	flag.StringVar(&opt.against, "servers", "maildird,dovecot,postfix", "servers to measure; those that are not installed are left out")
	flag.BoolVar(&opt.markdown, "markdown", false, "print the table in Markdown")
	flag.StringVar(&opt.curves, "curves", "", "measure over the size of the mailbox instead, and draw it into this PNG")
	flag.BoolVar(&opt.million, "million", false, "measure mailboxes of 1,000,000 messages too: one SELECT, or the curves up to there")
	flag.BoolVar(&opt.optimized, "dovecot-optimized", false, "leave Dovecot its default mail_fsync = optimized: less is synced, of flags and removals nothing")
	flag.Usage = usage
	flag.Parse()
	var err error
	if opt.only, err = regexp.Compile("(?i)" + only); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	if opt.curves != "" {
		err = runCurves(ctx, opt)
	} else {
		err = run(ctx, opt)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// usage describes what is measured, and the options.
func usage() {
	out := flag.CommandLine.Output()
	fmt.Fprint(out, `Measures maildird beside Dovecot and Postfix on this machine, on loopback, with
mailboxes that it makes and removes, and prints a table. Dovecot and Postfix run with
their defaults, but Dovecot with mail_fsync = always, so that all servers sync what
they acknowledge, and with room for more connections. Postfix needs root.

`)
	flag.PrintDefaults()
	fmt.Fprint(out, "\nWorkloads:\n")
	for _, w := range workloads {
		fmt.Fprintf(out, "  %s\n", w.name)
	}
}

// run measures all workloads for one size and prints the table.
func run(ctx context.Context, opt options) error {
	start := time.Now()
	return withBench(ctx, opt, func(b *bench) error {
		for _, w := range workloads {
			if !opt.only.MatchString(w.name) || w.million && !opt.million {
				continue
			}
			if err := b.measure(ctx, w); err != nil {
				return err
			}
		}
		fmt.Printf("\n")
		if opt.markdown {
			b.printMarkdown(os.Stdout)
		} else {
			b.print(os.Stdout)
		}
		fmt.Printf("\n%s\n\n%s\n%s\n\nRepeat it: %s (%s)\n", legend, b.size(), surroundings(b.dir), invocation(), time.Since(start).Round(time.Second))
		return errors.Join(b.wrong...)
	})
}

// withBench creates the corpus and starts the servers, calls do, and finally
// stops and removes them.
func withBench(ctx context.Context, opt options, do func(*bench) error) (err error) {
	if opt.dir != "" {
		if err := os.Setenv("TMPDIR", opt.dir); err != nil {
			return err
		}
	}
	dir, err := rig.Dir("bench")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	b := &bench{opt: opt, dir: dir, corpus: filepath.Join(dir, "corpus")}
	note("generating %d messages", opt.n)
	if b.octets, err = generate(b.corpus, opt.n); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	if err := b.start(ctx); err != nil {
		return err
	}
	return do(b)
}

// note reports progress on standard error.
func note(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
