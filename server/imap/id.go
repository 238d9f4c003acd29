package imap

import "github.com/emersion/go-imap/v2"

// idExtension is ID (RFC 2971).
func idExtension() extension {
	return extension{
		early:    []imap.Cap{imap.CapID},
		commands: []command{{name: "ID", in: always, news: allNews, run: runID}},
	}
}

// maxIDPairs is the limit that RFC 2971 section 3.3 sets.
const maxIDPairs = 30

// runID is ID (RFC 2971).
func runID(s *session) error {
	lx := s.lx
	lx.sp()
	var client []string
	if lx.peek() == '(' {
		lx.optionalList(func() {
			key := string(lx.str())
			lx.sp()
			value, _ := lx.nstring()
			if len(client) == 2*maxIDPairs {
				lx.fail("Too many fields.")
				return
			}
			client = append(client, key, string(value))
		})
	} else if _, isNil := lx.nstring(); !isNil {
		lx.fail("Expected a list or NIL.")
	}
	if err := lx.end(); err != nil {
		return err
	}
	s.log.Debug("client tells what it is", "id", client)
	s.w.raw("* ID (")
	for i, text := range s.srv.cfg.ID {
		if i > 0 {
			s.w.sp()
		}
		s.w.str(text)
	}
	s.w.raw(")\r\n")
	return nil
}
