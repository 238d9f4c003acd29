package quota

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"maildird/maildir/dirfd"
	"maildird/maildir/maildirsize"
)

// site is a Maildir with two folders of messages.
type site struct {
	t    *testing.T
	path string
	now  time.Time
	q    *Quota
}

func newSite(t *testing.T) *site {
	s := &site{t: t, path: t.TempDir(), now: time.Now()}
	for _, folder := range []string{"", ".Sent", ".Sent.Old"} {
		for _, sub := range []string{"cur", "new", "tmp"} {
			s.must(os.MkdirAll(filepath.Join(s.path, folder, sub), 0o700))
		}
	}
	root, err := dirfd.Open(s.path)
	s.must(err)
	t.Cleanup(func() { _ = root.Close() })
	s.q = New(root, slog.New(slog.DiscardHandler), func() time.Time { return s.now })
	return s
}

func (s *site) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) put(path, text string) {
	s.t.Helper()
	s.must(os.WriteFile(filepath.Join(s.path, path), []byte(text), 0o600))
}

func (s *site) want(bytes, messages int64) {
	s.t.Helper()
	u, err := s.q.Usage()
	if err != nil || u.Bytes != bytes || u.Messages != messages {
		s.t.Errorf("usage %+v (%v), want %d bytes in %d messages", u, err, bytes, messages)
	}
}

func (s *site) file() string {
	text, err := os.ReadFile(filepath.Join(s.path, "maildirsize"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// TestCounted: a configured limit creates the file, with what all folders contain.
func TestCounted(t *testing.T) {
	s := newSite(t)
	s.put("cur/1.a:2,S", "12345")
	s.put("new/2.b,S=100", "compressed")
	s.put(".Sent.Old/cur/3.c:2,ST", "1")
	s.put("tmp/4.d", "not yet")
	s.want(0, 0) // nobody asked for it
	s.q.Configure(Limit{Bytes: 1000, Messages: 4})
	s.want(106, 3)
	if got := s.file(); got != "1000S,4C\n106 3\n" {
		t.Errorf("maildirsize %q", got)
	}
	for _, c := range []struct {
		bytes, messages int64
		fits, never     bool
	}{{894, 1, true, false}, {895, 1, false, false}, {0, 1, true, false}, {0, 2, false, false}, {1000, 1, false, false}, {1001, 1, false, true}} {
		if err := s.q.Room(c.bytes, c.messages); errors.Is(err, ErrOver) == c.fits || errors.Is(err, ErrNever) != c.never {
			t.Errorf("room for %d bytes in %d messages: %v", c.bytes, c.messages, err)
		}
	}
	// Another limit.
	s.q.Configure(Limit{Bytes: 2000})
	s.want(106, 3)
	if got := s.file(); got != "2000S\n106 3\n" {
		t.Errorf("maildirsize %q", got)
	}
	// The file's limit applies if none is configured.
	s.q.Configure(Limit{})
	if u, err := s.q.Usage(); err != nil || u.Limit != (Limit{Bytes: 2000}) {
		t.Errorf("%+v, %v", u, err)
	}
}

// TestTrust: when the sum is trusted, and when all folders are counted again.
func TestTrust(t *testing.T) {
	const old, fresh = time.Hour, time.Second
	for name, c := range map[string]struct {
		file    string
		age     time.Duration
		room    int64 // that is asked for
		counted bool
	}{
		"a sum":                     {"1000S\n500 7\n", old, 400, false},
		"several lines":             {"1000S\n500 7\n-50 -1\n", old, 400, false},
		"full, just counted":        {"1000S\n1000 7\n", fresh, 1, false},
		"full, counted long ago":    {"1000S\n1000 7\n", old, 1, true},
		"full, the clock was set":   {"1000S\n1000 7\n", -old, 1, true},
		"full, with more lines":     {"1000S\n900 7\n100 1\n", fresh, 1, true},
		"over at once":              {"1000S\n500 7\n", fresh, 501, false},
		"long":                      {"1000S\n500 7\n" + strings.Repeat("1 1\n", maildirsize.LongFile/4), fresh, 1, true},
		"damaged":                   {"1000S\nhello\n", fresh, 1, true},
		"not a sum that can be":     {"1000S\n-500 7\n", fresh, 1, true},
		"another limit than before": {"1001S\n500 7\n", fresh, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.q.Configure(Limit{Bytes: 1000})
			s.put("cur/1.a:2,S", "12345")
			s.put("maildirsize", c.file)
			when := s.now.Add(-c.age)
			s.must(os.Chtimes(filepath.Join(s.path, "maildirsize"), when, when))
			err := s.q.Room(c.room, 1)
			if counted := s.file() == "1000S\n5 1\n"; counted != c.counted || counted && err != nil {
				t.Errorf("maildirsize is %q, error %v", s.file(), err)
			}
		})
	}
}

// TestUnreadable: mail is not refused because the usage cannot be determined.
func TestUnreadable(t *testing.T) {
	s := newSite(t)
	s.q.Configure(Limit{Bytes: 1})
	s.must(os.Remove(filepath.Join(s.path, ".Sent", "cur")))
	s.must(os.Mkdir(filepath.Join(s.path, "maildirsize"), 0o700))
	if err := s.q.Room(2, 1); !errors.Is(err, ErrOver) {
		t.Error(err)
	}
	s.put("cur/1.a:2,S", "12345")
	for i := range 101 { // deeper than a Maildir can be
		s.path = filepath.Join(s.path, fmt.Sprint("d", i))
		s.must(os.Mkdir(s.path, 0o700))
	}
	if _, err := s.q.Usage(); err == nil {
		t.Error("no error")
	}
	if err := s.q.Room(2, 1); err != nil {
		t.Error(err)
	}
}

// TestWords: the error says what the limit is.
func TestWords(t *testing.T) {
	s := newSite(t)
	for limit, want := range map[Limit]string{
		{Bytes: 100}:               "the limit is 100 bytes, and 200 bytes would be added",
		{Bytes: 100, Messages: 10}: "the limit is 100 bytes and 10 messages, and",
	} {
		s.q.Configure(limit)
		if err := s.q.Room(200, 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
}

// TestRoomInPlaceOfOthers: what needs no more than is removed for it has room in a Maildir
// that is over its limit; what needs more has not.
func TestRoomInPlaceOfOthers(t *testing.T) {
	s := newSite(t)
	s.put("cur/1.a:2,S", strings.Repeat("x", 500))
	s.q.Configure(Limit{Bytes: 100, Messages: 1})
	for _, test := range []struct {
		bytes, messages int64
		over            bool
	}{{0, 0, false}, {-10, 0, false}, {1, 0, true}, {0, 1, true}, {-10, 1, true}} {
		if err := s.q.Room(test.bytes, test.messages); errors.Is(err, ErrOver) != test.over {
			t.Errorf("%d bytes and %d messages more: %v", test.bytes, test.messages, err)
		}
	}
}
