package contain

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

func faulty() { panic("a fault") }

// TestGroup: a panic reaches whoever waits, after the others have returned, with the place
// where it happened.
func TestGroup(t *testing.T) {
	var g Group
	gone, done := make(chan struct{}), false
	g.Go(func() {
		defer close(gone)
		faulty()
	})
	g.Go(func() {
		<-gone
		done = true
	})
	defer func() {
		p, _ := recover().(string)
		if !strings.HasPrefix(p, "a fault\n") || !strings.Contains(p, "contain.faulty") {
			t.Errorf("panic %q", p)
		}
		if !done {
			t.Error("Wait did not wait for the other function")
		}
	}()
	g.Wait()
	t.Error("no panic")
}

func TestGroupWithoutFault(t *testing.T) {
	var g Group
	g.Wait()
	n := 0
	g.Go(func() { n++ })
	if g.Wait(); n != 1 {
		t.Error("Wait did not wait")
	}
}

func TestRun(t *testing.T) {
	var said bytes.Buffer
	log := slog.New(slog.NewTextHandler(&said, nil))
	if !Run(log, "panic in a test", func() {}) || said.Len() > 0 {
		t.Errorf("without a panic: %s", &said)
	}
	if Run(log, "panic in a test", faulty) {
		t.Error("Run says that all went well")
	}
	for _, want := range []string{"level=ERROR", "panic in a test", "a fault", "contain.faulty"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("the log does not have %q: %s", want, &said)
		}
	}
}
