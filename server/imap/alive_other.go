//go:build !linux

package imap

import "time"

// peerGone cannot tell on this system; a write to the client will.
func (c *wire) peerGone(time.Time) error { return nil }
