package syntax

import (
	"bytes"
	"time"
)

// Date takes a date as an atom or a string. The day has one or two digits, or a space and one
// digit. The result is midnight in UTC.
func (lx *Lexer) Date() time.Time {
	var b []byte
	if c := lx.Peek(); c == '"' || c == '{' {
		b = bytes.TrimLeft(lx.Str(), " ")
	} else {
		b = lx.nonEmpty(classAtom, "a date")
	}
	if lx.err != nil {
		return time.Time{}
	}
	p := dateParser{rest: b}
	y, m, d := p.date()
	if p.failed || len(p.rest) > 0 {
		lx.Fail("Expected a date such as 1-Feb-1994.")
		return time.Time{}
	}
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
}

// DateTime takes a quoted date-time. It also accepts the form of RFC 1730, which old
// clients use, with a two-digit year and a zone that is a name or follows a '-', and a zone
// as in RFC 3339.
func (lx *Lexer) DateTime() time.Time {
	b := lx.Quoted()
	if lx.err != nil {
		return time.Time{}
	}
	t, ok := parseDateTime(b)
	if !ok {
		lx.Fail("Expected a date such as \" 1-Feb-1994 21:52:25 -0800\".")
	}
	return t
}

// DateTime writes a date in the form of INTERNALDATE, with seconds and in its own zone.
func (w *Writer) DateTime(t time.Time) { w.buf = AppendDateTime(w.Reserve(64), t) }

// AppendDateTime appends a date in the form of Writer.DateTime.
func AppendDateTime(b []byte, t time.Time) []byte {
	if y := t.Year(); y < 0 || y > 9999 {
		t = time.Unix(0, 0) // the grammar has four digits
	}
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	_, zone := t.Zone()
	sign := byte('+')
	if zone < 0 {
		sign, zone = '-', -zone
	}
	zone /= 60
	b = append(b, '"')
	if day < 10 {
		b = append(b, ' ', byte('0'+day))
	} else {
		b = appendTwoDigits(b, day)
	}
	b = append(append(append(b, '-'), month.String()[:3]...), '-')
	b = append(appendTwoDigits(appendTwoDigits(b, year/100), year%100), ' ')
	b = append(appendTwoDigits(b, hour), ':')
	b = append(appendTwoDigits(b, minute), ':')
	b = append(appendTwoDigits(b, second), ' ', sign)
	return append(appendTwoDigits(appendTwoDigits(b, zone/60), zone%60), '"')
}

func appendTwoDigits(b []byte, n int) []byte { return append(b, byte('0'+n/10), byte('0'+n%10)) }

func parseDateTime(b []byte) (time.Time, bool) {
	p := dateParser{rest: bytes.TrimSpace(b)}
	y, m, d := p.date()
	p.take(' ')
	hour := p.number(1, 2, 23)
	p.take(':')
	minute := p.number(2, 2, 59)
	p.take(':')
	second := p.number(2, 2, 60)
	offset := p.zone()
	if p.failed || len(p.rest) > 0 {
		return time.Time{}, false
	}
	zone := time.UTC
	if offset != 0 {
		zone = time.FixedZone("", offset)
	}
	return time.Date(y, m, d, hour, minute, second, 0, zone), true
}

// dateParser takes a date apart; after an error failed is set.
type dateParser struct {
	rest   []byte
	failed bool
}

func (p *dateParser) take(c byte) {
	if p.failed || len(p.rest) == 0 || p.rest[0] != c {
		p.failed = true
		return
	}
	p.rest = p.rest[1:]
}

func (p *dateParser) number(least, most, limit int) int {
	n, i := 0, 0
	for ; i < len(p.rest) && i < most && p.rest[i] >= '0' && p.rest[i] <= '9'; i++ {
		n = n*10 + int(p.rest[i]-'0')
	}
	p.rest = p.rest[i:]
	if i < least || n > limit {
		p.failed = true
	}
	return n
}

const monthNames = "JANFEBMARAPRMAYJUNJULAUGSEPOCTNOVDEC"

func (p *dateParser) date() (year int, month time.Month, day int) {
	day = p.number(1, 2, 31)
	p.take('-')
	if len(p.rest) < 3 {
		p.failed = true
		return 0, 0, 0
	}
	for m := range 12 {
		if EqualFold(p.rest[:3], monthNames[3*m:3*m+3]) {
			month = time.Month(m + 1)
		}
	}
	p.rest = p.rest[3:]
	p.take('-')
	before := len(p.rest)
	year = p.number(2, 4, 9999)
	switch before - len(p.rest) {
	case 4:
	case 2:
		year += 1900
		if year < 1970 {
			year += 100
		}
	default:
		p.failed = true
	}
	// The calendar is asked whether the month has that day.
	if month == 0 || day == 0 || time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Day() != day {
		p.failed = true
	}
	return year, month, day
}

// zone takes " +hhmm" or " +hh:mm", and of the old forms "-GMT" or " EST" and
// " hhmm" behind '-'. It returns seconds east of UTC.
func (p *dateParser) zone() int {
	if len(p.rest) == 0 || (p.rest[0] != ' ' && p.rest[0] != '-') {
		p.failed = true
		return 0
	}
	if p.rest[0] == ' ' {
		p.rest = bytes.TrimLeft(p.rest, " ")
	} else if len(p.rest) > 1 && (p.rest[1] < '0' || p.rest[1] > '9') {
		p.rest = p.rest[1:]
	}
	if len(p.rest) == 0 {
		p.failed = true
		return 0
	}
	sign := 1
	switch p.rest[0] {
	case '-':
		sign = -1
		fallthrough
	case '+':
		p.rest = p.rest[1:]
		hours := p.number(2, 2, 23)
		if len(p.rest) > 0 && p.rest[0] == ':' {
			p.rest = p.rest[1:]
		}
		return sign * (hours*3600 + p.number(2, 2, 59)*60)
	}
	offset, ok := zoneNames[string(bytes.ToUpper(p.rest))]
	if !ok {
		p.failed = true
	}
	p.rest = nil
	return offset * 3600
}

// zoneNames are the named zones of RFC 822 section 5.1, in hours.
var zoneNames = map[string]int{
	"UT": 0, "UTC": 0, "GMT": 0, "Z": 0,
	"EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7,
}
