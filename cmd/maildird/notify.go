package main

import (
	"errors"
	"fmt"
	"net"
)

// notifyReady tells the service manager that every listener accepts connections, as described
// in sd_notify(3): "systemctl start" waits for that, and fails if the program ends before.
// socket is the environment variable NOTIFY_SOCKET; if it is empty, nobody is waiting.
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
