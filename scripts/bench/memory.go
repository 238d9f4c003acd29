package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"
)

const (
	idlers     = 2000 // connections in IDLE at the same time
	idleBoxes  = 20   // mailboxes that they have selected
	idleMail   = 1000 // messages in each of them, or as many as exist
	idleSettle = 15 * time.Second
)

var idleMemory = &workload{
	name: "memory",
	once: true,
	rows: []row{{name: "PSS of the server per connection, 2,000 in IDLE, mailbox selected", unit: kibibytes, limit: 40}},
	run: func(ctx context.Context, b *bench, s *server) ([]float64, *answer, error) {
		// Use a fresh server, so that memory left over from before is neither
		// counted nor reused.
		c, err := restarted(ctx, s) // the login creates the Maildir
		if err != nil {
			return nil, nil, err
		}
		_, err = c.do("STATUS INBOX (MESSAGES)")
		c.close()
		if err != nil {
			return nil, nil, err
		}
		var boxes []string
		for range idleBoxes {
			name, err := b.smallFolder(s)
			if err != nil {
				return nil, nil, err
			}
			boxes = append(boxes, name)
		}
		for i := range idlers {
			c, err := dialIMAP(s)
			if err != nil {
				return nil, nil, fmt.Errorf("connection %d: %w", i+1, err)
			}
			defer c.close()
			if _, err := c.do("SELECT %s", boxes[i%idleBoxes]); err != nil {
				return nil, nil, fmt.Errorf("connection %d: %w", i+1, err)
			}
			if err := c.idle(); err != nil {
				return nil, nil, fmt.Errorf("connection %d: %w", i+1, err)
			}
			if ctx.Err() != nil {
				return nil, nil, ctx.Err()
			}
		}
		select { // a server may release what it needed to enter IDLE
		case <-time.After(idleSettle):
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
		// Count all memory, including what the server uses without a connection: this way,
		// memory that was used before, such as for hashing a password, cannot hide a part.
		size, err := s.proportionalSize()
		return []float64{float64(size) / 1024 / idlers}, nil, err
	},
}

// smallFolder creates a new folder of the reader with the first messages of the corpus.
func (b *bench) smallFolder(s *server) (string, error) {
	b.folders++
	name := fmt.Sprintf("F%d", b.folders)
	path := filepath.Join(s.home(reader), "."+name)
	return name, linkSome(b.corpus, path, idleMail)
}
