package smtp

import (
	"crypto/tls"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"maildird/server/dialogue"
	"maildird/server/servertest"
)

// scriptServer starts the server that a dialogue requires.
func scriptServer(t *testing.T, s *dialogue.Script) (*testServer, dialogue.Target) {
	target := dialogue.Target{Bye: "QUIT", ByeAnswer: "221 "}
	kind := MX
	var options []serverOption
	number := func(value string) int {
		n, err := strconv.Atoi(value)
		if err != nil {
			t.Fatalf("%s: %v", s.Name, err)
		}
		return n
	}
	limit := func(value string, of func(*Config) *int) {
		n := number(value)
		options = append(options, func(c *Config) { *of(c) = n })
	}
	for key, value := range s.Options {
		switch key {
		case "kind":
			kind = map[string]Kind{"mx": MX, "submission": Submission, "lmtp": LMTP}[value]
		case "tls":
			cert, pool := servertest.Certificate(t)
			options = append(options, withTLS(cert))
			target.TLS = &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"}
		case "plaintext":
			options = append(options, func(c *Config) { c.PlaintextFrom = []netip.Prefix{} })
		case "bare_newline":
			options = append(options, func(c *Config) { c.BareNewline = Reject })
		case "size":
			n := int64(number(value))
			options = append(options, func(c *Config) { c.Limits.Message = n })
		case "received":
			limit(value, func(c *Config) *int { return &c.Limits.Received })
		case "recipients":
			limit(value, func(c *Config) *int { return &c.Limits.Recipients })
		case "line":
			limit(value, func(c *Config) *int { return &c.Limits.Line })
		case "header_lines":
			limit(value, func(c *Config) *int { return &c.Limits.HeaderLines })
		case "header":
			limit(value, func(c *Config) *int { return &c.Limits.Header })
		case "bad_recipients":
			limit(value, func(c *Config) *int { return &c.Limits.BadRecipients })
		case "postmaster":
			options = append(options, func(c *Config) { c.Postmaster = value })
		case "aliases":
			options = append(options, aliasesOf(t, filepath.Join("../../testdata/smtp", value)))
		case "reserve":
			n := uint64(number(value)) << 40
			options = append(options, func(c *Config) { c.Reserve = n })
		case "relay":
			options = append(options, withRelay(t, scriptRelay(t, value)))
		case "greet":
			options = append(options, func(c *Config) { c.Timeouts.Greet = time.Hour })
		default:
			t.Fatalf("%s: unknown option %s", s.Name, key)
		}
	}
	ts := startServer(t, kind, options...)
	target.Root = ts.home
	target.Dial = func() (net.Conn, error) { return net.Dial("tcp", ts.addr) }
	return ts, target
}

// TestTranscripts plays the dialogues of testdata/smtp.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("../../testdata/smtp/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no dialogues", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			script, err := dialogue.Parse(file)
			if err != nil {
				t.Fatal(err)
			}
			ts, target := scriptServer(t, script)
			dialogue.Play(t, script, target)
			// An undelivered message leaves nothing behind.
			if _, err := os.Stat(ts.home); err != nil {
				t.Fatal(err)
			}
			ts.noTemp()
		})
	}
}
