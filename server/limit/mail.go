package limit

import (
	"cmp"
	"sync"
	"time"
)

// Mail bounds how much mail users send in an hour: a stolen password is not to
// bury everybody. Each user has an hour's worth to spend at once, and it grows
// back evenly. Safe for concurrent use.
type Mail struct {
	messages, recipients int // in an hour

	mu    sync.Mutex
	users map[string]*spent
}

// spent is what a user used of an hour's worth, as of then.
type spent struct {
	messages, recipients float64
	at                   time.Time
}

// NewMail returns limits of messages and recipients in an hour; 0 is the
// default: 1,000 and 10,000.
func NewMail(messages, recipients int) *Mail {
	return &Mail{messages: cmp.Or(messages, 1000), recipients: cmp.Or(recipients, 10_000), users: map[string]*spent{}}
}

// Message counts a message of a user and tells whether it is within the limit;
// one that is not does not count.
func (m *Mail) Message(user string, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return take(&m.of(user, now).messages, m.messages)
}

// Recipient counts a recipient likewise.
func (m *Mail) Recipient(user string, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return take(&m.of(user, now).recipients, m.recipients)
}

func take(spent *float64, limit int) bool {
	if *spent+1 > float64(limit) {
		return false
	}
	*spent++
	return true
}

// of returns the account of a user as of now. m.mu is held. There are no more
// of them than users who logged in.
func (m *Mail) of(user string, now time.Time) *spent {
	s := m.users[user]
	if s == nil {
		s = &spent{at: now}
		m.users[user] = s
	}
	if d := now.Sub(s.at); d > 0 {
		s.messages = max(0, s.messages-d.Hours()*float64(m.messages))
		s.recipients = max(0, s.recipients-d.Hours()*float64(m.recipients))
		s.at = now
	}
	return s
}
