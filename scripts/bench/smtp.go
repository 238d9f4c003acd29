package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"maildird/scripts/mailgen"
)

// Paths of a message from an SMTP client to the file in new/ with which maildird is compared.
// Each is a server in the table.
const (
	postfixVirtual = "postfix"
	postfixLMTP    = "postfix+lmtp"
)

var smtpVirtual = smtpDelivery("smtp delivery, virtual", "SMTP to new/ (Postfix, virtual)", postfixVirtual, 2, 0)
var smtpDovecot = smtpDelivery("smtp delivery, lmtp", "SMTP to new/ (Postfix, Dovecot LMTP)", postfixLMTP, 4, 0)

// smtpDelivery returns a workload that submits messages by SMTP and waits until all are files
// in new/, since Postfix delivers only after it has accepted them.
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

// deliveries are the numbers of connections that deliver at the same time.
var deliveries = []int{1, 8, 32}

// lettersOver returns the total number of messages, which is lower for a single connection
// because that is slow.
func lettersOver(connections int) int {
	if connections == 1 {
		return 128
	}
	return 640
}

// deliveryRows returns the rows of measureDelivery. target is for the rate, cpu the limit on
// maildird's processor time per message in milliseconds.
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
			row{name: what + ", CPU of the client a message", unit: millis},
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

// measureDelivery delivers over 1, 8 and 32 connections, and returns for each: messages per
// second, from the first command to the last file in new/; the processor time of the server and
// of the client per message, in ms; and the rate in percent of that of the bare loop, half of
// which runs before and half after. The bare loop needs no client, so it has the processor time
// of that for itself.
func measureDelivery(ctx context.Context, b *bench, s *server, dial func(*server) (*mailClient, error)) ([]float64, *answer, error) {
	if _, err := deliver(ctx, s, 1, 1, dial); err != nil { // creates the Maildir
		return nil, nil, err
	}
	// The location of a directory in the file system matters a lot, because it takes long to
	// find an inode for a new file where many were removed. The bare loop therefore creates its
	// files where the server does.
	home := s.home(receiver)
	beside, tmp := filepath.Dir(home), filepath.Join(home, "tmp")
	var values []float64
	for _, n := range deliveries {
		total := lettersOver(n)
		before, err := b.bareTime(beside, tmp, n, total/2)
		if err != nil {
			return nil, nil, err
		}
		took, err := deliver(ctx, s, n, total, dial)
		if err != nil {
			return nil, nil, err
		}
		after, err := b.bareTime(beside, tmp, n, total/2)
		if err != nil {
			return nil, nil, err
		}
		each := func(cpu time.Duration) float64 { return float64(cpu.Microseconds()) / 1e3 / float64(total) }
		values = append(values, float64(total)/took.all.Seconds(), each(took.server), each(took.client), 100*float64(before+after)/float64(took.all))
	}
	return values, nil, nil
}

// times are the durations of a delivery: from the first command on, and of processor time for
// the server and for the client.
type times struct{ all, server, client time.Duration }

// deliver delivers total messages and waits until they are in new/.
func deliver(ctx context.Context, s *server, connections, total int, dial func(*server) (*mailClient, error)) (took times, err error) {
	letters := make([]letter, total)
	for i := range letters {
		letters[i] = newLetter(mailgen.Letter(i, letterSize))
	}
	had, err := messagesIn(s.home(receiver))
	if err != nil {
		return took, err
	}
	cpuBefore, err := s.processorTime()
	if err != nil {
		return took, err
	}
	clients, err := newCrowd(connections, func() (*mailClient, error) { return dial(s) })
	if err != nil {
		return took, err
	}
	defer clients.close()
	clientBefore, start := ownTime(), time.Now()
	if took.all, err = clients.deliver(letters); err != nil {
		return took, err
	}
	took.client = ownTime() - clientBefore
	if s.relay {
		if err := awaitMessages(ctx, s.home(receiver), had+total); err != nil {
			return took, err
		}
		took.all = time.Since(start)
	} else if have, err := messagesIn(s.home(receiver)); err != nil || have-had != total {
		return took, fmt.Errorf("%d messages acknowledged, %d in the Maildir (%v)", total, have-had, err)
	}
	cpuAfter, err := s.processorTime()
	took.server = cpuAfter - cpuBefore
	return took, err
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
