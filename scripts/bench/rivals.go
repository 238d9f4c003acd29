package main

import (
	"context"
	"errors"

	"maildird/scripts/rig"
)

// manyConnections lifts the limits of maildird for the workload with many connections.
var manyConnections = []string{"# [limits]\n", "[limits]\nconnections_per_ip = 10000\nconnections_per_user = 10000\n"}

// dovecotLimits lifts those of Dovecot.
const dovecotLimits = `default_client_limit = 20000
default_process_limit = 10000
`

// startPostfixes starts a Postfix that writes to Maildirs itself and, if Dovecot is measured,
// one that passes its mail to Dovecot's LMTP server.
func (b *bench) startPostfixes(ctx context.Context) error {
	start := func(name, lmtp string) (*server, error) {
		p, err := rig.StartPostfix(ctx, rig.PostfixOptions{Mailboxes: []string{receiver}, LMTP: lmtp})
		if err != nil {
			return nil, err
		}
		s := &server{
			name: name, smtp: p.SMTP, root: p.Dir, relay: true, stop: p.Close,
			processes: func() []int { return []int{p.Process.Process.Pid} },
			restart:   func(ctx context.Context) error { return p.Restart(ctx) },
		}
		b.relays = append(b.relays, s)
		return s, nil
	}
	if _, err := start(postfixVirtual, ""); err != nil {
		return err
	}
	for _, d := range b.servers {
		if d.name != dovecotName {
			continue
		}
		s, err := start(postfixLMTP, d.lmtp)
		if err != nil {
			return err
		}
		s.root = d.root
		alone := s.processes
		s.processes = func() []int { return append(alone(), d.processes()...) }
	}
	return nil
}

// stopRelays stops the servers that startPostfixes has started.
func (b *bench) stopRelays() error {
	var err error
	for _, s := range b.relays {
		err = errors.Join(err, s.stop())
	}
	return err
}

// compared returns the servers that a workload runs on: the first one, which is maildird unless
// it is not measured, and the rival if available.
func (b *bench) compared(w *workload) []*server {
	if w.rival == "" {
		return b.servers
	}
	var all []*server
	if b.servers[0].name == oursName {
		all = append(all, b.servers[0])
	}
	for _, s := range b.relays {
		if s.name == w.rival {
			all = append(all, s)
		}
	}
	return all
}

// pair returns the values of the first server and of the rival.
func (b *bench) pair(r *result) (ours, theirs []float64) {
	all := b.compared(r.workload)
	if len(all) > 0 {
		ours = r.values[all[0].name]
	}
	if len(all) > 1 {
		theirs = r.values[all[1].name]
	}
	return ours, theirs
}
