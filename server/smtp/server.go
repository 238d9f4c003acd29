package smtp

import (
	"context"
	"errors"
	"net"
)

// ErrServerClosed is what Serve returns after Shutdown.
var ErrServerClosed = errors.New("smtp: server closed")

// Server is one of the protocols. Safe for concurrent use.
type Server struct {
	kind Kind
	cfg  Config
}

// New returns a server that is not serving yet.
func New(kind Kind, cfg Config) *Server {
	cfg.setDefaults()
	return &Server{kind: kind, cfg: cfg}
}

// Serve takes connections from l until Shutdown.
func (s *Server) Serve(l net.Listener, implicitTLS bool) error { return errUnfinished }

// Shutdown stops Serve and waits for the connections until ctx ends.
func (s *Server) Shutdown(ctx context.Context) error { return nil }

var errUnfinished = errors.New("smtp: not written yet")
