package message

import (
	"bytes"
	"encoding/base64"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// encoded returns the message as encoded by EncodeBinary.
func encoded(t testing.TB, text string) (string, *Part) {
	t.Helper()
	root, err := Parse(strings.NewReader(text), int64(len(text)))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := EncodeBinary(&out, strings.NewReader(text), int64(len(text)), root); err != nil {
		t.Fatal(err)
	}
	return out.String(), root
}

// TestEncodeBinary: parts of encoding binary have the same contents in base64, and the rest
// of the message is unchanged.
func TestEncodeBinary(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 16))
	for _, n := range []int{0, 1, 2, 56, 57, 58, 114, chunk - 1, chunk, chunk + 1, 3*chunk + 7} {
		content := make([]byte, n)
		for i := range content {
			content[i] = "\r\n\x00-a"[rng.IntN(5)]
		}
		for name, c := range map[string]struct{ text, want string }{
			"alone": {
				"Content-Transfer-Encoding: BINARY\r\nSubject: x\r\n\r\n%",
				"Content-Transfer-Encoding: base64\r\nSubject: x\r\n\r\n#",
			},
			"in parts": {
				"Content-Type: multipart/mixed; boundary=xyz\nContent-Transfer-Encoding: binary\n\n" +
					"--xyz\nContent-Type: image/png\ncontent-transfer-encoding :\n\tbinary (sic)\nX: y\n\n%\r\n" +
					"--xyz\nContent-Transfer-Encoding: 8bit\n\nbinary\n--xyz--\nend\n",
				"Content-Type: multipart/mixed; boundary=xyz\nContent-Transfer-Encoding: binary\n\n" +
					"--xyz\nContent-Type: image/png\nContent-Transfer-Encoding: base64\r\nX: y\n\n#" +
					"--xyz\nContent-Transfer-Encoding: 8bit\n\nbinary\n--xyz--\nend\n",
			},
			"in a message": {
				"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: binary\r\n\r\nContent-Transfer-Encoding: binary\r\n\r\n%",
				"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: binary\r\n\r\nContent-Transfer-Encoding: base64\r\n\r\n#",
			},
			"long header": {
				"X: " + strings.Repeat("Content-Transfer-Encoding: binary ", 2000) + "\r\nContent-Transfer-Encoding: binary\r\n\r\n%",
				"X: " + strings.Repeat("Content-Transfer-Encoding: binary ", 2000) + "\r\nContent-Transfer-Encoding: base64\r\n\r\n#",
			},
		} {
			digits := string(wrapped([]byte(base64.StdEncoding.EncodeToString(content)), 76, "\r\n"))
			if n > 0 {
				digits += "\r\n"
			}
			text := strings.Replace(c.text, "%", string(content), 1)
			want := strings.Replace(c.want, "#", digits, 1)
			if n == 0 && name == "in parts" {
				want = strings.Replace(want, "X: y\n\n", "X: y\n\n\r\n", 1) // the boundary's
			}
			if got, _ := encoded(t, text); got != want {
				t.Errorf("%s, %d octets:\n%.200q, expected\n%.200q", name, n, got, want)
			}
		}
	}
}

// TestEncodeBinaryLeavesAlone: mail without such parts is copied unchanged.
func TestEncodeBinaryLeavesAlone(t *testing.T) {
	files, err := filepath.Glob("../../testdata/mail/*.eml")
	if err != nil || len(files) == 0 {
		t.Fatal("no mail", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(bytes.ToLower(data), []byte(": binary")) {
			continue
		}
		if got, _ := encoded(t, string(data)); got != string(data) {
			t.Errorf("%s became %q", file, got)
		}
	}
}

// FuzzEncodeBinary checks that no part of encoding binary is left, that the parts are the
// same as before, and that those of encoding binary decode to what they contained.
func FuzzEncodeBinary(f *testing.F) {
	f.Add("Content-Transfer-Encoding: binary\r\n\r\n\x00\n\r\n")
	f.Add("Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Transfer-Encoding: binary\n\na\n--b\nContent-Transfer-Encoding: binary\n--b--")
	f.Add("Content-Type: message/rfc822\nContent-Transfer-Encoding: binary\n\nContent-Transfer-Encoding: binary\n\n--b")
	f.Fuzz(func(t *testing.T, text string) {
		out, root := encoded(t, text)
		again, err := Parse(strings.NewReader(out), int64(len(out)))
		if err != nil {
			t.Fatal(err)
		}
		sameParts(t, text, out, root, again)
	})
}

func sameParts(t *testing.T, before, after string, p, q *Part) {
	if q.encodable() && len(q.Children) == 0 {
		t.Fatalf("%q became %q, which is binary still", before, after)
	}
	if p.Type != q.Type || len(p.Children) != len(q.Children) {
		t.Fatalf("%q became %q, which has other parts", before, after)
	}
	if p.encodable() && len(p.Children) == 0 {
		var got bytes.Buffer
		b, err := MeasureBinary(strings.NewReader(after), q)
		if err == nil {
			_, err = b.Copy(&got, strings.NewReader(after), q, 0, -1)
		}
		if want := before[p.Body.Phys:p.End.Phys]; err != nil || got.String() != want {
			t.Fatalf("%q became %q, which is %q, %v", before, after, got.String(), err)
		}
	}
	for i := range p.Children {
		sameParts(t, before, after, p.Children[i], q.Children[i])
	}
}
