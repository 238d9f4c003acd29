package message

import "strings"

// MessageIDs returns the message identifiers in a Message-ID, References or In-Reply-To
// field, without angle brackets and quoting, so that different spellings of the same
// identifier are equal (RFC 5256 section 3, REFERENCES). Anything else is skipped.
func MessageIDs(value string) []string {
	var ids []string
	for {
		i := strings.IndexByte(value, '<')
		if i < 0 {
			return ids
		}
		value = value[i+1:]
		id, rest, ok := messageID(value)
		if ok {
			ids = append(ids, id)
		}
		value = rest
	}
}

// messageID parses an identifier up to its ">".
func messageID(s string) (id, rest string, ok bool) {
	var b strings.Builder
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && quoted && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case c == '"':
			quoted = !quoted
		case c == '<' && !quoted:
			return "", s[i:], false // the previous one was not terminated
		case c == '>' && !quoted:
			id := b.String()
			at := strings.LastIndexByte(id, '@')
			return id, s[i+1:], at > 0 && at < len(id)-1
		case (c == ' ' || c == '\t' || c == '\r' || c == '\n') && !quoted:
		default:
			b.WriteByte(c)
		}
	}
	return "", "", false
}
