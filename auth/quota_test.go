package auth

import "testing"

func TestQuotaRule(t *testing.T) {
	for extra, want := range map[string]*Quota{
		"":                                  nil,
		"userdb_quota_rule=*:storage=1G":    {Bytes: 1 << 30},
		"userdb_quota_rule=*:storage=10":    {Bytes: 10 << 10},
		"userdb_quota_rule=*:bytes=1000":    {Bytes: 1000},
		"userdb_quota_rule=*:messages=1000": {Messages: 1000},
		"x=y userdb_quota_rule=*:storage=1M:messages=5 userdb_quota_rule2=Trash:storage=+100M": {Bytes: 1 << 20, Messages: 5},
		"userdb_quota_rule=Trash:ignore":                             nil,
		"userdb_quota_rule=*:ignore":                                 {},
		"userdb_quota_storage_size=1GiB":                             {Bytes: 1 << 30},
		"userdb_quota_storage_size=1024":                             {Bytes: 1024},
		"userdb_quota_storage_size=10B userdb_quota_message_count=5": {Bytes: 10, Messages: 5},
		"userdb_quota_message_count=5":                               {Messages: 5},
		"userdb_quota_storage_size=unlimited":                        {},
		"userdb_quota_message_count=unlimited":                       {},
		"userdb_quota_storage_size=0":                                {},
		"userdb_quota_storage_grace=10M":                             nil,
		// Both are present, for either version of Dovecot.
		"userdb_quota_storage_size=2G userdb_quota_rule=*:storage=1G":     {Bytes: 1 << 30},
		"userdb_quota_storage_size=2G userdb_quota_rule=Trash:storage=1G": {Bytes: 2 << 30},
	} {
		e, err := parseLine("alice@example.org:{PLAIN}x::::::"+extra, nil)
		if err != nil {
			t.Errorf("%q: %v", extra, err)
		} else if got := e.user.Quota; (got == nil) != (want == nil) || got != nil && *got != *want {
			t.Errorf("%q: %+v, want %+v", extra, got, want)
		}
	}
	for _, extra := range []string{"size=", "size=many", "size=-1", "size=1i", "size=1X", "size=b", "size=99999999999999T"} {
		if e, err := parseLine("alice@example.org:{PLAIN}x::::::userdb_quota_storage_"+extra, nil); err == nil {
			t.Errorf("%q: %+v", extra, e.user.Quota)
		}
	}
	for _, extra := range []string{"*:storage=many", "*:storage=", "*:storage=-1", "*:storage=1X", "*:storage=99999999999999T", "*:postage=1", "*:", "*"} {
		if e, err := parseLine("alice@example.org:{PLAIN}x::::::userdb_quota_rule="+extra, nil); err == nil {
			t.Errorf("%q: %+v", extra, e.user.Quota)
		}
	}
}
