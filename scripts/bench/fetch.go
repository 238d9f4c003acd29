package main

import "context"

// thunderbirdHeaders is what Thunderbird 153 fetches of every new message.
const thunderbirdHeaders = "(UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From To Cc Bcc Subject Date Message-ID " +
	"Priority X-Priority References Newsgroups In-Reply-To Content-Type Reply-To Received)])"

var fetchFlags = fetch("FLAGS", "(FLAGS)", false, 0.5)
var fetchSizes = fetch("UID FLAGS INTERNALDATE RFC822.SIZE", "(UID FLAGS INTERNALDATE RFC822.SIZE)", false, 0.3)
var fetchHeaders = fetch("Thunderbird's headers", thunderbirdHeaders, false, 0.5)
var fetchEnvelope = fetch("ENVELOPE", "(ENVELOPE)", false, 0.25)
var fetchStructure = fetch("BODYSTRUCTURE", "(BODYSTRUCTURE)", true, 0.7)

// fetch returns a workload that fetches items of all messages of a folder twice. The folder is
// new to the server. With fold, case in the response is ignored.
func fetch(name, items string, fold bool, second float64) *workload {
	return &workload{
		name: "fetch " + name,
		rows: []row{
			{name: name + ", first", unit: millis, target: 0.5},
			{name: name + ", second", unit: millis, target: second},
		},
		run: func(_ context.Context, b *bench, s *server) ([]float64, *answer, error) {
			return fetchTwice(b, s, items, fold)
		},
	}
}

func fetchTwice(b *bench, s *server, items string, fold bool) (values []float64, a *answer, err error) {
	c, _, _, err := b.selected(s)
	if err != nil {
		return nil, nil, err
	}
	defer c.close()
	c.reserve(b.octets * 3 / 2)
	for range 2 {
		ms, data, err := c.timed("UID FETCH 1:* %s", items)
		if err != nil {
			return nil, nil, err
		}
		values = append(values, ms)
		if a, err = fetched(data, fold); err != nil {
			return nil, nil, err
		}
	}
	return values, a, nil
}

var fetchBodies = &workload{
	name: "fetch bodies",
	rows: []row{
		{name: "all bodies, first", unit: megabytes, target: 2},
		{name: "all bodies, second", unit: megabytes, target: 2},
	},
	run: func(_ context.Context, b *bench, s *server) ([]float64, *answer, error) {
		values, a, err := fetchTwice(b, s, "(UID RFC822.SIZE BODY.PEEK[])", false)
		for i, ms := range values {
			values[i] = float64(b.octets) / 1e6 / (ms / 1e3)
		}
		return values, a, err
	},
}

// fetchAfterRestart measures what is kept when the server stops: only the files of the Maildir
// and what a server stores next to them.
var fetchAfterRestart = &workload{
	name: "fetch after restart",
	rows: []row{
		{name: "Thunderbird's headers, after a restart", unit: millis, target: 0.5},
		{name: "SEARCH SUBJECT, after a restart", unit: millis, target: 0.7},
	},
	run: func(ctx context.Context, b *bench, s *server) ([]float64, *answer, error) {
		c, name, _, err := b.selected(s)
		if err != nil {
			return nil, nil, err
		}
		_, err = c.do("UID FETCH 1:* %s", thunderbirdHeaders)
		c.close()
		if err != nil {
			return nil, nil, err
		}
		if c, err = restarted(ctx, s); err != nil {
			return nil, nil, err
		}
		defer c.close()
		if _, err := c.do("SELECT %s", name); err != nil {
			return nil, nil, err
		}
		c.reserve(b.octets) // otherwise the growth of its buffer would be measured
		headers, data, err := c.timed("UID FETCH 1:* %s", thunderbirdHeaders)
		if err != nil {
			return nil, nil, err
		}
		a, err := fetched(data, false)
		if err != nil {
			return nil, nil, err
		}
		subject, data, err := c.timed(`UID SEARCH SUBJECT "team release"`)
		a.lines = append(a.lines, found(data).lines...)
		return []float64{headers, subject}, a, err
	},
}
