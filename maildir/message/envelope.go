package message

// Envelope is what IMAP's ENVELOPE contains of a header: texts as in the header, unfolded.
type Envelope struct {
	Date, Subject, InReplyTo, MessageID             string
	HasDate, HasSubject, HasInReplyTo, HasMessageID bool
	From, Sender, ReplyTo, To, Cc, Bcc              []Address
}

// ParseEnvelope parses a header. If Date, Subject, In-Reply-To or Message-ID, which should
// occur once, occur more often, the last one is used, as in Dovecot: it is the first one
// that a DKIM signature covers (RFC 6376 section 5.4.2). Addresses of repeated fields are
// combined. Sender and Reply-To default to From if they are missing or empty (RFC 9051
// section 7.5.2).
func ParseEnvelope(header []byte) *Envelope {
	e := parseEnvelope(header)
	if len(e.Sender) == 0 {
		e.Sender = e.From
	}
	if len(e.ReplyTo) == 0 {
		e.ReplyTo = e.From
	}
	return e
}

func parseEnvelope(header []byte) *Envelope {
	e := &Envelope{}
	text := func(v *string, has *bool, value []byte) {
		*v, *has = unfold(value), true
	}
	eachField(header, func(name, value []byte) bool {
		var lowered [len("in-reply-to")]byte
		if len(name) > len(lowered) {
			return true
		}
		for i, c := range name {
			lowered[i] = lower(c)
		}
		switch string(lowered[:len(name)]) {
		case "date":
			text(&e.Date, &e.HasDate, value)
		case "subject":
			text(&e.Subject, &e.HasSubject, value)
		case "in-reply-to":
			text(&e.InReplyTo, &e.HasInReplyTo, value)
		case "message-id":
			text(&e.MessageID, &e.HasMessageID, value)
		case "from":
			e.From = parseAddresses(e.From, unfold(value))
		case "sender":
			e.Sender = parseAddresses(e.Sender, unfold(value))
		case "reply-to":
			e.ReplyTo = parseAddresses(e.ReplyTo, unfold(value))
		case "to":
			e.To = parseAddresses(e.To, unfold(value))
		case "cc":
			e.Cc = parseAddresses(e.Cc, unfold(value))
		case "bcc":
			e.Bcc = parseAddresses(e.Bcc, unfold(value))
		}
		return true
	})
	return e
}
