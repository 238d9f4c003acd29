package main

import (
	"errors"
	"fmt"
	"net"
)

// notifyReady tells a service manager that every listener accepts, as
// sd_notify(3) describes it: until then "systemctl start" waits, and it fails if
// the program ends before. socket is NOTIFY_SOCKET of the environment; "" is for
// a program that nobody waits for.
func notifyReady(socket string) error {
	if socket == "" {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("NOTIFY_SOCKET: %w", err)
	}
	_, err = conn.Write([]byte("READY=1"))
	return errors.Join(err, conn.Close())
}
