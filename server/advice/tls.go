package advice

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
)

// aboutTLS returns the advice for a failed TLS handshake. The alerts of crypto/tls have no
// exported type, so they are recognised by their texts.
func aboutTLS(err error) string {
	if header := (tls.RecordHeaderError{}); errors.As(err, &header) {
		return "the client did not begin with TLS, as this port requires"
	}
	if strings.Contains(err.Error(), "tls: client offered only unsupported versions") {
		return "the client is too old: TLS 1.2 or later is required"
	}
	var alert *net.OpError
	if !errors.As(err, &alert) || alert.Err == nil {
		return ""
	}
	text := alert.Err.Error()
	// In TLS 1.3, OpenSSL sends its alert about a certificate unencrypted, so that
	// it cannot be decoded.
	if alert.Op == "remote error" && strings.Contains(text, "certificate") || alert.Op == "local error" && text == "tls: bad record MAC" {
		return "the client probably does not accept the certificate: check its names, dates and chain, or accept it in the client"
	}
	return ""
}
