package auth

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Quota limits the mail of a user; 0 means no limit.
type Quota struct{ Bytes, Messages int64 }

// Dovecot's extra fields with the quota of a user:
//
//	userdb_quota_rule=*:storage=1G:messages=1000
//	userdb_quota_storage_size=1G userdb_quota_message_count=1000
//
// The second form is that of Dovecot 2.4; it applies if the first is missing. Rules for
// single mailboxes, which begin with a mailbox name, are ignored.
const (
	fieldQuotaRule     = "userdb_quota_rule"
	fieldQuotaSize     = "userdb_quota_storage_size"
	fieldQuotaMessages = "userdb_quota_message_count"
)

// quotaOf returns the quota in a line, nil if there is none and the configured one applies.
func quotaOf(extra []string) (*Quota, error) {
	var q *Quota
	for _, field := range extra {
		name, value, _ := strings.Cut(field, "=")
		switch name {
		case fieldQuotaRule:
			if mailbox, limits, _ := strings.Cut(value, ":"); mailbox == "*" {
				return parseQuota(limits)
			}
			continue
		case fieldQuotaSize, fieldQuotaMessages:
		default:
			continue
		}
		if q == nil {
			q = &Quota{}
		}
		var err error
		if name == fieldQuotaSize {
			q.Bytes, err = size(value)
		} else if value != unlimited {
			q.Messages, err = amount(value, 'b')
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return q, nil
}

// unlimited is Dovecot's word for no limit; 0 means the same.
const unlimited = "unlimited"

// size parses a size in the syntax of Dovecot 2.4: "1G", "1GiB" or "1gb"; without a unit, bytes.
func size(text string) (int64, error) {
	if text == unlimited {
		return 0, nil
	}
	text = strings.TrimSuffix(strings.ToLower(text), "b")
	if n := len(text) - 2; n >= 0 && text[n] > '9' && text[n+1] == 'i' {
		text = text[:n+1]
	}
	return amount(text, 'b')
}

// parseQuota parses "storage=1G:messages=1000", or "ignore" for no limit. Without a suffix,
// storage is in kilobytes.
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

// amount parses a number with a suffix. unit is the default suffix.
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
