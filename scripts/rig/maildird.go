package rig

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Build builds the maildird program into dir and returns its path. The working directory must
// be in the module.
func Build(dir string, race bool) (string, error) {
	binary := filepath.Join(dir, "maildird")
	args := []string{"build", "-o", binary}
	if race && strconv.IntSize == 64 { // there is no race detector for 32-bit machines
		args = append(args, "-race")
	}
	out, err := exec.Command("go", append(args, "maildird/cmd/maildird")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return binary, nil
}

// Main runs the tests of a package and returns the exit code. It builds maildird for them and
// sets *binary to its path. m is a *testing.M.
func Main(m interface{ Run() int }, binary *string, race bool) int {
	dir, err := Dir("binary")
	if err == nil {
		defer os.RemoveAll(dir)
		*binary, err = Build(dir, race)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// Maildird is a real maildird process with its own directory. InitMaildird sets it up,
// and Start starts it.
type Maildird struct {
	*Process
	Binary string
	Dir    string // contains maildird.toml; the caller removes it
	Config string // path of maildird.toml
	// AsRoot makes Start run "maildird serve" as root, if the caller is root.
	// System users require it.
	AsRoot bool

	log   *os.File // of all its runs; it has no name
	bound map[string]string
}

// InitMaildird runs "maildird init" for example.org in a new directory, moves all listeners to
// free loopback ports, adds LMTP on TCP, and makes the first account postmaster. edits are
// pairs of a text in maildird.toml and its replacement.
func InitMaildird(binary string, accounts []Account, edits ...string) (*Maildird, error) {
	dir, err := Dir("maildird")
	if err != nil {
		return nil, err
	}
	m := &Maildird{Binary: binary, Dir: dir, Config: filepath.Join(dir, "maildird.toml")}
	if out, err := m.Run("", "init", dir, "--domain", "example.org"); err != nil {
		return nil, fmt.Errorf("maildird init: %w\n%s", err, out)
	}
	text, err := os.ReadFile(m.Config)
	if err != nil {
		return nil, err
	}
	config := regexp.MustCompile(`127\.0\.0\.1:2[0-9]{3}`).ReplaceAllString(string(text), "127.0.0.1:0")
	config = strings.Replace(config, `["unix:lmtp.sock"]`, `["127.0.0.1:0", "unix:lmtp.sock"]`, 1)
	if len(accounts) > 0 {
		config = strings.Replace(config, `"postmaster@example.org"`, fmt.Sprintf("%q", accounts[0].Address), 1)
	}
	for i := 0; i+1 < len(edits); i += 2 {
		if !strings.Contains(config, edits[i]) {
			return nil, fmt.Errorf("%q is not in maildird.toml:\n%s", edits[i], config)
		}
		config = strings.Replace(config, edits[i], edits[i+1], 1)
	}
	if err := os.WriteFile(m.Config, []byte(config), 0o600); err != nil {
		return nil, err
	}
	for _, a := range accounts {
		if out, err := m.Run(a.Password+"\n", "user", "add", "--config", m.Config, a.Address); err != nil {
			return nil, fmt.Errorf("maildird user add: %w\n%s", err, out)
		}
	}
	return m, nil
}

// Run runs another maildird command and returns its output.
func (m *Maildird) Run(stdin string, args ...string) (string, error) {
	cmd := exec.Command(m.Binary, args...)
	Prepare(cmd, m.Dir)
	cmd.Dir = m.Dir
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Start runs "maildird serve" and waits for the line "ready".
func (m *Maildird) Start(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, m.Binary, "serve", "--config", m.Config)
	Prepare(cmd, m.Dir)
	if m.AsRoot {
		cmd.SysProcAttr.Credential = nil
	}
	cmd.Dir = m.Dir
	// When ctx ends, stop maildird as an operator does.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 15 * time.Second
	if err := m.openLog(); err != nil {
		return err
	}
	before := int64(len(m.Log()))
	cmd.Stderr = m.log
	var err error
	if m.Process, err = Start(cmd); err != nil {
		return err
	}
	for late := time.After(startLimit); ; {
		if line := readyLine.FindString(m.logFrom(before)); line != "" {
			m.bound = addresses(line)
			return nil
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-m.Done():
			return fmt.Errorf("maildird ended before it was ready: %s", m.Log())
		case <-late:
			_ = m.Kill()
			return fmt.Errorf("maildird was not ready after %s: %s", startLimit, m.Log())
		}
	}
}

// Address returns the first TCP address of a service, which has the name that
// it has in [listen].
func (m *Maildird) Address(service string) string { return m.bound[service] }

// Home returns the Maildir of a user.
func (m *Maildird) Home(address string) string {
	local, domain, _ := strings.Cut(address, "@")
	return filepath.Join(m.Dir, "mail", domain, local)
}

// Log returns what maildird has logged so far.
func (m *Maildird) Log() string { return m.logFrom(0) }

func (m *Maildird) logFrom(offset int64) string {
	if m.log == nil {
		return ""
	}
	log, err := io.ReadAll(io.NewSectionReader(m.log, offset, math.MaxInt64-offset))
	if err != nil {
		return err.Error()
	}
	return string(log)
}

// openLog creates the file that the program itself writes its log to, so that this process,
// which may be measuring it, has no work with each line.
func (m *Maildird) openLog() error {
	if m.log != nil {
		return nil
	}
	log, err := os.CreateTemp("", "maildird-log-")
	if err != nil {
		return err
	}
	m.log = log
	return os.Remove(log.Name())
}

// Close stops maildird, if it is running, and removes its directory. It returns an error if the
// exit status is not 0.
func (m *Maildird) Close() error {
	var err error
	if m.Process != nil {
		if err = m.Stop(startLimit); err != nil {
			err = fmt.Errorf("maildird did not stop cleanly: %w\n%s", err, m.Log())
		}
	}
	return errors.Join(err, RemoveAll(m.Dir))
}

// readyLine matches the line that says that maildird serves, to its end.
var readyLine = regexp.MustCompile(`.*(msg=ready|"msg":"ready").*\n`)

// service matches a service=address in the line "ready".
var service = regexp.MustCompile(`\b(smtp|submission|submissions|lmtp|imap|imaps|pprof)"?[=:]"?\[?(127\.0\.0\.1:[0-9]+)`)

func addresses(line string) map[string]string {
	found := map[string]string{}
	for _, m := range service.FindAllStringSubmatch(line, -1) {
		if found[m[1]] == "" {
			found[m[1]] = m[2]
		}
	}
	return found
}
