package imap

import (
	"net"
	"path/filepath"
	"testing"

	"maildird/maildir"
	"maildird/server/dialogue"
	"maildird/server/servertest"
)

// scriptOptions returns the server settings that a dialogue requires.
func scriptOptions(t *testing.T, s *dialogue.Script) []serverOption {
	var out []serverOption
	for key, value := range s.Options {
		switch key {
		case "rev2":
			out = append(out, func(cfg *Config, _ *maildir.AccountOptions) { cfg.NoRev2 = value == "no" })
		case "unauthenticate":
			out = append(out, func(cfg *Config, _ *maildir.AccountOptions) { cfg.NoUnauthenticate = value == "no" })
		case "uidonly":
			out = append(out, func(cfg *Config, _ *maildir.AccountOptions) { cfg.UIDOnly = value == "yes" })
		case "plaintext":
			out = append(out, func(cfg *Config, _ *maildir.AccountOptions) { cfg.PlaintextFrom = nil })
		case "separator":
			out = append(out, func(_ *Config, a *maildir.AccountOptions) { a.Folder.Separator = value[0] })
		case "prefix":
			out = append(out, func(_ *Config, a *maildir.AccountOptions) { a.Folder.Prefix = value })
		case "layout":
			out = append(out, func(_ *Config, a *maildir.AccountOptions) { a.Folder.Layout = value })
		case "tls":
			cert, _ := servertest.Certificate(t)
			out = append(out, withTLS(cert))
		default:
			t.Fatalf("%s: unknown option %s", s.Name, key)
		}
	}
	return out
}

// TestTranscripts plays the dialogues of testdata/imap.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("../../testdata/imap/*.txt")
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
			ts := startServer(t, scriptOptions(t, script)...)
			if err := ts.provision("alice"); err != nil {
				t.Fatal(err)
			}
			dialogue.Play(t, script, dialogue.Target{
				Root: ts.root("alice"),
				Dial: func() (net.Conn, error) { return net.Dial("tcp", ts.addr) },
			})
		})
	}
}
