package main

import (
	_ "embed"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/emersion/go-smtp"

	"maildird/server"
)

//go:embed welcome.txt
var welcomeText string

// welcome sends the first message to the users of the demo. It uses LMTP, because a running
// server can no longer open TCP connections, not even to itself.
func welcome(srv *server.Server) error {
	addresses := srv.Addresses("lmtp")
	if len(addresses) == 0 {
		return errors.New("there is no listener for lmtp")
	}
	conn, err := net.Dial("unix", addresses[0])
	if err != nil {
		return err
	}
	c := smtp.NewClientLMTP(conn)
	defer c.Close()
	if err := c.Mail("postmaster@"+demoDomain, nil); err != nil {
		return err
	}
	for _, name := range demoUsers() {
		if err := c.Rcpt(name, nil); err != nil {
			return err
		}
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	now := time.Now()
	_, err = fmt.Fprintf(w, "From: maildird <postmaster@%s>\nTo: %s\nDate: %s\nMessage-ID: <welcome.%d@%s>\n%s",
		demoDomain, strings.Join(demoUsers(), ", "), now.Format(time.RFC1123Z), now.UnixNano(), demoHost, welcomeText)
	if err = errors.Join(err, w.Close()); err != nil {
		return err
	}
	return c.Quit()
}
