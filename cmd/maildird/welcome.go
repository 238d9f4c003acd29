package main

import (
	_ "embed"
	"errors"
	"fmt"
	"net/smtp"
	"strings"
	"time"

	"maildird/server"
)

//go:embed welcome.txt
var welcomeText string

// welcome sends the first message to the users of the demo, through the door
// that all mail from outside comes by.
func welcome(srv *server.Server) error {
	addresses := srv.Addresses("smtp")
	if len(addresses) == 0 {
		return errors.New("there is no listener for smtp")
	}
	c, err := smtp.Dial(addresses[0])
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Mail("postmaster@" + demoDomain); err != nil {
		return err
	}
	for _, name := range demoUsers() {
		if err := c.Rcpt(name); err != nil {
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
