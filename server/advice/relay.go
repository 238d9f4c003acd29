package advice

import (
	"crypto/tls"
	"errors"
	"net"

	"golang.org/x/sys/unix"

	"maildird/server/relay"
)

// aboutRelay is what can be done about a relay that cannot be used. Nothing is lost
// meanwhile: who submits keeps his message.
func aboutRelay(err error) string {
	var header tls.RecordHeaderError
	var certificate *tls.CertificateVerificationError
	var name *net.DNSError
	switch {
	case errors.Is(err, relay.ErrLogin):
		return "correct relay.user and relay.password; no mail goes to other domains until then"
	case errors.Is(err, relay.ErrNoTLS):
		return "set relay.server to a port with TLS (smtps, mostly 465), or with STARTTLS (mostly 587); without TLS the password and the mail could be read on the way"
	case errors.Is(err, relay.ErrSelf):
		return "set relay.server to the server that sends mail on: this one does not"
	case errors.As(err, &certificate):
		return "set relay.server to a name that its certificate has, or relay.ca to a file with who signed it"
	case errors.As(err, &header):
		return "write relay.server with smtp://, for a port that does not begin with TLS"
	case errors.As(err, &name):
		return "correct the host in relay.server, or see to it that this machine finds hosts by name (/etc/resolv.conf)"
	case errors.Is(err, unix.ECONNREFUSED):
		return "see to it that the relay runs, and that relay.server has its port; mail for other domains goes on by itself then"
	}
	return "see to it that the relay runs, and can be reached from this machine; mail for other domains goes on by itself then"
}
