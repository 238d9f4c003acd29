// Package server puts a mail server together: users, Maildirs, listeners and
// the protocols on them.
//
// server.go starts and stops the server and turns the settings (package config) into
// those of the protocol servers. accounts.go finds a user's Maildir; listen.go, tls.go,
// tokens.go and relay.go make what a listener needs; confine.go takes from the process
// what it does not need; check.go says beforehand what would not work. The protocols are
// in packages smtp and imap, and what they share is in accept, limit, login and sasl.
package server
