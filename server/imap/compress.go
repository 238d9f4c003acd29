package imap

import (
	"github.com/emersion/go-imap/v2"

	"maildird/server/imap/deflate"
)

// codeCompressionActive is from RFC 4978.
const codeCompressionActive = imap.ResponseCode("COMPRESSIONACTIVE")

// compressExtension is COMPRESS=DEFLATE, which is announced until it is in use.
func compressExtension() extension {
	return extension{
		commands: []command{{name: "COMPRESS", in: loggedIn, run: runCompress}},
		capsOf: func(s *session) []imap.Cap {
			if s.state() == notAuthenticated || s.compressed() {
				return nil
			}
			return []imap.Cap{imap.Cap("COMPRESS=DEFLATE")}
		},
	}
}

// runCompress is COMPRESS (RFC 4978 section 3).
func runCompress(s *session) error {
	lx := s.lx
	lx.SP()
	algorithm := string(lx.Word())
	if err := lx.End(); err != nil {
		return err
	}
	switch {
	case algorithm != "DEFLATE":
		return no("", "The only compression algorithm is DEFLATE.")
	case s.compressed():
		return no(codeCompressionActive, "DEFLATE is already active.")
	case lx.Buffered():
		// It was sent before the client could know whether to compress it.
		return bad("Nothing may follow COMPRESS before its response.")
	}
	s.done = done{text: "DEFLATE active.", then: func() error {
		if err := s.w.Flush(); err != nil {
			return &connError{err}
		}
		log := s.log
		s.wire.Stack(deflate.NewConn(s.wire.Stream, func(p any) { s.srv.panicked(log, p) }))
		return nil
	}}
	return nil
}

// compressed reports whether COMPRESS is in use.
func (s *session) compressed() bool {
	_, is := s.wire.Stream.(*deflate.Conn)
	return is
}
