package main

import (
	"os"

	"maildird/maildir/delivery"
	"maildird/maildir/dotlock"
)

// tools are what commands use to lock folders and to write messages. They are shared by all
// accounts, because their parts must exist only once per process.
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
