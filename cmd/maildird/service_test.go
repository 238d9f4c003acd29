package main

import (
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestServiceUnit: systemd accepts the unit, and rates its exposure "OK". No
// service is started.
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
	// Ignore that it cannot run some programs on this machine, but not what it
	// does not recognise.
	out, _ = exec.Command(analyze, "verify", "--man=no", unit).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if !strings.Contains(line, "is not executable") {
			t.Errorf("systemd-analyze verify: %s", line)
		}
	}
}
