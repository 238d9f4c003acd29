package smtp

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"maildird/maildir/delivery"
)

// BenchmarkLMTP delivers messages of 4 KiB durably over loopback. A connection waits for each
// reply before it sends the next message. Compare with delivery's BenchmarkDurable/bare on
// the same file system.
func BenchmarkLMTP(b *testing.B) {
	for _, conns := range []int{1, 8, 32} {
		b.Run(fmt.Sprint(conns), func(b *testing.B) {
			ts := startServer(b, LMTP, durable)
			message := strings.Repeat(strings.Repeat("x", 62)+"\r\n", 64) + ".\r\n"
			var next atomic.Int64
			var wg sync.WaitGroup
			b.ResetTimer()
			for range conns {
				wg.Go(func() {
					c, err := net.Dial("tcp", ts.addr)
					if err != nil {
						b.Error(err)
						return
					}
					defer c.Close()
					in := bufio.NewReader(c)
					say := func(text, code string) {
						if _, err := c.Write([]byte(text)); err != nil {
							b.Error(err)
						}
						for {
							line, err := in.ReadString('\n')
							if err != nil || !strings.HasPrefix(line, code) {
								b.Errorf("%q: %q %v", text[:min(len(text), 40)], line, err)
								return
							}
							if line[3] == ' ' {
								return
							}
						}
					}
					say("", "220")
					say("LHLO x\r\n", "250")
					for next.Add(1) <= int64(b.N) && !b.Failed() {
						say("MAIL FROM:<a@b.example>\r\n", "250")
						say("RCPT TO:<alice@example.org>\r\n", "250")
						say("DATA\r\n", "354")
						say(message, "250")
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}

// durable makes deliveries wait for the disk.
func durable(c *Config) {
	c.Delivery = &delivery.Options{Host: "test", PID: os.Getpid(), Fsync: true}
}
