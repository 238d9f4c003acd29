package message

import (
	"bufio"
	"encoding/base64"
	"errors"
	"io"
	"strings"
)

// encodable reports whether the part's octets can be represented in a content transfer
// encoding: those of a multipart and of a message are parts themselves (RFC 2046 sections
// 5.1 and 5.2.1).
func (p *Part) encodable() bool {
	return strings.EqualFold(p.Encoding, "binary") && !p.Multipart() && !p.Message()
}

// EncodeBinary copies the message of size bytes, with each part of
// Content-Transfer-Encoding binary re-encoded in base64. root is the result of Parse. Such
// a part cannot be stored as it is: in a file, LF and CRLF line ends are equivalent, and
// BODY[] must not contain a NUL (RFC 9051 section 4.3.1). Errors are those of reading and
// writing.
func EncodeBinary(w io.Writer, src io.ReaderAt, size int64, root *Part) error {
	e := &binaryEncoder{src: src, size: size, w: bufio.NewWriterSize(w, chunk)}
	if err := e.part(root); err != nil {
		return err
	}
	if err := e.copyTo(size); err != nil {
		return err
	}
	return e.w.Flush()
}

type binaryEncoder struct {
	src  io.ReaderAt
	size int64
	w    *bufio.Writer
	pos  int64 // everything before it was copied
}

func (e *binaryEncoder) section(from, to int64) *io.SectionReader {
	return io.NewSectionReader(e.src, from, to-from)
}

// copyTo copies everything before end unchanged.
func (e *binaryEncoder) copyTo(end int64) error {
	_, err := io.Copy(e.w, e.section(e.pos, end))
	e.pos = end
	return err
}

func (e *binaryEncoder) part(p *Part) error {
	for _, child := range p.Children {
		if err := e.part(child); err != nil {
			return err
		}
	}
	if !p.encodable() || len(p.Children) > 0 {
		return nil
	}
	if err := e.copyTo(p.Start.Phys); err != nil {
		return err
	}
	if err := e.header(p); err != nil {
		return err
	}
	if err := e.body(p); err != nil {
		return err
	}
	e.pos = p.End.Phys
	return nil
}

const encodingField = "Content-Transfer-Encoding"

// header copies a part's header with another transfer encoding.
func (e *binaryEncoder) header(p *Part) error {
	r := bufio.NewReaderSize(e.section(p.Start.Phys, p.Body.Phys), chunk)
	dropped, whole := false, true // whether the current field is dropped; whether the previous piece ended a line
	for {
		line, err := r.ReadSlice('\n')
		if whole && len(line) > 0 && line[0] != ' ' && line[0] != '\t' {
			name, _, ok := splitField(line)
			if dropped = ok && strings.EqualFold(string(name), encodingField); dropped {
				_, _ = e.w.WriteString(encodingField + ": base64\r\n")
			}
		}
		if !dropped {
			_, _ = e.w.Write(line) // Flush returns the error
		}
		whole = err == nil
		switch {
		case err == io.EOF:
			return nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return err
		}
	}
}

// lineOctets is how many octets a line of base64 represents (RFC 2045 section 6.8).
const lineOctets = 57

// body encodes a part's body. The line end after it belongs to the boundary.
func (e *binaryEncoder) body(p *Part) error {
	r := bufio.NewReaderSize(e.section(p.Body.Phys, p.End.Phys), chunk)
	var octets [lineOctets]byte
	var line [lineOctets/3*4 + 2]byte
	for first := true; ; first = false {
		n, err := io.ReadFull(r, octets[:])
		if n > 0 {
			out := line[:0]
			if !first {
				out = append(out, '\r', '\n')
			}
			if _, err := e.w.Write(base64.StdEncoding.AppendEncode(out, octets[:n])); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF):
			if p.End.Phys == e.size && p.End.Phys > p.Body.Phys {
				_, err := e.w.WriteString("\r\n")
				return err
			}
			return nil
		case err != nil:
			return err
		}
	}
}
