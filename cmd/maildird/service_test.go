package main

import (
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestServiceUnit: systemd accepts the unit, rates its exposure "OK", and allows
// the program the time that it takes to stop at most. No service is started.
func TestServiceUnit(t *testing.T) {
	const unit = "../../scripts/maildird.service"
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Fatalf("systemd-analyze is not installed; scripts/test-tools installs it: %v", err)
	}
	out, err := exec.Command(analyze, "security", "--offline=true", "--no-pager", unit).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	level := regexp.MustCompile(`Overall exposure level for maildird.service: ([0-9.]+) (\w+)`).FindSubmatch(out)
	if level == nil {
		t.Fatalf("no level in\n%s", out)
	}
	if exposed, err := strconv.ParseFloat(string(level[1]), 64); err != nil || exposed >= 3 || string(level[2]) != "OK" && string(level[2]) != "SAFE" {
		t.Errorf("%s\n%s", level[0], out)
	}
	text, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	stop := regexp.MustCompile(`(?m)^TimeoutStopSec=(.+)$`).FindSubmatch(text)
	if stop == nil {
		t.Fatalf("no TimeoutStopSec in\n%s", text)
	}
	if allowed, err := time.ParseDuration(string(stop[1])); err != nil || allowed < abandonTime+2*time.Second {
		t.Errorf("%s, and the program gives up after %s: %v", stop[0], abandonTime, err)
	}
	// Ignore that it cannot run some programs on this machine, but not what it
	// does not recognise.
	out, _ = exec.Command(analyze, "verify", "--man=no", unit).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if !strings.Contains(line, "is not executable") {
			t.Errorf("systemd-analyze verify: %s", line)
		}
	}
}
