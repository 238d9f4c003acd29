// Package server puts a mail server together: users, Maildirs, listeners and
// the protocols on them.
//
// server.go starts and stops it, and makes of the settings (package config) those of
// the protocol servers; accounts.go finds the Maildir of a user, listen.go, tls.go, tokens.go
// and relay.go make what a listener needs, confine.go takes from the process what it
// does not, check.go says beforehand what would not work. How a protocol is spoken
// belongs to packages smtp and imap, what several protocols share to accept, limit,
// login and sasl.
package server
