package message

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
)

func parse(t testing.TB, data []byte) *Part {
	t.Helper()
	root, err := Parse(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// checkParts returns what is wrong with the positions of the parts of a message.
func checkParts(data []byte, root *Part) error {
	if root.Start != (Pos{}) || root.End.Phys != int64(len(data)) {
		return fmt.Errorf("the message is from %v to %v, of %d bytes", root.Start, root.End, len(data))
	}
	for _, p := range parts(root) {
		if p.Start.Phys > p.Body.Phys || p.Body.Phys > p.End.Phys {
			return fmt.Errorf("out of order: %v %v %v", p.Start, p.Body, p.End)
		}
		for _, pos := range []Pos{p.Start, p.Body, p.End} {
			if want := int64(len(inCRLF(data[:pos.Phys]))); pos.Virt != want {
				return fmt.Errorf("offset %d is %d in CRLF form, not %d", pos.Phys, want, pos.Virt)
			}
		}
		if n := int64(bytes.Count(data[p.Body.Phys:p.End.Phys], newline)); p.Lines != n {
			return fmt.Errorf("%d lines, want %d", p.Lines, n)
		}
		last := p.Body.Phys
		for _, child := range p.Children {
			if child.Start.Phys < last || child.End.Phys > p.End.Phys {
				return fmt.Errorf("a part from %v to %v is not inside its own from %v to %v", child.Start, child.End, p.Body, p.End)
			}
			last = child.End.Phys
		}
	}
	return nil
}

// TestExtendedParameters has the boundary and the charset in the forms of RFC 2231.
func TestExtendedParameters(t *testing.T) {
	for _, boundary := range []string{
		"boundary*=us-ascii'en'a%2Bb", "boundary*=a%2bb", "boundary*0*=''a%2B; boundary*1=b", "BOUNDARY*0=a; boundary*1=+b",
		"boundary*=other; boundary=a+b",
	} {
		text := "Content-Type: multipart/mixed; " + boundary + "\n\n--a+b\nContent-Type: text/plain; charset*=us-ascii''iso-8859%2d1\n\n\xfc\n--a+b--\n"
		root := parse(t, []byte(text))
		if len(root.Children) != 1 {
			t.Errorf("%s: %d parts", boundary, len(root.Children))
			continue
		}
		got, err := io.ReadAll(decodeText(strings.NewReader(text), root.Children[0]))
		if err != nil || string(got) != "ü" {
			t.Errorf("%s: %q %v", boundary, got, err)
		}
	}
	for value, want := range map[string]string{"": "", "'": "'", "''": "", "a'b": "a'b", "%4": "%4", "%zz%41": "%zzA", "x'y'z'%27": "z''"} {
		if got := extendedValue(value); got != want {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
	}
}

func TestPartsLieInsideTheFile(t *testing.T) {
	for name, data := range samples(t) {
		for _, form := range [][]byte{data, inCRLF(data)} {
			if err := checkParts(form, parse(t, form)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// TestLineEndsDoNotMatter parses each mail as it is and in CRLF form: only the offsets in
// the file may differ.
func TestLineEndsDoNotMatter(t *testing.T) {
	for name, data := range samples(t) {
		a, b := parts(parse(t, data)), parts(parse(t, inCRLF(data)))
		if len(a) != len(b) {
			t.Errorf("%s: %d parts, in CRLF form %d", name, len(a), len(b))
			continue
		}
		for i := range a {
			p, q := *a[i], *b[i]
			for _, x := range []*Part{&p, &q} {
				x.Start.Phys, x.Body.Phys, x.End.Phys, x.Children = 0, 0, 0, nil
			}
			if fmt.Sprint(p) != fmt.Sprint(q) {
				t.Errorf("%s: part %d\n%v\n%v", name, i, p, q)
			}
		}
	}
}

// TestChunkEnds moves a boundary line across the end of the buffer.
func TestChunkEnds(t *testing.T) {
	const head = "Content-Type: multipart/mixed; boundary=b\r\n\r\n"
	for pad := chunk - 45; pad < chunk+3; pad++ {
		data := []byte(head + strings.Repeat("p", pad) + "\r\n--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--\r\n")
		root := parse(t, data)
		if err := checkParts(data, root); err != nil || len(root.Children) != 2 {
			t.Fatalf("preamble of %d: %d parts, %v", pad, len(root.Children), err)
		}
		for i, want := range []string{"one", "two"} {
			p := root.Children[i]
			if got := string(data[p.Body.Phys:p.End.Phys]); got != want {
				t.Fatalf("preamble of %d: part %q, want %q", pad, got, want)
			}
		}
	}
}

// TestTooDeep: whatever is nested deeper than the limit is one part of octets, which
// clients can fetch.
func TestTooDeep(t *testing.T) {
	for name, level := range map[string]string{
		"multipart": "Content-Type: multipart/mixed; boundary=b%03d\n\n--b%03[1]d\n",
		"message":   "Subject: %d\nContent-Type: message/rfc822\n\n",
	} {
		var text strings.Builder
		for i := range 120 {
			fmt.Fprintf(&text, level, i)
		}
		text.WriteString("\nthe end\n")
		data := []byte(text.String())
		p := parse(t, data)
		for len(p.Children) > 0 {
			p = p.Children[0]
		}
		if p.Type != "application" || p.Subtype != "octet-stream" {
			t.Errorf("%s: the deepest part is %s/%s", name, p.Type, p.Subtype)
		}
		if got := string(data[p.Body.Phys:p.End.Phys]); !strings.Contains(got, "the end") {
			t.Errorf("%s: the deepest part has %q", name, got)
		}
	}
}

func TestLimits(t *testing.T) {
	deep := strings.Builder{}
	for i := range 2000 {
		fmt.Fprintf(&deep, "Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n", i, i)
	}
	messages := strings.Repeat("Content-Type: message/rfc822\n\n", 100_000)
	many := "Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\n\n", 200_000)
	wide := "Content-Type: text/plain; x=" + strings.Repeat("x", 1<<20) + "\n\nbody\n"
	params := "Content-Type: text/plain" + strings.Repeat("; a=b", 10_000) + "\n\nbody\n"
	folded := "Content-Type: text/plain;\n" + strings.Repeat(" a\n", 1<<20) + "\nbody\n"
	fat := "Content-Type: multipart/mixed; boundary=b\n\n" +
		strings.Repeat("--b\nContent-Type: text/plain; x="+strings.Repeat("x", 60<<10)+"\n\n", 200)
	for name, text := range map[string]string{
		"multiparts in multiparts": deep.String(), "messages in messages": messages, "many parts": many,
		"wide field": wide, "many parameters": params, "folded field": folded, "fat headers": fat,
	} {
		data := []byte(text)
		root := parse(t, data)
		if err := checkOffsets(data, root); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		all := parts(root)
		if len(all) > 10_001 {
			t.Errorf("%s: %d parts", name, len(all))
		}
		if d := depth(root); d > 101 {
			t.Errorf("%s: %d levels", name, d)
		}
		kept := 0
		for _, p := range all {
			for _, q := range p.Params {
				kept += len(q.Name) + len(q.Value)
			}
			if len(p.Params) > maxParams {
				t.Errorf("%s: %d parameters", name, len(p.Params))
			}
		}
		if kept > 8<<20 {
			t.Errorf("%s: parameters of %d bytes", name, kept)
		}
	}
}

// checkOffsets is checkParts without the checks that take long for many parts.
func checkOffsets(data []byte, root *Part) error {
	for _, p := range parts(root) {
		if p.Start.Phys < 0 || p.Start.Phys > p.Body.Phys || p.Body.Phys > p.End.Phys || p.End.Phys > int64(len(data)) {
			return fmt.Errorf("out of order: %v %v %v in %d bytes", p.Start, p.Body, p.End, len(data))
		}
	}
	return nil
}

func depth(p *Part) int {
	d := 0
	for _, child := range p.Children {
		d = max(d, depth(child))
	}
	return d + 1
}

// endless is a message with an attachment of any size that needs no memory. It counts what
// is read of it.
type endless struct {
	head, tail string
	size       int64
	read       int64
}

const endlessLine = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAxMjM0NTY3\n"

var endlessLines = strings.Repeat(endlessLine, 2000)

func (e *endless) ReadAt(p []byte, off int64) (int, error) {
	e.read += int64(len(p))
	head, tail := int64(len(e.head)), e.size-int64(len(e.tail))
	for n := 0; n < len(p); {
		at := off + int64(n)
		switch {
		case at >= e.size:
			return n, io.EOF
		case at < head:
			n += copy(p[n:], e.head[at:])
		case at >= tail:
			n += copy(p[n:], e.tail[at-tail:])
		default:
			n += copy(p[n:min(int64(len(p)), int64(n)+tail-at)], endlessLines[(at-head)%int64(len(endlessLine)):])
		}
	}
	return len(p), nil
}

// TestBigMessage parses 50 MB: each byte is read once, and memory use does not grow with
// the size. A part is then read using only its offsets.
func TestBigMessage(t *testing.T) {
	src := &endless{
		head: "Content-Type: multipart/mixed; boundary=b\n\n--b\n\ntext\n--b\nContent-Type: application/pdf\nContent-Transfer-Encoding: base64\n\n",
		tail: "\n--b\n\nlast\n--b--\n", size: 50 << 20,
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	root, err := Parse(src, src.size)
	runtime.ReadMemStats(&after)
	if err != nil || len(root.Children) != 3 {
		t.Fatalf("%+v, %v", root, err)
	}
	if src.read > src.size+chunk {
		t.Errorf("%d bytes were read of %d", src.read, src.size)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("%d bytes were allocated", n)
	}
	src.read = 0
	var out bytes.Buffer
	last := root.Children[2]
	if _, _, err := CopyVirtual(&out, src, last.Body, last.End, 0, -1); err != nil || out.String() != "last" {
		t.Errorf("%q, %v", out.String(), err)
	}
	if src.read > 100 {
		t.Errorf("%d bytes were read for a part of 4", src.read)
	}
}

func TestFind(t *testing.T) {
	data := samples(t)["nested.eml"]
	root := parse(t, data)
	for _, c := range []struct {
		path []int
		want string // type/subtype, "" for no part
	}{
		{[]int{1}, "multipart/related"}, {[]int{1, 1}, "multipart/alternative"}, {[]int{1, 1, 2}, "text/html"},
		{[]int{1, 2}, "image/png"}, {[]int{2}, "message/rfc822"}, {[]int{2, 1}, "text/plain"}, {[]int{2, 2}, "text/csv"},
		{[]int{3}, "text/plain"}, {[]int{4}, ""}, {[]int{0}, ""}, {[]int{-1}, ""}, {[]int{3, 1}, ""}, {[]int{1, 1, 2, 1}, ""}, {[]int{2, 2, 1}, ""},
	} {
		p, ok := root.Find(c.path)
		got := ""
		if ok {
			got = p.Type + "/" + p.Subtype
		}
		if got != c.want {
			t.Errorf("%v: %q, want %q", c.path, got, c.want)
		}
	}
}

// TestFieldsAreBounded: the MIME fields of a message with very many parts do not fill memory.
func TestFieldsAreBounded(t *testing.T) {
	const parts = 5000
	description := strings.Repeat("d", 1000)
	text := "Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\nContent-Description: "+description+"\n\nx\n", parts) + "--b--\n"
	root, err := Parse(strings.NewReader(text), int64(len(text)))
	if err != nil || len(root.Children) != parts {
		t.Fatalf("%d parts, %v", len(root.Children), err)
	}
	octets := 0
	for _, p := range root.Children {
		octets += len(p.Description)
	}
	if octets > 2<<20 || octets < 1<<20 || root.Children[0].Description != description {
		t.Errorf("%d octets of descriptions", octets)
	}
}
