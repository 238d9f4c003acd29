package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"maildird/scripts/mailgen"
)

// The ways of a message from an SMTP client to the file in new/ that ours is
// compared with. Each is a server of the table.
const (
	postfixVirtual = "postfix"
	postfixLMTP    = "postfix+lmtp"
)

var smtpVirtual = smtpDelivery("smtp delivery, virtual", "SMTP to new/ (Postfix, virtual)", postfixVirtual, 2, 0)
var smtpDovecot = smtpDelivery("smtp delivery, lmtp", "SMTP to new/ (Postfix, Dovecot LMTP)", postfixLMTP, 4, 0)

// smtpDelivery is a workload that hands messages over by SMTP and waits until
// all are files in new/, which Postfix promises for later.
func smtpDelivery(name, title, rival string, target, cpu float64) *workload {
	return &workload{
		name: name, rival: rival,
		rows: deliveryRows(title, "", target, cpu),
		run: func(ctx context.Context, b *bench, s *server) ([]float64, *answer, error) {
			return measureDelivery(ctx, b, s, dialSMTP)
		},
	}
}

var lmtpDelivery = &workload{
	name: "lmtp delivery",
	rows: deliveryRows("LMTP", delivering, 2, 1.5),
	run: func(ctx context.Context, b *bench, s *server) ([]float64, *answer, error) {
		return measureDelivery(ctx, b, s, dialLMTP)
	},
}

// deliveries are the numbers of connections that deliver at the same time, and
// letters how many messages they deliver in all.
var deliveries = []int{1, 8, 32}

const letters = 640

// deliveryRows are the rows of measureDelivery: target is that of the rate, cpu
// the bound of the milliseconds of the processor that a message takes of ours.
func deliveryRows(title, operation string, target, cpu float64) []row {
	var rows []row
	for _, n := range deliveries {
		what := fmt.Sprintf("%s, %s", title, connections(n))
		share := row{name: what + ", of the bare loop", unit: percent}
		if n > 1 {
			share.limit = 80
		}
		rows = append(rows,
			row{name: what, unit: perSecond, target: target, operation: operation},
			row{name: what + ", CPU a message", unit: millis, limit: cpu},
			share)
	}
	return rows
}

func connections(n int) string {
	if n == 1 {
		return "1 connection"
	}
	return fmt.Sprintf("%d connections", n)
}

// measureDelivery delivers over 1, 8 and 32 connections and returns for each:
// messages a second from the first command to the last file in new/, the
// processor's time that the server takes for one in ms, and the rate in percent
// of the bare loop just before.
func measureDelivery(ctx context.Context, b *bench, s *server, dial func(*server) (*mailClient, error)) ([]float64, *answer, error) {
	var values []float64
	for _, n := range deliveries {
		bare, err := b.bareRate(n)
		if err != nil {
			return nil, nil, err
		}
		before, err := messagesIn(s.home(receiver))
		if err != nil {
			return nil, nil, err
		}
		cpu, err := s.processorTime()
		if err != nil {
			return nil, nil, err
		}
		each := letters / n
		start := time.Now()
		accepted, err := parallel(n, each, func() (func(int) error, func(), error) {
			c, err := dial(s)
			if err != nil {
				return nil, nil, err
			}
			return func(i int) error { return c.deliver(receiver, mailgen.Letter(i, letterSize)) }, c.close, nil
		})
		if err != nil {
			return nil, nil, err
		}
		rate := accepted
		if s.relay {
			if err := awaitMessages(ctx, s.home(receiver), before+n*each); err != nil {
				return nil, nil, err
			}
			rate = float64(n*each) / time.Since(start).Seconds()
		} else if after, err := messagesIn(s.home(receiver)); err != nil || after-before != n*each {
			return nil, nil, fmt.Errorf("%d messages acknowledged, %d in the Maildir (%v)", n*each, after-before, err)
		}
		used, err := s.processorTime()
		if err != nil {
			return nil, nil, err
		}
		values = append(values, rate, float64((used-cpu).Microseconds())/1e3/float64(n*each), 100*rate/bare)
	}
	return values, nil, nil
}

// awaitMessages waits until a Maildir folder has n messages.
func awaitMessages(ctx context.Context, folder string, n int) error {
	deadline := time.Now().Add(limit)
	for {
		have, err := messagesIn(folder)
		if err != nil || have == n {
			return err
		}
		if have > n {
			return fmt.Errorf("%d messages in %s, %d were sent", have, filepath.Base(folder), n)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d of %d messages are in the Maildir after %s: %w", have, n, limit, os.ErrDeadlineExceeded)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
	}
}
