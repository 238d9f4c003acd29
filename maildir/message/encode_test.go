package message

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

func TestEncodedPartIsTheSame(t *testing.T) {
	files, err := filepath.Glob("../../testdata/mail/*.eml")
	if err != nil || len(files) == 0 {
		t.Fatal("no mail", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want, err := Parse(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodePart(AppendPart(nil, want))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v became %+v, %v", file, want, got, err)
		}
	}
}

// FuzzDecodePart checks that what was decoded is the same after it was encoded and decoded
// again.
func FuzzDecodePart(f *testing.F) {
	for _, text := range []string{
		"", "Subject: x\n\ntext\n",
		"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\nSubject: y\n\nz\n--b--\n",
	} {
		p, err := Parse(bytes.NewReader([]byte(text)), int64(len(text)))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(AppendPart(nil, p))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := DecodePart(b)
		if err != nil {
			return
		}
		again, err := DecodePart(AppendPart(nil, p))
		if err != nil || !reflect.DeepEqual(again, p) {
			t.Fatalf("%+v became %+v, %v", p, again, err)
		}
	})
}
