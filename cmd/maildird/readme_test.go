package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"maildird/server/config"
)

// TestReadme: the examples in README agree with the program.
func TestReadme(t *testing.T) {
	file, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	readme := string(file)
	if settings := config.Template("mail.example.org", "example.org", "postmaster@example.org"); !strings.Contains(readme, "```toml\n"+settings+"```\n") {
		t.Errorf("the README shows another configuration than init writes; this belongs between its ```toml lines:\n%s", settings)
	}
	if strings.Contains(readme, "@@") {
		t.Error("the README has a place that was to be filled in")
	}
	commands := map[string]bool{}
	for _, c := range leaves(root()) {
		words := strings.Fields(c.CommandPath())
		commands[strings.Join(words[1:], " ")] = true
	}
	shown := 0
	for _, m := range regexp.MustCompile("(?m)(?:bin/|`)maildird +([a-z]+)(?: ([a-z]+))?").FindAllStringSubmatch(readme, -1) {
		shown++
		if !commands[m[1]] && !commands[m[1]+" "+m[2]] {
			t.Errorf("the README shows %q, which is no command", m[0])
		}
	}
	if shown < 8 {
		t.Errorf("the README shows %d commands only", shown)
	}
	missing := map[string]bool{}
	for _, pattern := range []string{"cmd/*/*/*.go", "server/*/*.go", "server/imap/*/*.go", "auth/*/*.go", "maildir/*/*.go", "maildir/*/*/*.go", "scripts/*/*.go"} {
		files, err := filepath.Glob("../../" + pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			dir := strings.TrimPrefix(filepath.ToSlash(filepath.Dir(f)), "../../")
			if !strings.Contains(readme, "\n    "+dir+" ") && !missing[dir] {
				missing[dir] = true
				t.Errorf("the README's map of the tree lacks %s", dir)
			}
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^    ((?:cmd|server|auth|maildir|scripts)/[a-z0-9/]+) `).FindAllStringSubmatch(readme, -1) {
		if _, err := os.Stat("../../" + m[1]); err != nil {
			t.Errorf("the README's map of the tree has %s, which is not there", m[1])
		}
	}
	tests, err := exec.Command("git", "-C", "../..", "grep", "-hE", "^func (Test|Fuzz)", "--", "*_test.go").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("`(Test[A-Za-z0-9]+)`").FindAllStringSubmatch(readme, -1) {
		if !strings.Contains(string(tests), "func "+m[1]+"(") {
			t.Errorf("the README names %s, which is no test", m[1])
		}
	}
	list, err := os.ReadFile("../../testdata/imap-capabilities.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(list)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		name, _, _ := strings.Cut(strings.Fields(line)[0], "=")
		if !strings.Contains(readme, name) {
			t.Errorf("the README, Supported protocols, does not name the IMAP capability %s", name)
		}
	}
}
