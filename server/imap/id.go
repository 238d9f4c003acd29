package imap

import "github.com/emersion/go-imap/v2"

// idExtension is ID (RFC 2971).
func idExtension() extension {
	return extension{
		early:    []imap.Cap{imap.CapID},
		commands: []command{{name: "ID", in: always, news: allNews, run: runID}},
	}
}

// maxIDPairs is the limit of RFC 2971 section 3.3.
const maxIDPairs = 30

// runID is ID (RFC 2971).
func runID(s *session) error {
	lx := s.lx
	lx.SP()
	var client []string
	if lx.Peek() == '(' {
		lx.OptionalList(func() {
			// The grammar has strings only, but ('name' 'x'), which is two atoms, is no reason
			// to refuse a client.
			key := string(lx.AString())
			lx.SP()
			value := string(lx.AString())
			if len(client) == 2*maxIDPairs {
				lx.Fail("Too many fields.")
				return
			}
			client = append(client, key, value)
		})
	} else if _, isNil := lx.NString(); !isNil {
		lx.Fail("Expected a list or NIL.")
	}
	if err := lx.End(); err != nil {
		return err
	}
	s.log.Debug("client identified itself", "id", client)
	s.w.Raw("* ID (\"name\" \"maildird\")\r\n")
	return nil
}
