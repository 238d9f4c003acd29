package main

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// letterSize is the size of a delivered or appended message in octets.
const letterSize = 4096

// stopTime is how long a server may take to stop.
const stopTime = 15 * time.Second

// parallel calls do each times on every one of some connections, which start at the same time,
// and returns the number of calls per second.
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

// messagesIn counts the messages of a Maildir folder, which need not exist.
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
