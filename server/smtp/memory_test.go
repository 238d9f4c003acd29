package smtp

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"maildird/server/limit"
)

// TestRecipientsAreBounded: the recipients of messages that clients do not complete take a limited
// amount of memory, and leave room for a few recipients of every other message.
func TestRecipientsAreBounded(t *testing.T) {
	ts := startServer(t, MX, withAliases(t, "both alice, bob"))
	const room = 100_000
	ts.held.Store(sharedMemory - room)
	detail := strings.Repeat("d", 400)
	hoard := ts.hello()
	hoard.say("MAIL FROM:<s@client.example>", "250")
	accepted := 0
	for ; ; accepted++ {
		hoard.send(fmt.Sprintf("RCPT TO:<alice+%d%s@example.org>\r\n", accepted, detail))
		reply, err := hoard.in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(reply, "452 4.5.3 ") {
			break
		}
	}
	// Each takes what it has in the transaction and in four fields of its copy.
	if most := (room + ownMemory) / (4 * len(detail)); accepted < most/4 || accepted > most {
		t.Errorf("%d recipients were accepted, want %d to %d", accepted, most/4, most)
	}
	if got := ts.log.String(); strings.Count(got, "too many recipients of messages in progress") != 1 {
		t.Errorf("the log does not tell of it once: %s", got)
	}
	other := ts.hello()
	other.begin("bob@example.org", "both@example.org", "alice+1@example.org", "alice+2@example.org", "bob+3@example.org")
	other.say("x\r\n.", "250")

	// When the transaction is over, or the connection lost, there is room again.
	hoard.say("RSET", "250")
	hoard.say("MAIL FROM:<s@client.example>", "250")
	for i := range accepted {
		hoard.say(fmt.Sprintf("RCPT TO:<alice+%d%s@example.org>", i, detail), "250")
	}
	_ = hoard.conn.Close()
	eventually(t, "there is room again", func() bool { return ts.held.Load() == sharedMemory-room })
}

// TestSpacesAreNotKept: what follows a recipient on its line takes no memory.
func TestSpacesAreNotKept(t *testing.T) {
	ts := startServer(t, MX)
	c := ts.hello()
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	c.say("MAIL FROM:<s@client.example>", "250")
	line, most := "RCPT TO:<postmaster>"+strings.Repeat(" ", 4000), ts.cfg.Limits.Recipients
	before := heap()
	for range most {
		c.say(line, "250")
	}
	if grown := heap() - before; grown > int64(most*len(line)/4) {
		t.Errorf("%d recipients take %d bytes", most, grown)
	}
}

// TestRelayedAreBounded: so are recipients in other domains, and those whom the relay refuses take
// nothing.
func TestRelayedAreBounded(t *testing.T) {
	ts := startServer(t, Submission, withRelay(t, newRelay(t, map[string]string{"RCPT TO:<no": "550 5.1.1 No"})))
	c := ts.submit()
	long := strings.Repeat("d", 400) + "@there.example"
	ts.held.Store(sharedMemory)
	c.say("MAIL FROM:<alice@example.org>", "250")
	for range 10 {
		c.say("RCPT TO:<no"+long+">", "550")
	}
	accepted := 0
	for ; ; accepted++ {
		c.send(fmt.Sprintf("RCPT TO:<%d%s>\r\n", accepted, long))
		if c.answer() == "452" {
			break
		}
	}
	if most := ownMemory / (2 * len(long)); accepted < most/2 || accepted > most {
		t.Errorf("%d recipients were accepted, want %d to %d", accepted, most/2, most)
	}
	c.say("RSET", "250")
	if got := ts.held.Load(); got != sharedMemory {
		t.Errorf("%d octets are left", got-sharedMemory)
	}
}

// TestRefusedTakeNoMemory: a recipient who is refused because the user has named too many in an
// hour does not count as one of a message in progress.
func TestRefusedTakeNoMemory(t *testing.T) {
	ts := startServer(t, Submission, func(c *Config) { c.Mail = limit.NewMail(100, 2) })
	c := ts.submit()
	c.say("MAIL FROM:<alice@example.org>", "250")
	detail := strings.Repeat("d", 400)
	for i := range 50 {
		want := "250"
		if i >= 2 {
			want = "450 4.7.1"
		}
		c.say(fmt.Sprintf("RCPT TO:<bob+%d%s@example.org>", i, detail), want)
	}
	if held := ts.held.Load(); held != 0 { // two take no more than each session has
		t.Errorf("%d octets are held for two recipients", held)
	}
}
