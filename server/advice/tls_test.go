package advice

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"maildird/server/servertest"
)

// TestTLS: a client's mistake in a handshake is reported in helpful words.
func TestTLS(t *testing.T) {
	cert, roots := servertest.Certificate(t)
	const refuses = "does not accept the certificate"
	for name, c := range map[string]struct {
		client func(conn net.Conn)
		want   string
	}{
		"another certificate": {func(conn net.Conn) {
			_ = tls.Client(conn, &tls.Config{ServerName: "127.0.0.1"}).Handshake()
		}, refuses},
		"another name": {func(conn net.Conn) {
			_ = tls.Client(conn, &tls.Config{ServerName: "mail.example.net", RootCAs: roots}).Handshake()
		}, refuses},
		"another certificate, TLS 1.2": {func(conn net.Conn) {
			_ = tls.Client(conn, &tls.Config{ServerName: "127.0.0.1", MaxVersion: tls.VersionTLS12}).Handshake()
		}, refuses},
		"old": {func(conn net.Conn) {
			_ = tls.Client(conn, &tls.Config{ServerName: "127.0.0.1", MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}).Handshake()
		}, "TLS 1.2"},
		"no TLS": {func(conn net.Conn) {
			_, _ = io.WriteString(conn, "a1 LOGIN alice secret\r\n")
			_, _ = io.ReadAll(conn)
		}, "did not begin with TLS"},
		"gone": {func(net.Conn) {}, ""},
		"right": {func(conn net.Conn) {
			_ = tls.Client(conn, &tls.Config{ServerName: "127.0.0.1", RootCAs: roots}).Handshake()
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			server, client := net.Pipe()
			go func() {
				defer client.Close()
				c.client(client)
			}()
			err := tls.Server(server, &tls.Config{Certificates: []tls.Certificate{cert}}).Handshake()
			_ = server.Close()
			got := ""
			if err != nil {
				got = about(err)
			}
			if (got != "") != (c.want != "") || !strings.Contains(got, c.want) {
				t.Errorf("%v: advice %q, want %q", err, got, c.want)
			}
		})
	}
	// The error if the client is OpenSSL.
	err := fmt.Errorf("handshake: %w", &net.OpError{Op: "local error", Err: errors.New("tls: bad record MAC")})
	if got := about(err); !strings.Contains(got, refuses) {
		t.Errorf("%v: advice %q", err, got)
	}
}
