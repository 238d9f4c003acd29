package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"maildird/scripts/mailgen"
)

// letterSize is the octets of a delivered or appended message.
const letterSize = 4096

// stopTime is what a server may take to stop.
const stopTime = 15 * time.Second

var lmtpDelivery = &workload{
	name: "lmtp delivery",
	rows: []row{
		{name: "LMTP, durable, 4 KiB, 1 connection", unit: perSecond, target: 2},
		{name: "LMTP, durable, 4 KiB, 8 connections", unit: perSecond, target: 2},
	},
	run: func(_ context.Context, b *bench, s *server) ([]float64, *answer, error) {
		before, err := messagesIn(s.home(receiver))
		if err != nil {
			return nil, nil, err
		}
		var rates []float64
		sent := 0
		for _, connections := range []int{1, 8} {
			each := 300 / connections
			rate, err := parallel(connections, each, func() (func(int) error, func(), error) {
				c, err := dialLMTP(s)
				if err != nil {
					return nil, nil, err
				}
				return func(i int) error { return c.deliver(receiver, mailgen.Letter(i, letterSize)) }, c.close, nil
			})
			if err != nil {
				return nil, nil, err
			}
			rates = append(rates, rate)
			sent += connections * each
		}
		after, err := messagesIn(s.home(receiver))
		if err == nil && after-before != sent {
			err = fmt.Errorf("%d messages acknowledged, %d in the Maildir", sent, after-before)
		}
		return rates, nil, err
	},
}

// parallel runs do each times on every one of some connections, which begin
// together, and returns how many of them there were in a second.
func parallel(connections, each int, open func() (do func(int) error, done func(), err error)) (float64, error) {
	var wg sync.WaitGroup
	begin := make(chan struct{})
	failed := make([]error, connections)
	for n := range connections {
		do, done, err := open()
		if err != nil {
			return 0, err
		}
		defer done()
		wg.Go(func() {
			<-begin
			for i := range each {
				if failed[n] = do(n*each + i); failed[n] != nil {
					return
				}
			}
		})
	}
	start := time.Now()
	close(begin)
	wg.Wait()
	elapsed := time.Since(start)
	for _, err := range failed {
		if err != nil {
			return 0, err
		}
	}
	return float64(connections*each) / elapsed.Seconds(), nil
}

// messagesIn counts the messages of a Maildir folder, which may not be there.
func messagesIn(folder string) (int, error) {
	n := 0
	for _, sub := range []string{"new", "cur"} {
		entries, err := os.ReadDir(filepath.Join(folder, sub))
		if err != nil && !os.IsNotExist(err) {
			return 0, err
		}
		n += len(entries)
	}
	return n, nil
}

func localPart(address string) string {
	local, _, _ := strings.Cut(address, "@")
	return local
}

func splitList(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}
