package config

import (
	"math"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// addresses converts a string or a list of strings.
func (c *checker) addresses(key string, in any) []Address {
	var list []string
	switch v := in.(type) {
	case nil:
	case string:
		list = []string{v}
	case []any:
		for _, one := range v {
			s, ok := one.(string)
			if !ok {
				c.wrong(key, "%v is not a string with an address, such as \"127.0.0.1:2143\"", one)
				continue
			}
			list = append(list, s)
		}
	default:
		c.wrong(key, "must be an address or a list of addresses")
	}
	var out []Address
	for _, s := range list {
		if path, ok := strings.CutPrefix(s, "unix:"); ok {
			switch {
			case key != "listen.lmtp":
				c.wrong(key, "%q: only lmtp can listen on a Unix socket", s)
			case path == "":
				c.wrong(key, "%q does not name a socket, such as \"unix:lmtp.sock\"", s)
			case len(c.abs(path)) > maxSocketPath:
				c.wrong(key, "%q is longer than %d bytes, the limit for the path of a socket", c.abs(path), maxSocketPath)
			}
			out = append(out, Address{"unix", c.abs(path)})
			continue
		}
		host, port, err := net.SplitHostPort(s)
		if err != nil {
			or := ""
			if key == "listen.lmtp" {
				or = ", nor a Unix socket, such as \"unix:lmtp.sock\""
			}
			c.wrong(key, "%q is not an address and a port, such as \"127.0.0.1:2143\" or \":143\"%s", s, or)
		} else if _, err := netip.ParseAddr(host); host != "" && err != nil && !hostName(strings.ToLower(host)) {
			c.wrong(key, "%q begins with neither an address nor a host name; to listen on all addresses of this machine, write \":%s\"", s, port)
		} else if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			c.wrong(key, "%q has no port number from 0 to 65535", s)
		}
		out = append(out, Address{"tcp", s})
	}
	return out
}

// maxSocketPath is the limit of Linux in bytes (sockaddr_un, unix(7)).
const maxSocketPath = 107

// choice checks a word. The first possible one is the default.
func (c *checker) choice(key, v string, possible ...string) string {
	if v == "" {
		return possible[0]
	}
	if !slices.Contains(possible, v) {
		c.wrong(key, "%q is not one of \"%s\"", v, strings.Join(possible, "\", \""))
	}
	return v
}

func (c *checker) positive(key string, v *int, otherwise int) int {
	if v == nil {
		return otherwise
	}
	if *v <= 0 {
		c.wrong(key, "%d is not greater than 0", *v)
	}
	return *v
}

// size parses "50MiB", "1GiB", "4194304", and "0" if that is not less than least. It refuses a small
// number without a unit, which was probably forgotten.
func (c *checker) size(key, v string, otherwise, least int64) int64 {
	if v == "" {
		return otherwise
	}
	digits := strings.TrimRight(v, "BKMGTikmgtb ")
	unit := strings.TrimSpace(v[len(digits):])
	shift, ok := map[string]uint{"": 0, "B": 0, "KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40}[unit]
	n, err := strconv.ParseInt(digits, 10, 64)
	if !ok || err != nil || n < least || n > math.MaxInt64>>shift {
		c.wrong(key, "%q is not a size, such as \"50MiB\" (units B, KiB, MiB, GiB, TiB)", v)
		return otherwise
	}
	if unit == "" && n > 0 && n < 1<<20 {
		c.wrong(key, "%q is a number of bytes; write \"%sMiB\", or \"%sB\" if that is meant", v, digits, digits)
	}
	return n << shift
}

// overlap reports whether two addresses cannot both be listened on, because one of them is the
// other's port on all addresses, or on all of its family.
func overlap(a, b Address) bool {
	if a.Network != "tcp" || b.Network != "tcp" {
		return false
	}
	hostA, portA, _ := net.SplitHostPort(a.Address)
	hostB, portB, _ := net.SplitHostPort(b.Address)
	if portA != portB || portA == "0" {
		return false
	}
	if hostA == "" || hostB == "" {
		return true
	}
	ipA, errA := netip.ParseAddr(hostA)
	ipB, errB := netip.ParseAddr(hostB)
	return errA == nil && errB == nil && ipA.Is4() == ipB.Is4() && (ipA.IsUnspecified() || ipB.IsUnspecified())
}

// maxGreetDelay is shorter than the 5 minutes that clients wait for the greeting (RFC 5321
// section 4.5.3.2.1), because users wait for their clients.
const maxGreetDelay = time.Minute

// duration parses a duration such as "3s"; the default is 0.
func (c *checker) duration(key, v string, most time.Duration) time.Duration {
	if v == "" {
		return 0
	}
	d, err := time.ParseDuration(v)
	if err != nil || d < 0 || d > most {
		c.wrong(key, "%q is not a time from 0s to %s", v, most)
	}
	return d
}

func (c *checker) prefix(key, s string) netip.Prefix {
	p, err := netip.ParsePrefix(s)
	if a, e := netip.ParseAddr(s); e == nil {
		p, err = netip.PrefixFrom(a, a.BitLen()), nil
	}
	if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 { // peers have IPv4 addresses, too
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	if err == nil {
		return p.Masked()
	}
	c.wrong(key, "%q is not an address or a network, such as \"127.0.0.1/32\"", s)
	return netip.Prefix{}
}

// DNSName returns a host name or domain in the form of the DNS and of protocols: in lower case,
// and with A-labels for letters outside ASCII (RFC 5891). ok reports whether the name is valid.
func DNSName(name string) (dns string, ok bool) {
	name = strings.ToLower(name)
	if !hostName(name) {
		return "", false
	}
	if strings.ContainsFunc(name, func(r rune) bool { return r >= utf8.RuneSelf }) {
		var err error
		if name, err = idna.Lookup.ToASCII(name); err != nil {
			return "", false
		}
	}
	return name, hostName(name)
}

// hostName reports whether s consists of letters, digits, hyphens and dots, like the names of
// mail servers and domains (RFC 5321 section 4.1.2).
func hostName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	digits := false
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		digits = strings.Trim(label, "0123456789") == ""
		for _, r := range label {
			if r < 0x80 && r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') {
				return false
			}
		}
	}
	return !digits // the last label: an IPv4 address, or a mistyped one (RFC 1123 section 2.1)
}
