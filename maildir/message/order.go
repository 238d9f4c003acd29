package message

// Order is what messages are sorted and threaded by (RFC 5256): texts as in the header,
// unfolded.
type Order struct {
	Date, Subject, InReplyTo, MessageID, References string
	// The first entry of each address list; nil if it is empty.
	From, To, Cc *Address
}

// orderFields are the fields that ParseOrder reads, in the order of its switch.
var orderFields = []string{"date", "subject", "in-reply-to", "message-id", "references", "from", "to", "cc"}

// ParseOrder parses the fields of a header that an Order has, in the same way as
// ParseEnvelope, and the first References field.
func ParseOrder(header []byte) *Order {
	o := &Order{}
	referred := false
	EachNamed(header, orderFields, func(i int, value []byte) {
		switch i {
		case 0:
			o.Date = unfold(value)
		case 1:
			o.Subject = unfold(value)
		case 2:
			o.InReplyTo = unfold(value)
		case 3:
			o.MessageID = unfold(value)
		case 4:
			if !referred {
				o.References, referred = unfold(value), true
			}
		case 5:
			addFirst(&o.From, value)
		case 6:
			addFirst(&o.To, value)
		case 7:
			addFirst(&o.Cc, value)
		}
	})
	return o
}

// addFirst is parseAddresses for callers that need only the first entry.
func addFirst(list **Address, value []byte) {
	if *list == nil {
		if a, ok := firstAddress(unfold(value)); ok {
			*list = &a
		}
	}
}
