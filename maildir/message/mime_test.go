package message

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// described formats what the header of a part says about it.
func described(header string) string {
	p := &Part{Type: "text", Subtype: "plain"}
	p.describe([]byte(header))
	show := func(params []Param) string {
		var b strings.Builder
		for _, q := range params {
			fmt.Fprintf(&b, " %s=%s", q.Name, q.Value)
		}
		return b.String()
	}
	s := p.Type + "/" + p.Subtype + show(p.Params)
	if p.NoType {
		s += " (default)"
	}
	if p.Disposition != "" {
		s += " | " + p.Disposition + show(p.DispositionParams)
	}
	for _, f := range []string{p.Encoding, p.ID, p.Description, p.MD5, p.Location, strings.Join(p.Language, "+")} {
		if f != "" {
			s += " | " + f
		}
	}
	return s
}

// TestPiecesCostLittle checks that the memory for pieces of many different values does not grow
// with the square of their number.
func TestPiecesCostLittle(t *testing.T) {
	var params []Param
	for i := range maxParams {
		params = append(params, Param{fmt.Sprintf("p%d*", i), "x"})
	}
	if n := testing.AllocsPerRun(10, func() { joinPieces(params) }); n > 5*maxParams {
		t.Errorf("%d pieces: %.0f allocations", len(params), n)
	}
	if got := joinPieces(params); !slices.Equal(got, params) {
		t.Errorf("%q instead of %q", got, params)
	}
}

func TestDescribe(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", "text/plain (default)"},
		{"Content-Type: text/html\r\n", "text/html"},
		{"content-type:TEXT/HTML;CHARSET=\"utf-8\"\r\n", "TEXT/HTML CHARSET=utf-8"},
		{"Content-Type: text/html (a (nested) comment) ; (x) a=b (y)\r\n", "text/html a=b"},
		{"Content-Type: text/plain; charset=us-ascii (Plain text)\r\n", "text/plain charset=us-ascii"},
		{"Content-Type: text/plain; charset=utf-8(a; b=c); d (x) = (y) e (z) ;f=\"g\" (h)\r\n", "text/plain charset=utf-8 d=e f=g"},
		{"Content-Type: multipart/mixed; boundary=b (unclosed\r\n", "multipart/mixed boundary=b"},
		{"Content-Disposition: attachment; filename=bill (1).pdf\r\n", "text/plain (default) | attachment filename=bill (1).pdf"},
		{"Content-Type: text\r\n", "text/plain (default)"},
		{"Content-Type: text/\r\n", "text/plain (default)"},
		{"Content-Type: /html\r\n", "text/plain (default)"},
		{"Content-Type: \xff/\xfe\r\n", "\xff/\xfe"},
		{"Content-Type: text/plain; a; b=; =c; d=\"e\\\"f\"; g\r\n", "text/plain b= d=e\"f"},
		{"Content-Type: text/plain; name=two words.txt\r\n", "text/plain name=two words.txt"},
		{"Content-Type: text/html; charset=iso-8859-1 <div style=\"width: 5px;\"\r\n", "text/html charset=iso-8859-1"},
		{"Content-Type: multipart/mixed boundary=----=_x charset=\"utf-8\" ; a=b c = d\r\n", "multipart/mixed boundary=----=_x charset=utf-8 a=b c=d"},
		{"Content-Type: text/plain; Format=Flowed\tDelSp=Yes x y=z\r\n", "text/plain Format=Flowed DelSp=Yes"},
		{"Content-Disposition: attachment filename*=utf-8''two words.txt\r\n", "text/plain (default) | attachment filename*=utf-8''two words.txt"},
		{"Content-Type: text/plain; a=b( c=d( ) ) e; f=g( h=i( ) )j k=l\r\n", "text/plain a=b f=g"},
		{"Content-Type: text/plain; a=b(c)d(e f)g; name=h(i; j=k)l (m).n; o=p\r\n", "text/plain a=b(c)d(e name=h(i; j=k)l (m).n o=p"},
		{"Content-Type: text/plain; name=\"unclosed\r\n", "text/plain name=unclosed"},
		{"Content-Type: text/plain;\r\n name=\"a\r\n b\"\r\n", "text/plain name=a b"},
		{"Content-Type: a/b\r\nContent-Type: c/d\r\n", "a/b"},
		{"Content-Disposition: attachment; filename=x\r\n", "text/plain (default) | attachment filename=x"},
		{"Content-Disposition: ; filename=x\r\n", "text/plain (default)"},
		{"Content-Transfer-Encoding: (c) BASE64 (d)\r\n", "text/plain (default) | BASE64"},
		{"Content-Language: de, en-GB ; fr\r\n", "text/plain (default) | de+en-GB+fr"},
		{"Content-ID: <a@b>\r\nContent-MD5: x==\r\nContent-Location: u\r\nContent-Description: d e\r\n", "text/plain (default) | <a@b> | d e | x== | u"},
		{"Content-Type: a/b; f*0=x; f*1=y\r\n", "a/b f=xy"},
		{"Content-Type: a/b; f*1=y; F*0=x\r\n", "a/b F=xy"},
		{"Content-Type: a/b; f*0*=utf-8''x; f*1=\" %\"; g=1\r\n", "a/b g=1 f*=utf-8''x%20%25"},
		{"Content-Type: a/b; f*0=\"'\"; f*1*=%41\r\n", "a/b f*=''%27%41"},
		{"Content-Type: a/b; f*0=x; f*2=z\r\n", "a/b f*0=x f*2=z"},
		{"Content-Type: a/b; f*0=x; f*0=y\r\n", "a/b f*0=x f*0=y"},
		{"Content-Type: a/b; f*=u''x; f*0=y; f=z; f*x=1\r\n", "a/b f=z f*x=1 f*=u''x f=y"},
	} {
		if got := described(c.in); got != c.want {
			t.Errorf("%q: %q, want %q", c.in, got, c.want)
		}
	}
}
