package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	b := &bench{servers: []*server{{name: oursName}, {name: dovecotName}}, relays: []*server{{name: postfixVirtual}}}
	b.results = []*result{
		{workload: bareLoop, row: bareLoop.rows[0], values: map[string][]float64{bareName: {900}}},
		{workload: lmtpDelivery, row: lmtpDelivery.rows[0], values: map[string][]float64{oursName: {500, 400, 600}, dovecotName: {100, 250}}},
		{workload: smtpVirtual, row: smtpVirtual.rows[0], values: map[string][]float64{oursName: {300}, postfixVirtual: {200}, dovecotName: {1}}},
		{workload: selectNeverSeen, row: selectNeverSeen.rows[0], late: true, values: map[string][]float64{oursName: {1.5}}},
		{workload: countSyncs, row: countSyncs.rows[0], values: map[string][]float64{oursName: {2}, dovecotName: {7.5}}},
	}
	var out strings.Builder
	b.printMarkdown(&out)
	want := `|  | maildird | rival | ratio | target | fsyncs |
|---|---:|---:|---:|---|---|
| bare loop, 4 KiB, 1 thread | 900 /s |  |  |  |  |
| LMTP, 1 connection | 500 /s | 175 /s | 2.86x | ≥ 2x | 2 / 7.5 |
| SMTP to new/ (Postfix, virtual), 1 connection | 300 /s | 200 /s | 1.50x | ≥ 2x missed |  |
| SELECT, never seen | 1.50 ms | no answer |  | ≤ 0.5x |  |
| fsyncs of a delivery by LMTP | 2.00 calls | 7.50 calls | 0.27x |  |  |
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

// TestLateRival: a rival that does not answer in time is abandoned, with its results so far,
// and maildird is measured to the end; if maildird is late, that is an error.
func TestLateRival(t *testing.T) {
	for _, err := range []error{os.ErrDeadlineExceeded, io.EOF} {
		testLateRival(t, err)
	}
}

func testLateRival(t *testing.T, failure error) {
	late, restarts := dovecotName, 0
	w := &workload{name: "w", rows: []row{{name: "w", unit: millis}}}
	w.run = func(_ context.Context, _ *bench, s *server) ([]float64, *answer, error) {
		if s.name == late {
			return nil, nil, failure
		}
		return []float64{1}, nil, nil
	}
	again := func(context.Context) error { restarts++; return nil }
	b := &bench{opt: options{rounds: 3}, servers: []*server{{name: oursName}, {name: dovecotName, restart: again}}}
	if err := b.measure(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	if r := b.results[0]; !r.late || len(r.values[oursName]) != 3 || len(r.values[dovecotName]) != 0 || restarts != 1 {
		t.Errorf("%+v after %d restarts", r, restarts)
	}
	late = oursName
	if err := b.measure(t.Context(), w); !errors.Is(err, failure) {
		t.Errorf("ours is late: %v", err)
	}
}

// TestOperationsAreCounted: every row that names an operation has its count.
func TestOperationsAreCounted(t *testing.T) {
	for _, w := range workloads {
		for _, r := range w.rows {
			found := r.operation == ""
			for _, counted := range countSyncs.rows {
				found = found || counted.name == "fsyncs of "+r.operation
			}
			if !found {
				t.Errorf("%s: no row counts %s", r.name, r.operation)
			}
		}
	}
}

// TestDurableCalls: a name of a call is counted where the call begins, not
// where strace resumes it.
func TestDurableCalls(t *testing.T) {
	log := "12 fsync(5) = 0\n13   fdatasync(7 <unfinished ...>\n12 fsync(6) = 0\n13 <... fdatasync resumed>) = 0\n14 +++ exited with 0 +++\n"
	path := filepath.Join(t.TempDir(), "strace")
	if err := os.WriteFile(path, []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := (&trace{path: path}).calls(); err != nil || n != 3 {
		t.Errorf("%d calls, %v", n, err)
	}
}

func TestSurroundings(t *testing.T) {
	want := regexp.MustCompile(`^Machine: [0-9]+ CPUs \(.+\), [0-9]+ GiB, Linux [0-9].+, go1.*, (no Dovecot|Dovecot 2.*), (no Postfix|Postfix [0-9].*)\.$`)
	if got := surroundings(t.TempDir()); !want.MatchString(got) {
		t.Errorf("%s", got)
	}
}
