package auth

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Quota is what a user's mail may take; 0 is no limit.
type Quota struct{ Bytes, Messages int64 }

// fieldQuota is the extra field with a user's quota, as Dovecot has it:
//
//	userdb_quota_rule=*:storage=1G:messages=1000
//
// Rules for single mailboxes, which begin with their name, mean nothing here.
const fieldQuota = "userdb_quota_rule="

// quotaOf finds the quota of a line; nil if it has none, so that the
// configured one counts.
func quotaOf(extra []string) (*Quota, error) {
	for _, field := range extra {
		rule, ok := strings.CutPrefix(field, fieldQuota)
		if !ok {
			continue
		}
		mailbox, limits, _ := strings.Cut(rule, ":")
		if mailbox != "*" {
			continue
		}
		return parseQuota(limits)
	}
	return nil, nil
}

// parseQuota reads "storage=1G:messages=1000", or "ignore" for no limit.
// Without a suffix storage is in kilobytes.
func parseQuota(limits string) (*Quota, error) {
	q := &Quota{}
	for limit := range strings.SplitSeq(limits, ":") {
		resource, value, _ := strings.Cut(limit, "=")
		var err error
		switch resource {
		case "ignore":
			return &Quota{}, nil
		case "storage":
			q.Bytes, err = amount(value, 'k')
		case "bytes":
			q.Bytes, err = amount(value, 'b')
		case "messages":
			q.Messages, err = amount(value, 'b')
		default:
			err = fmt.Errorf("unknown resource %q", resource)
		}
		if err != nil {
			return nil, fmt.Errorf("quota rule %q: %w", "*:"+limits, err)
		}
	}
	return q, nil
}

// amount reads a number with a suffix; unit is that of a number without one.
func amount(text string, unit byte) (int64, error) {
	number := text
	if n := len(text); n > 0 && (text[n-1] < '0' || text[n-1] > '9') {
		unit, number = text[n-1]|0x20, text[:n-1]
	}
	shift := strings.IndexByte("bkmgt", unit)
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || shift < 0 || n < 0 || n > math.MaxInt64>>(10*shift) {
		return 0, fmt.Errorf("%q is not an amount; write 500M or 1G", text)
	}
	return n << (10 * shift), nil
}
