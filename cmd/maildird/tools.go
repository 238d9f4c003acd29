package main

import (
	"os"

	"maildird/maildir/delivery"
	"maildird/maildir/dotlock"
)

// tools is what a command locks folders and writes messages with: one for all
// accounts, as its parts are to be one for the process.
type tools struct {
	locker   *dotlock.Locker
	delivery *delivery.Options
}

func newTools() (tools, error) {
	host, err := os.Hostname()
	if err != nil {
		return tools{}, err
	}
	return tools{dotlock.NewLocker(host), &delivery.Options{Host: host, PID: os.Getpid(), Fsync: true}}, nil
}
