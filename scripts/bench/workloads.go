package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"
	"time"
)

// workloads is the table of measurements, in the order of the output.
var workloads = []*workload{
	bareLoop,
	lmtpDelivery,
	smtpVirtual,
	smtpDovecot,
	selectNeverSeen,
	selectAfterChange,
	selectWatched,
	selectUnwatched,
	selectStopped,
	selectAfterRestart,
	selectMillion,
	fetchFlags,
	fetchSizes,
	fetchHeaders,
	fetchEnvelope,
	fetchStructure,
	fetchBodies,
	searchFlags,
	searchSince,
	searchSubject,
	searchText,
	sortDate,
	sortSubject,
	sortFrom,
	threadReferences,
	fetchAfterRestart,
	changeMessages,
	bareChange,
	statusOfMany,
	appendMessages,
	push,
	idleMemory,
	countSyncs,
}

// workload is something that a server does, and its measurements.
type workload struct {
	name string
	rows []row
	// once: a single measurement is sufficient, regardless of the number of rounds.
	once bool
	// million: only measured if mailboxes of that size are requested.
	million bool
	// rival is the server to compare with, "" for Dovecot.
	rival string
	// bare: measures the machine without a server.
	bare bool
	// run returns a value for each row, in order, and what must be equal between
	// servers (nil if nothing).
	run func(ctx context.Context, b *bench, s *server) (values []float64, answer *answer, err error)
}

// row is a line of the result.
type row struct {
	name   string
	unit   unit
	target float64 // limit of our value divided by the rival's; 0 for none
	limit  float64 // absolute limit of our value; 0 for none
	// operation names what syncs.go counts for this row, if anything.
	operation string
}

// unit is the unit of a value, and whether higher values are better.
type unit struct {
	name string
	rate bool
}

var (
	millis      = unit{name: "ms"}
	perSecond   = unit{name: "/s", rate: true}
	percent     = unit{name: "%", rate: true}
	kibibytes   = unit{name: "KiB"}
	calledTimes = unit{name: "calls"}
	mebibytes   = unit{name: "MiB"}
	megabytes   = unit{name: "MB/s", rate: true}
	timesBare   = unit{name: "x"} // of the time that the machine takes without a server
)

// result is the measurements of a row.
type result struct {
	workload *workload
	row      row
	values   map[string][]float64 // by server
	late     bool                 // the rival exceeded limit or gave up
}

// measure runs a workload on every server in turn, in reverse order in every second round.
func (b *bench) measure(ctx context.Context, w *workload) error {
	results := make([]*result, len(w.rows))
	for i, r := range w.rows {
		results[i] = &result{workload: w, row: r, values: map[string][]float64{}}
	}
	b.results = append(b.results, results...)
	late := map[string]bool{}
	rounds := b.opt.rounds
	if w.once {
		rounds = 1
	}
	servers := slices.Clone(b.compared(w))
	if w.bare {
		servers = []*server{{name: bareName}}
	}
	for round := range rounds {
		answers := map[string]*answer{}
		for _, s := range servers {
			if late[s.name] {
				continue
			}
			start := time.Now()
			values, got, err := w.run(ctx, b, s)
			if tooLate(err) && s.name != oursName {
				note("%-28s %-9s round %d: no answer within %s: %v", w.name, s.name, round+1, limit, err)
				late[s.name] = true
				for _, r := range results {
					r.late = true
				}
				// It may still be working, which would slow down the others.
				if err := s.restart(ctx); err != nil {
					return fmt.Errorf("restart of %s: %w", s.name, err)
				}
				continue
			}
			if err != nil {
				return fmt.Errorf("%s on %s: %w", w.name, s.name, err)
			}
			note("%-28s %-9s round %d: %s", w.name, s.name, round+1, time.Since(start).Round(time.Millisecond))
			for i, v := range values {
				results[i].values[s.name] = append(results[i].values[s.name], v)
			}
			answers[s.name] = got
		}
		b.compare(w, answers)
		slices.Reverse(servers)
	}
	return nil
}

// tooLate reports whether a server did not answer within limit, or closed the
// connection instead.
func tooLate(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)
}

// compare records where the responses of the servers differ.
func (b *bench) compare(w *workload, answers map[string]*answer) {
	servers := b.compared(w)
	if len(servers) < 2 || w.bare {
		return
	}
	first, second := servers[0].name, servers[1].name
	if d := answers[first].difference(answers[second]); d != "" {
		b.wrong = append(b.wrong, fmt.Errorf("%s: the answers of %s and %s differ: %s", w.name, first, second, d))
	}
}

// timed returns the duration of do in milliseconds.
func timed(do func() error) (float64, error) {
	start := time.Now()
	err := do()
	return float64(time.Since(start)) / float64(time.Millisecond), err
}

func median(values []float64) float64 { return percentile(values, 50) }

// percentile returns a percentile of values by the nearest rank; the median of an even number
// of values is the mean of the two in the middle.
func percentile(values []float64, p float64) float64 {
	if len(values) == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(values))
	if p == 50 && len(v)%2 == 0 {
		return (v[len(v)/2-1] + v[len(v)/2]) / 2
	}
	return v[min(len(v)-1, int(float64(len(v))*p/100))]
}
