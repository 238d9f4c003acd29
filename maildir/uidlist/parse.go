package uidlist

import (
	"strconv"
	"strings"
)

// maxBase is the length in bytes of the longest file name.
const maxBase = 255

// parseHeader parses the first line. version is 0 if it has no usable UIDVALIDITY; sound is
// false if Dovecot would reject the line.
func parseHeader(line string) (h Header, version int, sound bool) {
	fields := strings.Fields(strings.TrimLeft(line, "\x00"))
	if len(fields) == 0 {
		return Header{}, 0, false
	}
	switch fields[0] {
	case "1":
		if len(fields) < 3 {
			fields = append(fields, "", "")
		}
		h.UIDValidity = number(fields[1])
		h.NextUID = number(fields[2])
		version = 1
	case "3":
		for _, field := range fields[1:] {
			switch value := field[1:]; field[0] {
			case 'V':
				h.UIDValidity = number(value)
			case 'N':
				h.NextUID = number(value)
			case 'G':
				h.GUID = value
			default:
				h.Extra = append(h.Extra, field)
			}
		}
		version = 3
	}
	if h.UIDValidity == 0 {
		return Header{}, 0, false
	}
	sound = h.NextUID != 0
	if h.GUID != "" && !isGUID(h.GUID) {
		h.GUID, sound = "", false
	}
	h.NextUID = max(h.NextUID, 1)
	return h, version, sound
}

// number parses a number from 1 to 2^32-1; it returns 0 for anything else.
func number(s string) uint32 {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}

func isGUID(s string) bool {
	if len(s) != 32 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return true
}

// leadingUID parses the UID at the start of a record; 0 if there is none. rest is what
// follows the space after it.
func leadingUID(line string) (uid uint32, rest string) {
	var n uint64
	for i := range len(line) {
		c := line[i]
		switch {
		case c >= '0' && c <= '9' && n <= MaxUID:
			n = n*10 + uint64(c-'0')
		case c == ' ' && n > 0 && n <= MaxUID:
			return uint32(n), line[i+1:]
		default:
			return 0, ""
		}
	}
	return 0, ""
}

// parseRecord parses a line after the first. cut reports that the colon was followed by
// more than a base. A CR at the end is not part of the name, as in Dovecot: the list was
// saved by an editor that ends lines with CR LF.
func parseRecord(line string, version int) (r Record, cut, ok bool) {
	uid, rest := leadingUID(strings.TrimSuffix(line, "\r"))
	if uid == 0 {
		return r, false, false
	}
	r = Record{UID: uid, Base: rest}
	if version == 3 {
		if rest = strings.TrimLeft(rest, " "); rest == "" {
			return Record{}, false, false
		}
		if rest[0] == ':' {
			r.Base = rest[1:]
		} else {
			var found bool
			if r.Ext, r.Base, found = strings.Cut(rest, " :"); !found {
				return Record{}, false, false
			}
			if r.Ext = strings.TrimRight(r.Ext, " "); strings.IndexByte(r.Ext, 0) >= 0 {
				return Record{}, false, false
			}
		}
	}
	// The flags of a name do not belong here, but other programs may have left them.
	if i := strings.IndexByte(r.Base, ':'); i >= 0 {
		r.Base, cut = r.Base[:i], true
	}
	return r, cut, writable(r)
}

// mergedUID returns the UID of a record that was appended to an unfinished line: for "12
// :1700.M13 :1701.M5.host", which is 12, cut off, and 13, it returns 13. Where the first
// record ends and the second begins cannot be determined; the shortest number above the UID
// of the first is correct if the writers assigned ascending UIDs. It returns 0 if the line
// is not of that kind.
func mergedUID(line string, uid uint32) uint32 {
	first, last := strings.Index(line, " :"), strings.LastIndex(line, " :")
	if first == last {
		return 0
	}
	head := line[:last]
	for {
		i := strings.LastIndexByte(head, ' ')
		if i <= first || i+1 == len(head) || head[i+1] < 'A' || head[i+1] > 'Z' {
			break
		}
		head = head[:i] // a field of the second record
	}
	for i := len(head) - 1; i >= 0 && head[i] >= '0' && head[i] <= '9'; i-- {
		if n := number(head[i:]); head[i] != '0' && n > uid && n <= MaxUID {
			return n
		}
	}
	return 0
}

func validBase(base string) bool {
	if base == "" || len(base) > maxBase || base[len(base)-1] == '\r' {
		return false
	}
	for _, c := range []byte("/\x00:\n") {
		if strings.IndexByte(base, c) >= 0 {
			return false
		}
	}
	return true
}

func appendHeader(b []byte, h Header) []byte {
	b = append(b, "3 V"...)
	b = strconv.AppendUint(b, uint64(h.UIDValidity), 10)
	b = append(b, " N"...)
	b = strconv.AppendUint(b, uint64(h.NextUID), 10)
	b = append(b, " G"...)
	b = append(b, h.GUID...)
	for _, field := range h.Extra {
		b = append(b, ' ')
		b = append(b, field...)
	}
	return append(b, '\n')
}

func appendRecord(b []byte, r Record) []byte {
	b = strconv.AppendUint(b, uint64(r.UID), 10)
	if r.Ext != "" {
		b = append(b, ' ')
		b = append(b, r.Ext...)
	}
	b = append(b, " :"...)
	b = append(b, r.Base...)
	return append(b, '\n')
}

// writable reports whether a record can be written to the list and is read back unchanged.
func writable(r Record) bool {
	return r.UID > 0 && r.UID <= MaxUID && validBase(r.Base) && (r.Ext == "" || writableExt(r))
}

func writableExt(r Record) bool {
	return len("4294967294 ")+len(r.Ext)+len(" :")+len(r.Base) <= maxLine &&
		!strings.ContainsAny(r.Ext, "\n\x00") && !strings.Contains(r.Ext, " :") &&
		!strings.HasPrefix(r.Ext, ":") && strings.Trim(r.Ext, " ") == r.Ext
}
