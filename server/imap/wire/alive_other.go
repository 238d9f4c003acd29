//go:build !linux

package wire

import "time"

// PeerGone cannot tell on this system; a write to the client will.
func (c *Conn) PeerGone(time.Time) error { return nil }
