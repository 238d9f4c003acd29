package accept

import (
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"net"
	"net/netip"
)

// Peer is the remote side of a connection.
type Peer struct {
	Addr    netip.Addr // invalid for a Unix socket
	Session string     // 12 hex digits that identify the session in the log
}

// NewPeer returns the peer of an accepted connection.
func NewPeer(conn net.Conn) (p Peer) {
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		p.Addr = a.AddrPort().Addr().Unmap().WithZone("")
	}
	var id [6]byte
	_, _ = rand.Read(id[:]) // never fails
	p.Session = hex.EncodeToString(id[:])
	return p
}

// Log returns a logger that adds the attributes of the session.
func (p Peer) Log(log *slog.Logger, protocol string) *slog.Logger {
	remote := "unix"
	if p.Addr.IsValid() {
		remote = p.Addr.String()
	}
	return log.With("protocol", protocol, "session", p.Session, "remote", remote)
}
