package message

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"math/rand/v2"
	"mime/quotedprintable"
	"strings"
	"testing"
	"testing/iotest"
)

// partOf returns a message of one part with this encoding and body.
func partOf(t testing.TB, header, body string) ([]byte, *Part) {
	data := []byte(header + "\n\n" + body)
	return data, parse(t, data)
}

func TestDecoded(t *testing.T) {
	for _, c := range []struct{ encoding, in, want string }{
		{"7bit", "a\nb", "a\r\nb"},
		{"8BIT", "\xff\n", "\xff\r\n"},
		{"binary", "\x00\r", "\x00\r"},
		{"base64", "SGVsbG8=", "Hello"},
		{"Base64", "SGVs\nbG8=\n", "Hello"},
		{"base64", "SGVsbG8", "Hello"},
		{"base64", "S-G!V s*b\t_G8=", "Hello"},
		{"base64", "SGVsbG8=\n\n_____\n-- \n", "Hello"},
		{"base64", "SGVs=SGVs", "HelHel"},
		{"base64", "SA==SGVs", "HHel"},
		{"base64", "S", ""},
		{"base64", "====", ""},
		{"base64", "", ""},
		{"quoted-printable", "a=3Db", "a=b"},
		{"quoted-printable", "a=3db", "a=b"},
		{"quoted-printable", "a=\nb", "ab"},
		{"quoted-printable", "a= \t\nb", "ab"},
		{"quoted-printable", "a \t\nb", "a\r\nb"},
		{"quoted-printable", "a  b", "a  b"},
		{"quoted-printable", "a=4", "a=4"},
		{"quoted-printable", "a=4z", "a=4z"},
		{"quoted-printable", "a=zz", "a=zz"},
		{"quoted-printable", "a==41", "a=A"},
		{"quoted-printable", "a=", "a"},
		{"quoted-printable", "a= b", "a= b"},
		{"quoted-printable", "a \t", "a"},
		{"quoted-printable", "=C3=BC\n", "\u00fc\r\n"},
		{"quoted-printable", "=00", "\x00"},
	} {
		src, p := partOf(t, "Content-Transfer-Encoding: "+c.encoding, c.in)
		got, err := readDecoded(bytes.NewReader(src), p)
		if err != nil || string(got) != c.want {
			t.Errorf("%s %q: %q, %v, want %q", c.encoding, c.in, got, err, c.want)
		}
		b, err := MeasureBinary(bytes.NewReader(src), p)
		if err != nil || b.Size != int64(len(c.want)) || b.NUL != strings.Contains(c.want, "\x00") {
			t.Errorf("%s %q: size %d, NUL %v, %v", c.encoding, c.in, b.Size, b.NUL, err)
		}
		for skip := range len(c.want) + 2 {
			for limit := range 4 {
				var out bytes.Buffer
				_, err := b.Copy(&out, bytes.NewReader(src), p, int64(skip), int64(limit))
				want := c.want[min(skip, len(c.want)):]
				want = want[:min(limit, len(want))]
				if err != nil || out.String() != want {
					t.Errorf("%s %q <%d.%d>: %q, %v, want %q", c.encoding, c.in, skip, limit, out.String(), err, want)
				}
			}
		}
	}
	src, p := partOf(t, "Content-Transfer-Encoding: x-uuencode", "a\n")
	if _, err := MeasureBinary(bytes.NewReader(src), p); !errors.Is(err, ErrEncoding) {
		t.Errorf("unknown encoding: %v", err)
	}
	if got, err := io.ReadAll(decodeText(bytes.NewReader(src), p)); err != nil || string(got) != "a\r\n" {
		t.Errorf("unknown encoding: %q, %v", got, err)
	}
	src, p = partOf(t, "Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: base64", "--b\n\nx\n--b--\n")
	if got, err := readDecoded(bytes.NewReader(src), p); err != nil || string(got) != "--b\r\n\r\nx\r\n--b--\r\n" {
		t.Errorf("multipart: %q, %v", got, err)
	}
}

