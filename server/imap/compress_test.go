package imap

import (
	"bufio"
	"compress/flate"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// zipped is a client's view of a connection after COMPRESS, with the DEFLATE of
// the standard library.
type zipped struct {
	net.Conn
	in  io.Reader
	out *flate.Writer
}

func (z *zipped) Read(p []byte) (int, error) { return z.in.Read(p) }

func (z *zipped) Write(p []byte) (int, error) {
	n, err := z.out.Write(p)
	if err == nil {
		err = z.out.Flush()
	}
	return n, err
}

// compress turns compression on.
func (c *testClient) compress() {
	c.t.Helper()
	c.ok("COMPRESS DEFLATE")
	out, err := flate.NewWriter(c.conn, 9)
	if err != nil {
		c.t.Fatal(err)
	}
	z := &zipped{Conn: c.conn, in: flate.NewReader(c.in), out: out}
	c.conn, c.in = z, bufio.NewReader(z)
}

func TestCompress(t *testing.T) {
	ts := startServer(t)
	if err := ts.provision("alice"); err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("The same line, as mail has them, and again.\n", 5000)
	drop := func(name string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(ts.root("alice"), "new", name), []byte("Subject: x\n\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	drop("1706933105.M1P1.test")
	c := ts.login()
	c.compress()
	c.fails("COMPRESS DEFLATE", "NO [COMPRESSIONACTIVE]")
	if caps := c.ok("CAPABILITY"); strings.Contains(caps[0], "COMPRESS") {
		t.Error("COMPRESS is still announced:", caps[0])
	}
	c.ok("SELECT INBOX")
	c.send("f FETCH 1 BODY.PEEK[TEXT]\r\n")
	if got, want := c.line(), "* 1 FETCH (BODY[TEXT] {225000}"; got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	body := make([]byte, 225000)
	if _, err := io.ReadFull(c.in, body); err != nil || string(body) != strings.ReplaceAll(text, "\n", "\r\n") {
		t.Fatal("the body is not what was stored", err)
	}
	for c.line() != "f OK FETCH completed." {
	}
	// If news interrupts a wait, the stream stays intact.
	for i, name := range []string{"1706933106.M1P1.test", "1706933107.M1P1.test"} {
		c.send("i IDLE\r\n")
		if got := c.line(); got != "+ idling" {
			t.Fatal(got)
		}
		drop(name)
		if got, want := c.line(), "* "+string(rune('2'+i))+" EXISTS"; got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
		c.send("DONE\r\n")
		for !strings.HasPrefix(c.line(), "i OK") {
		}
	}
	c.ok("LOGOUT")
}

// TestCompressPartialFlush uses zlib's Z_PARTIAL_FLUSH, as mutt does. The bytes were made with
// zlib 1.2.13 from "a2 NOOP", "a3 IDLE", "DONE", "a4 LOGOUT".
func TestCompressPartialFlush(t *testing.T) {
	ts := startServer(t)
	c := ts.login()
	c.ok("COMPRESS DEFLATE")
	plain := c.conn
	c.in = bufio.NewReader(flate.NewReader(c.in))
	for _, step := range []struct{ octets, want string }{
		{"4a3452f0f3f70fe0e50208", "a2 OK"},
		{"a04463054f171f575e2e8000", "+ idling"},
		{"72f1f703920001", "a3 OK"},
		{"9468a2e0e3efee1f1ac2cb0510", "* BYE"},
	} {
		octets, err := hex.DecodeString(step.octets)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := plain.Write(octets); err != nil {
			t.Fatal(err)
		}
		if got := c.line(); !strings.HasPrefix(got, step.want) {
			t.Fatalf("got %s, want %s", got, step.want)
		}
	}
}

// TestUnauthenticateCompressed: after a refused UNAUTHENTICATE, a client would continue without
// compression, as RFC 8437 section 4.1 says, and the server would not understand it.
func TestUnauthenticateCompressed(t *testing.T) {
	c := startServer(t).login()
	if caps := c.ok("CAPABILITY"); !strings.Contains(caps[0], " UNAUTHENTICATE") {
		t.Error("UNAUTHENTICATE is not announced:", caps[0])
	}
	plain := c.conn
	c.compress()
	if caps := c.ok("CAPABILITY"); strings.Contains(caps[0], "UNAUTHENTICATE") {
		t.Error("UNAUTHENTICATE is still announced:", caps[0])
	}
	c.send("u UNAUTHENTICATE\r\n")
	if _, err := io.WriteString(plain, "l LOGIN alice secret\r\n"); err != nil {
		t.Fatal(err)
	}
	if got := c.line(); !strings.HasPrefix(got, "* BYE ") {
		t.Error(got)
	}
	if rest, err := io.ReadAll(c.in); len(rest) > 0 || err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("after BYE came %q (%v)", rest, err)
	}
}

func TestCompressRefused(t *testing.T) {
	ts := startServer(t)
	c := ts.dial()
	c.line()
	c.fails("COMPRESS DEFLATE", "BAD Please log in first.")
	c.ok("LOGIN alice secret")
	c.fails("COMPRESS LZW", "NO ")
	c.fails("COMPRESS", "BAD ")
	c.send("p COMPRESS DEFLATE\r\nq NOOP\r\n")
	if got := c.line(); !strings.HasPrefix(got, "p BAD") {
		t.Error(got)
	}
	if got := c.line(); !strings.HasPrefix(got, "q OK") {
		t.Error(got)
	}
	// Invalid DEFLATE data ends this connection only.
	c.ok("COMPRESS DEFLATE")
	c.send("r NOOP\r\n")
	c.in = bufio.NewReader(flate.NewReader(c.in))
	if line, err := c.tryLine(); err == nil && !strings.HasPrefix(line, "* BYE") {
		t.Error(line)
	}
	ts.login().ok("NOOP")
}
