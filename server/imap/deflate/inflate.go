package deflate

import (
	"bufio"
	"errors"
	"io"
	"sync"
)

// inflate decompresses a DEFLATE stream (RFC 1951) from r to w until its end. Before it waits
// for more input, it writes everything that can be decoded from what it has. Neither library
// does so: compress/flate holds back a block until the next one begins or a sync flush, and
// klauspost/compress needs ten bits after a block before it decodes the last symbols. A client
// that flushes with zlib's partial flush (isync 1.4.4, mutt 2.2) sends fewer bits, and then
// waits for the response.
func inflate(w io.Writer, r io.Reader) error {
	z := &inflater{in: bufio.NewReaderSize(r, inflateBuffer), w: w, out: make([]byte, 0, 2*inflateWindow)}
	for last := false; !last && z.err == nil; {
		last = z.bits(1) == 1
		switch z.bits(2) {
		case 0:
			z.stored()
		case 1:
			fixed := fixedCodes()
			z.block(fixed.literals, fixed.distances)
		case 2:
			z.block(z.codes())
		default:
			z.fail(errInflate)
		}
	}
	z.flush()
	return z.err
}

var errInflate = errors.New("not a DEFLATE stream")

const (
	inflateWindow = 32 << 10 // how far back a stream can refer
	endOfBlock    = 256
	longestCode   = 15 // bits
)

// inflater is the state of a stream. Once err is set, it only reads zeros.
type inflater struct {
	in    *bufio.Reader
	w     io.Writer
	err   error
	held  uint32 // bits that were read but not used yet
	nHeld uint
	out   []byte // the window, followed by output that was not written yet
	sent  int    // octets of out that were written
}

func (z *inflater) fail(err error) {
	if z.err == nil {
		z.err = err
	}
}

// flush writes the pending output.
func (z *inflater) flush() {
	if z.sent < len(z.out) {
		_, err := z.w.Write(z.out[z.sent:])
		z.sent = len(z.out)
		if err != nil {
			z.fail(err)
		}
	}
}

// octet reads an octet, and flushes before it has to wait.
func (z *inflater) octet() byte {
	if z.err != nil {
		return 0
	}
	if z.in.Buffered() == 0 {
		z.flush()
	}
	c, err := z.in.ReadByte()
	if err != nil {
		z.fail(err)
	}
	return c
}

// bits takes the next n bits, at most 16. It reads no more octets than it needs.
func (z *inflater) bits(n uint) int {
	for z.nHeld < n {
		z.held |= uint32(z.octet()) << z.nHeld
		z.nHeld += 8
	}
	v := z.held & (1<<n - 1)
	z.held >>= n
	z.nHeld -= n
	return int(v)
}

// put appends an octet to the output.
func (z *inflater) put(c byte) {
	if len(z.out) == cap(z.out) {
		z.flush()
		z.out = z.out[:copy(z.out, z.out[len(z.out)-inflateWindow:])]
		z.sent = len(z.out)
	}
	z.out = append(z.out, c)
}

// stored copies an uncompressed block.
func (z *inflater) stored() {
	z.held, z.nHeld = 0, 0 // skip to an octet boundary
	n := z.bits(16)
	if z.bits(16) != ^n&0xffff {
		z.fail(errInflate)
	}
	for ; n > 0 && z.err == nil; n-- {
		z.put(z.octet())
	}
}

// code is a canonical Huffman code: the number of symbols of each length, and the symbols in
// the order of their codes.
type code struct {
	count   [longestCode + 1]int
	symbols []int
}

// newCode returns the code with the given length for each symbol, 0 for symbols that are not
// used. Only a code with a single symbol may be incomplete.
func newCode(lengths []byte) (*code, error) {
	c := new(code)
	for _, n := range lengths {
		c.count[n]++
	}
	used := len(lengths) - c.count[0]
	c.count[0] = 0
	left := 1
	var start [longestCode + 2]int
	for n := 1; n <= longestCode; n++ {
		left = 2*left - c.count[n]
		if left < 0 {
			return nil, errInflate
		}
		start[n+1] = start[n] + c.count[n]
	}
	if left > 0 && used > 1 || used == 1 && c.count[1] != 1 {
		return nil, errInflate
	}
	c.symbols = make([]int, used)
	for symbol, n := range lengths {
		if n > 0 {
			c.symbols[start[n]] = symbol
			start[n]++
		}
	}
	return c, nil
}

// symbol takes a symbol of the code.
func (z *inflater) symbol(c *code) int {
	value, first, index := 0, 0, 0
	for n := 1; n <= longestCode && z.err == nil; n++ {
		value |= z.bits(1)
		count := c.count[n]
		if value-first < count {
			return c.symbols[index+value-first]
		}
		index += count
		first = (first + count) << 1
		value <<= 1
	}
	z.fail(errInflate)
	return endOfBlock
}

