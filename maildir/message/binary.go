package message

import (
	"bytes"
	"io"
)

// Binary describes a part's body without its transfer encoding (RFC 3516). It is immutable.
type Binary struct {
	Size   int64 // in octets
	NUL    bool  // the body contains a NUL
	places []place
}

// place is a position from which decoding can start, so that reading a piece far inside a
// part does not require decoding everything before it: clients fetch long attachments in
// pieces.
type place struct {
	at     Pos
	octets int64  // number of octets decoded before it
	bits   uint32 // state of base64Reader
	n      int    // state of base64Reader
}

const (
	maxPlaces   = 32
	placesEvery = 256 << 10 // initial number of octets between two places
)

// MeasureBinary decodes a part's body. It returns ErrEncoding if the transfer encoding is
// unknown.
func MeasureBinary(src io.ReaderAt, p *Part) (b Binary, err error) {
	if p.encoding() == "" {
		b.Size, b.NUL, err = rawSize(src, p.Body.Phys, p.End.Phys)
		return b, err
	}
	r, err := decoded(src, p, place{at: p.Body})
	if err != nil {
		return Binary{}, err
	}
	every := int64(placesEvery)
	next := every
	buf := make([]byte, readerChunk) // more than a decoder holds at a time
	for {
		n, err := r.Read(buf)
		b.Size += int64(n)
		b.NUL = b.NUL || bytes.IndexByte(buf[:n], 0) >= 0
		if err == io.EOF {
			return b, nil
		}
		if err != nil {
			return Binary{}, err
		}
		if b.Size < next {
			continue
		}
		at, ok := r.rest()
		if !ok {
			continue
		}
		at.octets = b.Size
		if len(b.places) == maxPlaces {
			every *= 2
			b.thin()
		}
		b.places = append(b.places, at)
		next = b.Size + every
	}
}

// thin removes every other place.
func (b *Binary) thin() {
	for i := range maxPlaces / 2 {
		b.places[i] = b.places[2*i+1]
	}
	b.places = b.places[:maxPlaces/2]
}

// before returns the last place that has at most that many octets before it.
func (b *Binary) before(octets int64, p *Part) place {
	from := place{at: p.Body}
	for _, at := range b.places {
		if at.octets > octets {
			break
		}
		from = at
	}
	return from
}

// Copy writes at most limit octets of the body of the measured part after skipping the
// first skip octets; if limit < 0, it writes all of them. src must not have changed.
func (b *Binary) Copy(w io.Writer, src io.ReaderAt, p *Part, skip, limit int64) (int64, error) {
	if p.encoding() == "" {
		n, _, err := convert(w, src, p.Body, p.End, skip, limit, true)
		return n, err
	}
	from := b.before(skip, p)
	r, err := decoded(src, p, from)
	if err != nil {
		return 0, err
	}
	if _, err := io.CopyN(io.Discard, r, skip-from.octets); err != nil {
		if err == io.EOF {
			err = nil
		}
		return 0, err
	}
	if limit < 0 {
		return io.Copy(w, r)
	}
	return io.Copy(w, io.LimitReader(r, limit))
}
