package sasl

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestTokenResponses begins with the example of RFC 7628 section 4.1.
func TestTokenResponses(t *testing.T) {
	for _, c := range []struct {
		form        func([]byte) (string, string, bool)
		in          string
		name, token string
		ok          bool
	}{
		{bearerResponse, "n,a=user@example.com,\x01host=server.example.com\x01port=143\x01auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01", "user@example.com", "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==", true},
		{bearerResponse, "n,,\x01auth=bearer abc\x01\x01", "", "abc", true},
		{bearerResponse, "y,,\x01later=x=y\x01auth=BEARER  a.b-c_d~e+f/g\x01\x01", "", "a.b-c_d~e+f/g", true},
		{bearerResponse, "n,a=a=2Cb=3Dc,\x01auth=Bearer x\x01\x01", "a,b=c", "x", true},
		{bearerResponse, "n,a=a=41,\x01auth=Bearer x\x01\x01", "", "", false},
		{bearerResponse, "n,a=,\x01auth=Bearer x\x01\x01", "", "", false},
		{bearerResponse, "p=tls-unique,,\x01auth=Bearer x\x01\x01", "", "", false},
		{bearerResponse, "n,,\x01auth=Bearer x\x01", "", "", false},
		{bearerResponse, "n,,\x01auth=Bearer x\x01auth=Bearer y\x01\x01", "", "", false},
		{bearerResponse, "n,,\x01auth=Basic abc\x01\x01", "", "", false},
		{bearerResponse, "n,,\x01auth=Bearer \x01\x01", "", "", false},
		{bearerResponse, "n,,\x01auth=Bearer a b\x01\x01", "", "", false},
		{bearerResponse, "n,a=a,\x01host=x\x01\x01", "a", "", true},
		{bearerResponse, "n,,\x01auth=\x01\x01", "", "", true},
		{bearerResponse, "n,,\x01auth=\x01auth=Bearer x\x01\x01", "", "", false},
		{bearerResponse, "n,,\x01\x01", "", "", true},
		{bearerResponse, "n,,\x01", "", "", false},
		{bearerResponse, "\x01", "", "", false},
		{bearerResponse, "", "", "", false},
		{xoauth2Response, "user=someuser@example.com\x01auth=Bearer ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg\x01\x01", "someuser@example.com", "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg", true},
		{xoauth2Response, "user=\x01auth=Bearer x\x01\x01", "", "", false},
		{xoauth2Response, "auth=Bearer x\x01\x01", "", "", false},
		{xoauth2Response, "user=a\x01auth=x\x01\x01", "", "", false},
		{xoauth2Response, "user=a", "", "", false},
	} {
		name, token, ok := c.form([]byte(c.in))
		if ok != c.ok || ok && (name != c.name || token != c.token) {
			t.Errorf("%q: %q, %q, %t", c.in, name, token, ok)
		}
	}
}

// FuzzTokenResponses checks that a token contains only allowed bytes, and that the name and the
// token are found in a response that was built from them.
func FuzzTokenResponses(f *testing.F) {
	f.Add([]byte("n,a=b=2Cc=3D,\x01host=x\x01port=1\x01auth=bearer a.b-c_~+/=\x01\x01"))
	f.Add([]byte("n,,\x01auth=Bearer a\x01auth=Bearer b\x01\x01"))
	f.Add([]byte("n,a=user@example.com,\x01auth=Bearer abc==\x01\x01"))
	f.Add([]byte("user=a\x01auth=Bearer x\x01\x01"))
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, form := range []func([]byte) (string, string, bool){bearerResponse, xoauth2Response} {
			if _, token, ok := form(in); ok && token != "" && !isToken(token) {
				t.Errorf("%q gives the token %q", in, token)
			}
		}
		name := string(in)
		if name == "" || bytes.ContainsAny(in, "\x00\x01") || !utf8.Valid(in) {
			return
		}
		escaped := strings.NewReplacer("=", "=3D", ",", "=2C").Replace(name)
		if got, token, ok := bearerResponse([]byte("n,a=" + escaped + ",\x01host=h\x01auth=Bearer abc==\x01\x01")); !ok || got != name || token != "abc==" {
			t.Errorf("%q: %q, %q, %v", name, got, token, ok)
		}
		if got, token, ok := xoauth2Response([]byte("user=" + name + "\x01auth=Bearer abc==\x01\x01")); !ok || got != name || token != "abc==" {
			t.Errorf("%q: %q, %q, %v", name, got, token, ok)
		}
	})
}
