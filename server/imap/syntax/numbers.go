package syntax

import (
	"strconv"

	"maildird/maildir/mailbox"
)

// digits takes a number not above most.
func (lx *Lexer) digits(most uint64, what string) uint64 {
	var n uint64
	count := 0
	for {
		c := lx.Peek()
		if lx.err != nil {
			return 0
		}
		if c < '0' || c > '9' {
			break
		}
		d := uint64(c - '0')
		if n > (most-d)/10 {
			lx.Fail("Number is too big.")
			return 0
		}
		n = n*10 + d
		lx.pos++
		count++
	}
	if count == 0 {
		lx.Fail("Expected %s.", what)
	}
	return n
}

// Number takes a 32-bit number.
func (lx *Lexer) Number() uint32 { return uint32(lx.digits(1<<32-1, "a number")) }

// Number64 takes a 63-bit number (RFC 9051 number64).
func (lx *Lexer) Number64() uint64 { return lx.digits(1<<63-1, "a number") }

// NZNumber takes a 32-bit number other than zero.
func (lx *Lexer) NZNumber() uint32 {
	n := lx.Number()
	if n == 0 {
		lx.Fail("Zero is not allowed here.")
	}
	return n
}

// NumSet is a set of sequence numbers or UIDs as the client wrote it.
type NumSet struct {
	// In Ranges, 0 stands for "*", and First may be greater than Last.
	Ranges []mailbox.Range
	Saved  bool // "$": the saved result of SEARCH (RFC 9051 section 6.4.4.1)
}

// NumSet takes a set of sequence numbers or UIDs. It is valid until the next command begins.
func (lx *Lexer) NumSet() NumSet {
	if lx.Accept('$') {
		return NumSet{Saved: true}
	}
	from := len(lx.ranges)
	for {
		r := mailbox.Range{First: lx.seqNumber()}
		r.Last = r.First
		if lx.Accept(':') {
			r.Last = lx.seqNumber()
		}
		lx.ranges = append(lx.ranges, r)
		if !lx.Accept(',') {
			break
		}
	}
	if lx.err != nil {
		return NumSet{}
	}
	return NumSet{Ranges: lx.ranges[from:len(lx.ranges):len(lx.ranges)]}
}

func (lx *Lexer) seqNumber() uint32 {
	if lx.Accept('*') {
		return 0
	}
	n := lx.digits(1<<32-1, "a message number")
	if n == 0 {
		lx.Fail("0 is not a message number.")
	}
	return uint32(n)
}

// Resolve returns ranges with First <= Last, in which last replaces "*". The set
// must not be "$".
func (n NumSet) Resolve(last uint32) []mailbox.Range {
	out := make([]mailbox.Range, len(n.Ranges))
	for i, r := range n.Ranges {
		if r.First == 0 {
			r.First = last
		}
		if r.Last == 0 {
			r.Last = last
		}
		if r.First > r.Last {
			r.First, r.Last = r.Last, r.First
		}
		out[i] = r
	}
	return out
}

// AppendSet appends numbers in their order as a set. Runs of consecutive
// ascending numbers become ranges.
func AppendSet(b []byte, nums []uint32) []byte {
	for i := 0; i < len(nums); {
		j := i
		for j+1 < len(nums) && nums[j+1] == nums[j]+1 {
			j++
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, uint64(nums[i]), 10)
		if j > i {
			b = append(b, ':')
			b = strconv.AppendUint(b, uint64(nums[j]), 10)
		}
		i = j + 1
	}
	return b
}

// InQuotes calls take, and accepts quotes around what it takes. Some clients quote all their
// search arguments, and Dovecot accepts it.
func (lx *Lexer) InQuotes(take func()) {
	quoted := lx.Accept('"')
	take()
	if quoted {
		lx.Expect('"')
	}
}