// extra is the value of a symbol: base plus a number of extra bits.
type extra struct {
	base int
	bits uint
}

// lengthsOf and distancesOf are from RFC 1951 section 3.2.5.
var lengthsOf = [29]extra{
	{3, 0}, {4, 0}, {5, 0}, {6, 0}, {7, 0}, {8, 0}, {9, 0}, {10, 0}, {11, 1}, {13, 1}, {15, 1}, {17, 1},
	{19, 2}, {23, 2}, {27, 2}, {31, 2}, {35, 3}, {43, 3}, {51, 3}, {59, 3}, {67, 4}, {83, 4}, {99, 4}, {115, 4},
	{131, 5}, {163, 5}, {195, 5}, {227, 5}, {258, 0},
}

var distancesOf = [30]extra{
	{1, 0}, {2, 0}, {3, 0}, {4, 0}, {5, 1}, {7, 1}, {9, 2}, {13, 2}, {17, 3}, {25, 3}, {33, 4}, {49, 4},
	{65, 5}, {97, 5}, {129, 6}, {193, 6}, {257, 7}, {385, 7}, {513, 8}, {769, 8}, {1025, 9}, {1537, 9},
	{2049, 10}, {3073, 10}, {4097, 11}, {6145, 11}, {8193, 12}, {12289, 12}, {16385, 13}, {24577, 13},
}

// block decompresses the rest of a block.
func (z *inflater) block(literals, distances *code) {
	for z.err == nil {
		s := z.symbol(literals)
		if s < endOfBlock {
			z.put(byte(s))
			continue
		}
		if s == endOfBlock {
			return
		}
		s -= endOfBlock + 1
		if s >= len(lengthsOf) {
			z.fail(errInflate)
			return
		}
		length := lengthsOf[s].base + z.bits(lengthsOf[s].bits)
		if s = z.symbol(distances); s >= len(distancesOf) {
			z.fail(errInflate)
			return
		}
		distance := distancesOf[s].base + z.bits(distancesOf[s].bits)
		if distance > len(z.out) {
			z.fail(errInflate)
			return
		}
		for range length {
			z.put(z.out[len(z.out)-distance])
		}
	}
}

// codesOrder is the order in which the lengths of the code length code are sent
// (RFC 1951 section 3.2.7).
var codesOrder = [19]int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// codes reads the two codes of a block. After an error it returns the fixed codes.
func (z *inflater) codes() (literals, distances *code) {
	fixed := fixedCodes()
	nLiterals, nDistances, nLengths := 257+z.bits(5), 1+z.bits(5), 4+z.bits(4)
	var first [19]byte
	for i := range nLengths {
		first[codesOrder[i]] = byte(z.bits(3))
	}
	meta, err := newCode(first[:])
	if err != nil || z.err != nil {
		z.fail(errInflate)
		return fixed.literals, fixed.distances
	}
	lengths := make([]byte, 0, 32+288)
	for len(lengths) < nLiterals+nDistances && z.err == nil {
		s, last := z.symbol(meta), byte(0)
		times := 1
		switch s {
		case 16:
			if len(lengths) == 0 {
				z.fail(errInflate)
				break
			}
			last, times = lengths[len(lengths)-1], 3+z.bits(2)
		case 17:
			times = 3 + z.bits(3)
		case 18:
			times = 11 + z.bits(7)
		default:
			last = byte(s)
		}
		for range times {
			lengths = append(lengths, last)
		}
	}
	// RFC 1951 allows for more symbols, which have no meaning; zlib refuses them too.
	if z.err != nil || len(lengths) != nLiterals+nDistances || nLiterals > 286 || nDistances > len(distancesOf) || lengths[endOfBlock] == 0 {
		z.fail(errInflate)
		return fixed.literals, fixed.distances
	}
	literals, err = newCode(lengths[:nLiterals])
	if err == nil {
		distances, err = newCode(lengths[nLiterals:])
	}
	if err != nil {
		z.fail(err)
		return fixed.literals, fixed.distances
	}
	return literals, distances
}

// fixedCodes are the fixed codes of RFC 1951 section 3.2.6.
var fixedCodes = sync.OnceValue(func() (c struct{ literals, distances *code }) {
	var lengths [288]byte
	for i := range lengths {
		switch {
		case i < 144:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		case i < 280:
			lengths[i] = 7
		default:
			lengths[i] = 8
		}
	}
	c.literals, _ = newCode(lengths[:])
	var distances [32]byte
	for i := range distances {
		distances[i] = 5
	}
	c.distances, _ = newCode(distances[:])
	return c
})
