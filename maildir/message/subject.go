package message

import "strings"

// BaseSubject removes from a subject what replying and forwarding added (RFC 5256 section
// 2.1), and reports whether there was any of that. raw may contain encoded words; the
// result is UTF-8.
func BaseSubject(raw string) (base string, reply bool) {
	s := strings.Join(strings.FieldsFunc(DecodeHeader(raw), isSubjectSpace), " ")
	for {
		var trimmed, lead bool
		s, trimmed = trimTrailers(s)
		s, lead = trimLeaders(s)
		reply = reply || trimmed || lead
		inner, forwarded := forwardedSubject(s)
		if !forwarded {
			return s, reply
		}
		s, reply = inner, true
	}
}

func isSubjectSpace(r rune) bool { return r == ' ' || r == '\t' || r == '\r' || r == '\n' }

// trimTrailers removes "(fwd)" and white space from the end.
func trimTrailers(s string) (rest string, found bool) {
	const trailer = "(fwd)"
	for {
		s = strings.TrimRight(s, " ")
		n := len(s) - len(trailer)
		if n < 0 || !strings.EqualFold(s[n:], trailer) {
			return s, found
		}
		s, found = s[:n], true
	}
}

// trimLeaders removes "Re:", "Fwd:", "[list] Re[2]:" and so on from the front, and "[list]"
// if something is left. It examines each "[list]" only once, because the sender decides how
// many there are.
func trimLeaders(s string) (rest string, found bool) {
	for {
		s = strings.TrimLeft(s, " ")
		start, last := s, s
		for after, more := subjectBlob(start); more; after, more = subjectBlob(start) {
			start, last = after, start
		}
		t, ok := replyMark(start)
		switch {
		case ok:
			s, found = t, true
		case start == "":
			return last, found
		default:
			return start, found
		}
	}
}

// subjectBlob removes "[...]" and the white space after it from the front.
func subjectBlob(s string) (rest string, ok bool) {
	if !strings.HasPrefix(s, "[") {
		return s, false
	}
	i := strings.IndexAny(s[1:], "[]")
	if i < 0 || s[1+i] != ']' {
		return s, false
	}
	return strings.TrimLeft(s[i+2:], " "), true
}

// replyMark removes "Re", "Fw" or "Fwd", a blob if there is one, and the colon.
func replyMark(s string) (rest string, ok bool) {
	for _, mark := range []string{"re", "fwd", "fw"} {
		if len(s) < len(mark) || !strings.EqualFold(s[:len(mark)], mark) {
			continue
		}
		t := strings.TrimLeft(s[len(mark):], " ")
		t, _ = subjectBlob(t)
		if t, ok = strings.CutPrefix(t, ":"); ok {
			return t, true
		}
	}
	return s, false
}

// forwardedSubject returns what is inside "[fwd: ...]".
func forwardedSubject(s string) (inner string, ok bool) {
	const head = "[fwd:"
	if len(s) <= len(head) || !strings.EqualFold(s[:len(head)], head) || !strings.HasSuffix(s, "]") {
		return s, false
	}
	return s[len(head) : len(s)-1], true
}
