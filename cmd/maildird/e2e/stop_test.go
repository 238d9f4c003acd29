package e2e

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"maildird/scripts/rig"
)

// mostOfStop is more than the 10 s that maildird allows its clients at the end, and much less
// than the time after which it would disconnect a silent one.
const mostOfStop = time.Minute

// stopPatience is how long maildird waits, from the signal on, for work in progress.
const stopPatience = 9 * time.Second

// TestStop: both signals end the server with status 0 in time, with BYE to IMAP clients, and a
// delivery in progress is completed.
func TestStop(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			for tries := 1; !stopInFlight(t, sig); tries++ {
				if tries == 5 {
					t.Fatalf("a message was not answered within %s five times", stopPatience)
				}
			}
		})
	}
}

// stopInFlight stops a server while it receives a message. It returns false, which proves
// nothing, if this machine was too slow for the rest of the message to be received in time.
func stopInFlight(t *testing.T, sig syscall.Signal) bool {
	t.Helper()
	port, err := rig.FreePort() // nobody uses it after the server has closed it
	if err != nil {
		t.Fatal(err)
	}
	m := start(t, `smtp        = ["127.0.0.1:0"]`, fmt.Sprintf(`smtp        = ["127.0.0.1:%d"]`, port))
	idle := dial(t, m.Address("imap"))
	lines := bufio.NewReader(idle)
	say(t, idle, lines, "", "* OK")
	say(t, idle, lines, fmt.Sprintf("a LOGIN %s %q\r\n", alice, password), "a OK")
	say(t, idle, lines, "b SELECT INBOX\r\n", "b OK")
	say(t, idle, lines, "c IDLE\r\n", "+")

	out := dial(t, m.Address("smtp"))
	replies := bufio.NewReader(out)
	say(t, out, replies, "", "220 ")
	say(t, out, replies, "HELO client.example\r\n", "250 ")
	say(t, out, replies, "MAIL FROM:<carol@example.net>\r\n", "250 ")
	say(t, out, replies, "RCPT TO:<"+bob+">\r\n", "250 ")
	say(t, out, replies, "DATA\r\n", "354 ")
	if _, err := fmt.Fprint(out, "Subject: in flight\r\n\r\nfirst half\r\n"); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := m.Process.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	say(t, idle, lines, "", "* BYE ")
	eventually(t, func() error {
		conn, err := net.Dial("tcp", m.Address("smtp"))
		if err == nil {
			_ = conn.Close()
			return fmt.Errorf("the server still accepts after %s", sig)
		}
		return nil
	})
	_, err = fmt.Fprint(out, "second half\r\n.\r\n")
	line := ""
	if err == nil {
		line, err = replies.ReadString('\n')
	}
	answered := strings.HasPrefix(line, "250 ")
	if took := time.Since(began); !answered && took < stopPatience {
		t.Fatalf("the second half was answered %q, %v after %s", line, err, took)
	}
	select {
	case <-m.Done():
	case <-time.After(patience):
		t.Fatalf("maildird still runs:\n%s", m.Log())
	}
	if took := time.Since(began); took > mostOfStop {
		t.Errorf("the stop took %s", took)
	}
	if code := m.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit status %d:\n%s", code, m.Log())
	}
	if !answered {
		return false
	}
	if _, text := find(t, m, bob, "in flight"); !strings.HasSuffix(string(text), "first half\nsecond half\n") {
		t.Errorf("delivered:\n%s", text)
	}
	return true
}

// TestStopWithHangingClients: a client that hangs in the middle of something does not keep
// the server from ending.
func TestStopWithHangingClients(t *testing.T) {
	t.Parallel()
	m := start(t)
	for service, text := range map[string]string{
		"imap": "a LOGIN {5}\r\nali", "submission": "EHLO x\r\nSTARTTLS\r\n", "submissions": "\x16\x03", "imaps": "", "lmtp": "LHLO x\r\nMAIL FR",
	} {
		if _, err := fmt.Fprint(dial(t, m.Address(service)), text); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	if err := m.Stop(patience); err != nil {
		t.Errorf("%v\n%s", err, m.Log())
	}
	if took := time.Since(began); took > mostOfStop {
		t.Errorf("the stop took %s", took)
	}
}
