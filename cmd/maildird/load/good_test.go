package load

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"maildird/scripts/rig"
)

// latencies are response times.
type latencies []time.Duration

func (l latencies) at(part float64) time.Duration {
	slices.Sort(l)
	return l[min(int(float64(len(l))*part), len(l)-1)]
}

func (l latencies) String() string {
	return fmt.Sprintf("NOOP median %s, 99 of 100 within %s, longest %s (%d of them)",
		l.at(0.5).Round(10*time.Microsecond), l.at(0.99).Round(10*time.Microsecond), l.at(1).Round(10*time.Microsecond), len(l))
}

// goodAddress makes this program the good client of the server at that address.
const goodAddress = "MAILDIRD_LOAD_GOOD"

// good is a client in a separate process, which only sends NOOP.
type good struct {
	t   testing.TB
	in  io.WriteCloser
	out *json.Decoder
}

// startGood starts a good client that logs in as the first user, who has no other connections.
func startGood(t testing.TB, m *rig.Maildird) *good {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), goodAddress+"="+m.Address("imap"))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	g := &good{t, in, json.NewDecoder(out)}
	g.took() // response time of the login
	return g
}

// took returns the response times of NOOP since the last call.
func (g *good) took() latencies {
	g.t.Helper()
	var l latencies
	_, err := io.WriteString(g.in, "\n")
	if err == nil {
		err = g.out.Decode(&l)
	}
	if err != nil || len(l) == 0 {
		g.t.Fatalf("the good client tells %v, %v", l, err)
	}
	return l
}

// beGood is the main function of that process: it sends NOOP a hundred times a second until its
// input ends. For each input line, it prints the response times, at least twenty.
func beGood(address string) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	c := &client{Conn: conn}
	for _, s := range [][2]string{{"", "* OK"}, {"a LOGIN " + user(0) + " \"" + password + "\"\r\n", "a OK"}, {"b SELECT INBOX\r\n", "b OK"}} {
		if err := c.say(s[0], s[1]); err != nil {
			return err
		}
	}
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		for in := bufio.NewReader(os.Stdin); ; {
			if _, err := in.ReadString('\n'); err != nil {
				return
			}
			asked <- struct{}{}
		}
	}()
	for {
		var l latencies
		for done := false; !done || len(l) < 20; {
			began := time.Now()
			if err := c.say("n NOOP\r\n", "n OK"); err != nil {
				return err
			}
			l = append(l, time.Since(began))
			time.Sleep(10 * time.Millisecond)
			if !done {
				select {
				case _, more := <-asked:
					if !more {
						return nil
					}
					done = true
				default:
				}
			}
		}
		if err := json.NewEncoder(os.Stdout).Encode(l); err != nil {
			return err
		}
	}
}