// TestBase64Quanta: decoding four digits at once gives the same as one by one, however the
// text is split, and whatever is between the digits.
func TestBase64Quanta(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 5))
	const letters = "ABZabz019+/-_ABZabz019+/-_ABZabz019+/-_= \r\n!\xff"
	for range 2000 {
		text := make([]byte, rng.IntN(200))
		for i := range text {
			text[i] = letters[rng.IntN(len(letters))]
		}
		var one, four base64Reader
		for _, c := range text {
			one.digit(c)
		}
		one.flush()
		for rest := text; len(rest) > 0; {
			n := 1 + rng.IntN(len(rest))
			four.digits(rest[:n])
			rest = rest[n:]
		}
		four.flush()
		if !bytes.Equal(one.out, four.out) {
			t.Fatalf("%q: %x, want %x", text, four.out, one.out)
		}
	}
}

// BenchmarkBase64 decodes an attachment.
func BenchmarkBase64(b *testing.B) {
	text := base64.StdEncoding.EncodeToString(make([]byte, 57<<14))
	var lines strings.Builder
	for ; len(text) > 76; text = text[76:] {
		lines.WriteString(text[:76] + "\n")
	}
	src, p := partOf(b, "Content-Transfer-Encoding: base64", lines.String())
	b.SetBytes(int64(len(src)))
	for b.Loop() {
		if _, err := new(Binary).Copy(io.Discard, bytes.NewReader(src), p, 0, -1); err != nil {
			b.Fatal(err)
		}
	}
}

// TestDecodingIsTheInverse decodes what the standard library encoded.
func TestDecodingIsTheInverse(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	for _, n := range []int{0, 1, 2, 3, 4, 57, 4095, 4096, 4097, 100_000} {
		raw := make([]byte, n)
		for i := range raw {
			raw[i] = byte(rng.Uint32())
		}
		text := base64.StdEncoding.EncodeToString(raw)
		var lines strings.Builder
		for len(text) > 76 {
			lines.WriteString(text[:76] + "\n")
			text = text[76:]
		}
		lines.WriteString(text + "\n")
		src, p := partOf(t, "Content-Transfer-Encoding: base64", lines.String())
		if got, err := readDecoded(bytes.NewReader(src), p); err != nil || !bytes.Equal(got, raw) {
			t.Fatalf("base64 of %d bytes: %d, %v", n, len(got), err)
		}
		var qp bytes.Buffer
		w := quotedprintable.NewWriter(&qp)
		w.Binary = true
		_, _ = w.Write(raw)
		_ = w.Close()
		src, p = partOf(t, "Content-Transfer-Encoding: quoted-printable", qp.String())
		if got, err := readDecoded(bytes.NewReader(src), p); err != nil || !bytes.Equal(got, raw) {
			t.Fatalf("quoted-printable of %d bytes: %d, %v", n, len(got), err)
		}
	}
}

func TestDecodeText(t *testing.T) {
	for _, c := range []struct{ header, in, want string }{
		{"Content-Type: text/plain; charset=iso-8859-1", "Gr\xfc\xdfe", "Grüße"},
		{"Content-Type: text/plain; charset=\"ISO-8859-1\"\nContent-Transfer-Encoding: quoted-printable", "Gr=FC=DFe", "Grüße"},
		{"Content-Type: text/plain; charset=windows-1252", "\x80", "€"},
		{"Content-Type: text/plain; charset=koi8-r", "\xf7", "В"},
		{"Content-Type: text/plain; charset=iso-2022-jp", "\x1b$BF|K\\\x1b(B", "日本"},
		{"Content-Type: text/plain; charset=gb2312", "\xc4\xe3", "你"},
		{"Content-Type: text/plain; charset=utf-16le\nContent-Transfer-Encoding: base64", "ZAAAIA==", "d\u2000"},
		{"Content-Type: text/plain; charset=utf-8", "Grüße", "Grüße"},
		{"Content-Type: text/plain; charset=x-none", "Grüße", "Grüße"},
		{"Content-Type: text/plain", "Grüße", "Grüße"},
	} {
		src, p := partOf(t, c.header, c.in)
		got, err := io.ReadAll(decodeText(bytes.NewReader(src), p))
		if err != nil || string(got) != c.want {
			t.Errorf("%s %q: %q, %v, want %q", c.header, c.in, got, err, c.want)
		}
	}
}

