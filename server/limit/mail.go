package limit

import (
	"cmp"
	"sync"
	"time"
)

// Mail limits how much mail users send per hour, so that a stolen password cannot be used to
// flood others. A user can spend the allowance of an hour at once, and it is replenished
// continuously. Mail is safe for concurrent use.
type Mail struct {
	messages, recipients int // in an hour

	mu    sync.Mutex
	users map[string]*spent
}

// spent is what a user has used of the hourly allowance, as of a time.
type spent struct {
	messages, recipients float64
	at                   time.Time
}

// NewMail returns limits on messages and recipients per hour; 0 means the
// defaults, 1,000 and 10,000.
func NewMail(messages, recipients int) *Mail {
	return &Mail{messages: cmp.Or(messages, 1000), recipients: cmp.Or(recipients, 10_000), users: map[string]*spent{}}
}

// Message counts a message of a user and reports whether it is within the limit. A message
// beyond the limit is not counted.
func (m *Mail) Message(user string, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return take(&m.of(user, now).messages, m.messages)
}

// Recipient does the same for a recipient.
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

// of returns the record of a user as of now. m.mu must be held. There are at most as many
// records as users who have logged in.
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
