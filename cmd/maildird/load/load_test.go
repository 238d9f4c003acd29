package load

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	// mostMemory is the maximum memory of the server under load, in KiB.
	mostMemory = 512 << 10
	// slowest is the limit for response times on any machine; README contains measurements
	// on a common one.
	slowest = time.Minute
)

// TestLoad: a good client is served, and the memory stays limited, while thousands of clients
// are connected, while thousands more send one byte at a time, and while others connect as
// fast as they can.
func TestLoad(t *testing.T) {
	n, slow := several(250, 5000), several(100, 2000)
	m := start(t, n)
	good := startGood(t, m)
	phase := func(what string, bad func()) {
		t.Helper()
		good.took()
		bad()
		took := good.took()
		rss := memory(t, m, "status", "VmHWM")
		t.Logf("%s: %s; at most %d MiB RSS so far, %d descriptors, %d goroutines",
			what, took, rss>>10, descriptors(t, m), goroutines(t, m))
		if rss > mostMemory {
			t.Errorf("%s: the server took %d MiB", what, rss>>10)
		}
		if worst := took.at(1); worst > slowest {
			t.Errorf("%s: a NOOP took %s", what, worst)
		}
	}
	phase("nobody else", func() {})
	phase("clients connect", func() {
		crowd(t, n, func(i int) (*client, error) {
			if i%2 == 0 {
				return idle(m, "imap", "IDLE", i+perUser) // the first user is that of the good client
			}
			return idle(m, "smtp", "EHLO", i+perUser)
		})
	})
	phase("they are connected", func() {
		time.Sleep(time.Second)
	})
	phase("slow clients too", func() {
		dribble(crowd(t, slow, func(i int) (*client, error) {
			conn, err := net.DialTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 2, 0, byte(i/perIP))}, tcp(t, m.Address(slowServices[i%len(slowServices)])))
			return &client{Conn: conn}, err
		}))
	})
	phase("and a flood", func() {
		t.Logf("%d connections came and went", flood(t, []string{m.Address("imap"), m.Address("smtp"), m.Address("imaps")}))
	})
	if n := len(m.Log()); n > 64<<20 {
		t.Errorf("the log has %d MiB", n>>20)
	}
}

// slowServices are the services that the slow clients connect to; with implicit TLS, they are
// slow in the handshake.
var slowServices = []string{"imap", "smtp", "submission", "imaps", "submissions"}

func tcp(t testing.TB, address string) *net.TCPAddr {
	a, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		t.Error(err)
	}
	return a
}

// dribble sends one byte at a time for each client in turn.
func dribble(clients []*client) {
	text := map[int]string{
		0: "a LOGIN {100}\r\n" + "x", 1: "EHLO client.example", 2: "EHLO client.example",
		3: "\x16\x03\x01\x02\x00\x01\x00\x01", 4: "\x16\x03\x01\x02\x00\x01\x00\x01",
	}
	rounds := several(5, 12)
	for round := range rounds {
		for i, c := range clients {
			say := text[i%len(slowServices)]
			// An error is acceptable: the server may have closed the connection.
			_, _ = io.WriteString(c, say[min(round, len(say)-1):][:1])
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// flood opens connections as fast as it can, sends a little, disconnects, and returns
// the number of connections.
func flood(t testing.TB, addresses []string) int64 {
	end := time.Now().Add(time.Duration(several(1, 10)) * time.Second)
	var n atomic.Int64
	var wg sync.WaitGroup
	for i := range 32 {
		to := tcp(t, addresses[i%len(addresses)])
		wg.Go(func() {
			for time.Now().Before(end) {
				conn, err := net.DialTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 3, 0, byte(i))}, to)
				if err != nil {
					continue // no port is available for a moment
				}
				_, _ = io.WriteString(conn, "NOOP\r\n")
				_ = conn.SetLinger(0) // otherwise ports run out
				_ = conn.Close()
				n.Add(1)
			}
		})
	}
	wg.Wait()
	return n.Load()
}
