package message

import (
	"strings"
	"time"
)

// ParseDate parses a date as found in mail: RFC 5322 section 3.3 with its obsolete forms
// (named zones, two-digit years, comments), also without the day name, without seconds, or
// with hyphens, as written by some programs.
func ParseDate(text string) (time.Time, bool) {
	s := &scanner{text: text}
	word := func() string {
		s.space()
		w := s.while(func(c byte) bool { return c > ' ' && c != ',' && c != '(' && c != '-' && c != '/' })
		s.space()
		for s.accept(',') || s.accept('-') || s.accept('/') {
			s.space()
		}
		return w
	}
	day := word()
	if _, ok := decimal(day, 2); !ok {
		day = word() // the first word was the name of the day
	}
	d, ok1 := decimal(day, 2)
	month, ok2 := monthNamed(word())
	y, ok3 := decimal(word(), 4)
	if !ok1 || !ok2 || !ok3 {
		return time.Time{}, false
	}
	switch { // RFC 5322 section 4.3
	case y < 50:
		y += 2000
	case y < 1000:
		y += 1900
	}
	s.space()
	h, m, sec, ok := clock(s.while(func(c byte) bool { return c >= '0' && c <= ':' || c == '.' }))
	if !ok {
		return time.Time{}, false
	}
	s.space()
	zone := zoneSeconds(s.while(func(c byte) bool { return c > ' ' && c != '(' }))
	if time.Date(y, month, d, 0, 0, 0, 0, time.UTC).Day() != d {
		return time.Time{}, false // such as 31 June
	}
	return time.Date(y, month, d, h, m, sec, 0, time.FixedZone("", zone)), true
}

// decimal parses a number of at most digits digits.
func decimal(s string, digits int) (int, bool) {
	if s == "" || len(s) > digits {
		return 0, false
	}
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, true
}

func monthNamed(s string) (time.Month, bool) {
	if len(s) < 3 {
		return 0, false
	}
	i := strings.Index("janfebmaraprmayjunjulaugsepoctnovdec", strings.ToLower(s[:3]))
	return time.Month(i/3 + 1), i >= 0 && i%3 == 0
}

// clock parses "15:04" or "15:04:05", also with dots.
func clock(s string) (h, m, sec int, ok bool) {
	f := strings.FieldsFunc(s, func(r rune) bool { return r == ':' || r == '.' })
	if len(f) < 2 || len(f) > 3 {
		return 0, 0, 0, false
	}
	h, ok1 := decimal(f[0], 2)
	m, ok2 := decimal(f[1], 2)
	ok3 := true
	if len(f) == 3 {
		sec, ok3 = decimal(f[2], 2)
	}
	return h, m, sec, ok1 && ok2 && ok3 && h < 24 && m < 60 && sec <= 60
}

// zoneSeconds parses a time zone; an unknown one is UTC (RFC 5322 section 4.3).
func zoneSeconds(s string) int {
	if len(s) == 5 && (s[0] == '+' || s[0] == '-') {
		h, ok1 := decimal(s[1:3], 2)
		m, ok2 := decimal(s[3:], 2)
		if !ok1 || !ok2 || h > 23 || m > 59 {
			return 0
		}
		n := h*3600 + m*60
		if s[0] == '-' {
			n = -n
		}
		return n
	}
	switch strings.ToUpper(s) {
	case "EST", "CDT":
		return -5 * 3600
	case "EDT":
		return -4 * 3600
	case "CST", "MDT":
		return -6 * 3600
	case "MST", "PDT":
		return -7 * 3600
	case "PST":
		return -8 * 3600
	}
	return 0
}
