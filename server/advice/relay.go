package advice

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"

	"golang.org/x/sys/unix"

	"maildird/server/relay"
)

// aboutRelay returns the advice for a relay that cannot be used. Nothing is lost meanwhile:
// clients keep messages that were not accepted.
func aboutRelay(err error) string {
	var header tls.RecordHeaderError
	var certificate *tls.CertificateVerificationError
	var wrongName x509.HostnameError
	var invalid x509.CertificateInvalidError
	var name *net.DNSError
	var alert *net.OpError
	switch {
	case errors.Is(err, relay.ErrLogin):
		return "correct relay.user and relay.password; until then, no mail is sent to other domains"
	case errors.Is(err, relay.ErrNoTLS):
		return "set relay.server to a port with TLS (smtps, usually 465) or STARTTLS (usually 587); without TLS, others could read the password and the mail"
	case errors.Is(err, relay.ErrSelf):
		return "set relay.server to another server: this one cannot relay to itself"
	case errors.As(err, &wrongName):
		return "set relay.server to a name in its certificate"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the relay needs a new certificate, unless the clock of this machine is wrong"
	case errors.As(err, &certificate):
		return "set relay.ca to a file with the certificate of its issuer"
	case errors.As(err, &header):
		return "use smtp:// in relay.server: connections to this port do not begin with TLS"
	case errors.As(err, &alert) && alert.Op == "remote error":
		return "see in the log of the relay why it ends TLS; it must know TLS 1.2 or later"
	case errors.As(err, &name):
		return "correct the host in relay.server, or name resolution on this machine (/etc/resolv.conf)"
	case errors.Is(err, unix.ECONNREFUSED):
		return "make sure that the relay is running, and that relay.server has the right port; mail for other domains will then resume by itself"
	case errors.Is(err, context.DeadlineExceeded):
		return "make sure that the relay is running and can be reached from this machine; and if relay.server begins with smtp://, that its port does not begin with TLS, as 465 does (smtps://); mail for other domains will then resume by itself"
	}
	return "make sure that the relay is running and can be reached from this machine; mail for other domains will then resume by itself"
}
