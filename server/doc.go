// Package server assembles the mail server: users, Maildirs, listeners, and the
// protocols on them.
//
// server.go starts and stops the server, and derives the settings of the protocol servers from
// those of package config. accounts.go opens Maildirs, and users.go notices changes of users and
// aliases; listen.go, tls.go, tokens.go and relay.go set up listeners and what they need, debug.go
// serves profiles; confine.go takes away from the process what it does not need; check.go finds
// in advance what would not work. The protocols are in packages smtp and imap; what they share is
// in accept, limit, login and sasl.
package server