func TestDecodeHeader(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"plain", "plain"},
		{"=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "Grüße"},
		{"=?UTF-8?B?R3LDvMOfZQ==?=", "Grüße"},
		{"=?iso-8859-1?Q?Gr=FC=DFe_an?= alle", "Grüße an alle"},
		{"=?utf-8?q?a?= =?utf-8?q?b?=", "ab"},
		{"=?utf-8?q?a?=\t =?utf-8?q?b?= c", "ab c"},
		{"=?utf-8*de?q?a=C3=BC?= =?iso-8859-1*en-GB?q?=FC?=", "aüü"},
		{"=?x-none?q?a?= =?utf-8?q?b?=", "ab"},
		{"=?x-none?q?=E4?= =?utf-8?q?b?=", "=?x-none?q?=E4?=b"},
		{"=?utf-8?x?a?=", "=?utf-8?x?a?="},
		{"=?utf-8?q?unfinished", "=?utf-8?q?unfinished"},
		{"=?ISO-2022-JP?B?GyRCRnxLXBsoQg==?=", "日本"},
		// A character in the middle of two words, as some programs write it.
		{"=?utf-8?B?4oI=?= =?utf-8?B?rA==?=", "€"},
		{"=?utf-8?Q?=E2=82?= =?utf-8?Q?=AC?=", "€"},
		{"=?shift_jis?B?k/o=?= =?Shift_JIS*ja?Q?=96?=  =?shift_jis?B?ew==?=", "日本"},
		// Padding that is missing, too much, or in the middle of what is padding.
		{"=?utf-8?B?eHB0bw?= x", "xpto x"},
		{"=?gb18030?B?suLK1A===?=", "测试"},
		{"=?iso-2022-jp?b?GyRCJUYlOSVIGyhCCg=?=", "テスト\n"},
		{"=?utf-8?B?4o\t-Ks?=", "€"},
		// What should have been encoded too.
		{"=?iso-8859-1?Q?Fr\xf6sche und_H=FChner?=", "Frösche und Hühner"},
		{"=?utf-8?q?100=_=4?=", "100= =4"},
		{"=?us-ascii?q??= a =?utf-8?q??=", " a "},
		{"=?utf-8?q?a?=b=?utf-8?q?c?=", "abc"},
		{"a=?=?utf-8?q?b?==?utf-8?q?c?=?=", "a=?bc?="},
		{"=?utf-8?q?Why?_=3F??=", "Why? ??"},
		// A word that was truncated does not take what follows with it.
		{"=?utf-8?B?SGVsb <a@b>, =?utf-8?B?SGVsbG8=?=", "=?utf-8?B?SGVsb <a@b>, Hello"},
		{"=?utf-8?Q?Hel <a_b@c>, =?utf-8?Q?Hello?=", "=?utf-8?Q?Hel <a_b@c>, Hello"},
		{"=?cp932?Q?=82=b1?=", "こ"},
		{"=?hz-gb-2312?Q?~{<:~}.?=", "己."},
		{"=?iso-2022-kr?Q?in_ASCII?=", "in ASCII"},
		{"=?utf-7?Q?Fr+APY-sche?= =?unicode-1-1-utf-7?Q?_+2D3eAA-_1_+-_1?=", "Frösche 😀 1 + 1"},
	} {
		if got := DecodeHeader(c.in); got != c.want {
			t.Errorf("%q: %q, want %q", c.in, got, c.want)
		}
	}
}

func TestUTF7(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"plain - text", "plain - text"},
		{"A+ImIDkQ.", "A≢Α."},
		{"Hi Mom -+Jjo--!", "Hi Mom -☺-!"},
		{"+ZeVnLIqe-", "日本語"},
		{"C+", "C+"},
		{"Item 3 is +AKM-1.", "Item 3 is £1."},
		{"1 +- 1 + 1", "1 + 1 + 1"},
		{"+2D3eAA", "😀"},
		{"+2D0-x", "\ufffdx"},
		{"+2D0AQQ-", "\ufffdA"},
		{"+2D0", "\ufffd"},
		{"+3gA-", "\ufffd"},
		{"Gr\xfc\xdfe", "Gr\ufffd\ufffde"},
		{"+AGE_", "a_"},
	} {
		got, err := io.ReadAll(iotest.OneByteReader(charsetReader("UTF-7", strings.NewReader(c.in))))
		if err != nil || string(got) != c.want {
			t.Errorf("%q: %q %v, want %q", c.in, got, err, c.want)
		}
		long, err := io.ReadAll(charsetReader("utf-7", strings.NewReader(strings.Repeat(c.in+"-.", 5000))))
		if piece := 2 + len(c.want); err != nil || len(long) < 5000*(piece-2) {
			t.Errorf("%q: %d octets, %v", c.in, len(long), err)
		}
	}
}
