package servertest

import (
	"net"
	"sync"
)

// Pipes is a listener for connections in memory. A client's Write returns when the server has
// read the data, so that a client can wait for a server that is busy.
type Pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

// NewPipes returns a listener, which must be closed.
func NewPipes() *Pipes { return &Pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

// Dial returns the client side of a new connection, and a channel that is closed when the
// server closes its side. It must not be called after Close.
func (p *Pipes) Dial() (client net.Conn, ended <-chan struct{}) {
	client, server := net.Pipe()
	end := &pipeEnd{Conn: server, closed: make(chan struct{})}
	p.conns <- end
	return client, end.closed
}

// Accept implements net.Listener.
func (p *Pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (p *Pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

// Addr implements net.Listener.
func (p *Pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// pipeEnd reports when it is closed.
type pipeEnd struct {
	net.Conn
	closed chan struct{}
	once   sync.Once
}

func (e *pipeEnd) Close() error {
	err := e.Conn.Close()
	e.once.Do(func() { close(e.closed) })
	return err
}
