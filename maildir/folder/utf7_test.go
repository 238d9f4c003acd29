package folder

import (
	"testing"
	"unicode/utf8"
)

func TestUTF7(t *testing.T) {
	for _, c := range []struct{ text, disk string }{
		{"", ""},
		{"INBOX", "INBOX"},
		{"R&D", "R&-D"},
		{"&", "&-"},
		{"&&", "&-&-"},
		{"Grüße", "Gr&APwA3w-e"},
		{"日本", "&ZeVnLA-"},
		{"日本語&台北", "&ZeVnLIqe-&-&U,BTFw-"},
		{"~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"}, // RFC 3501 5.1.3
		{"ü-", "&APw--"},
		{"😀", "&2D3eAA-"},
		{"a\x01b", "a&AAE-b"},
		{"\x7f", "&AH8-"},
		{"~ \"%*\\[x]", "~ \"%*\\[x]"},
	} {
		if got := EncodeUTF7(c.text); got != c.disk {
			t.Errorf("EncodeUTF7(%q) = %q, want %q", c.text, got, c.disk)
		}
		if got, err := DecodeUTF7(c.disk); err != nil || got != c.text {
			t.Errorf("DecodeUTF7(%q) = %q, %v, want %q", c.disk, got, err, c.text)
		}
	}
}

func TestDecodeUTF7Refuses(t *testing.T) {
	for why, disk := range map[string]string{
		"run without end":                "&APw",
		"lone ampersand":                 "R&D",
		"ASCII in base64":                "&AGE-",
		"slash in base64":                "&AC8-",
		"ampersand in base64":            "&ACY-",
		"two runs in a row":              "&APw-&APw-",
		"raw UTF-8":                      "ü",
		"raw octet":                      "\xfc",
		"control character":              "a\x01",
		"DEL":                            "\x7f",
		"half a surrogate pair":          "&2D0-",
		"low surrogate first":            "&3gDYPQ-",
		"high surrogate, then no low":    "&2D0AfA-",
		"odd number of octets":           "&AP-",
		"bits left over that are set":    "&APx-",
		"slash of ordinary base64":       "&U/BTFw-",
		"padding":                        "&APw=-",
		"line end that decoders skip":    "&AP\nw-",
		"carriage return likewise":       "&AP\rw-",
		"character outside of base64":    "&A!w-",
		"base64 that stops after a byte": "&A-",
	} {
		if got, err := DecodeUTF7(disk); err == nil {
			t.Errorf("%s: DecodeUTF7(%q) = %q, want an error", why, disk, got)
		}
	}
}

func TestEncodeUTF7InvalidUTF8(t *testing.T) {
	if got := EncodeUTF7("a\xfcb"); got != "a&,,0-b" {
		t.Errorf("got %q", got)
	}
}

func FuzzUTF7(f *testing.F) {
	for _, s := range []string{"Gr&APwA3w-e", "&-", "&AGE-", "&2D3eAA-", "日本", "a\x01", "&APw-&APw-", "\xff&"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		disk := EncodeUTF7(s)
		for i := 0; i < len(disk); i++ {
			if !isPrintable(disk[i]) {
				t.Fatalf("EncodeUTF7(%q) = %q has octet %#x", s, disk, disk[i])
			}
		}
		back, err := DecodeUTF7(disk)
		if err != nil {
			t.Fatalf("DecodeUTF7(EncodeUTF7(%q)): %v", s, err)
		}
		if utf8.ValidString(s) && back != s {
			t.Fatalf("%q came back as %q", s, back)
		}
		// Whatever can be decoded has only one spelling.
		if text, err := DecodeUTF7(s); err == nil {
			if !utf8.ValidString(text) {
				t.Fatalf("DecodeUTF7(%q) = %q is no UTF-8", s, text)
			}
			if again := EncodeUTF7(text); again != s {
				t.Fatalf("%q decodes to %q, which encodes to %q", s, text, again)
			}
		}
	})
}
