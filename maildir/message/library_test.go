package message

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"maildird/scripts/mailgen"
)

// libraryMail lists the sample mails that ship with enmime.
func libraryMail(t *testing.T) []string {
	t.Helper()
	const module = "github.com/jhillyerd/enmime/v2"
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		t.Fatalf("where is %s? %v; go mod download fetches it", module, err)
	}
	var files []string
	err = filepath.WalkDir(filepath.Join(strings.TrimSpace(string(dir)), "testdata"), func(path string, _ fs.DirEntry, err error) error {
		if filepath.Ext(path) == ".raw" {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) < 50 {
		t.Fatalf("%s has %d samples: %v", module, len(files), err)
	}
	return files
}

// TestLibraryMail parses the samples of a mail library as they are and in CRLF form:
// structure, offsets, every part as a slice of the whole, decoding.
func TestLibraryMail(t *testing.T) {
	for _, file := range libraryMail(t) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, form := range [][]byte{data, inCRLF(data), bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))} {
			checkMail(t, filepath.Base(file), form)
		}
	}
}

// checkMail reads a mail completely, in every way.
func checkMail(t *testing.T, name string, data []byte) {
	t.Helper()
	root := parse(t, data)
	if err := checkParts(data, root); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	src, raw := bytes.NewReader(data), inCRLF(data)
	whole := withoutNUL(raw)
	var out bytes.Buffer
	if _, _, err := CopyVirtual(&out, src, Pos{}, root.End, 0, -1); err != nil || !bytes.Equal(out.Bytes(), whole) {
		t.Errorf("%s: %d octets, want %d, %v", name, out.Len(), len(whole), err)
	}
	header, body, err := ReadHeader(nil, src, int64(len(data)), 1<<20)
	if err != nil || body != root.Body || !bytes.Equal(header, whole[:body.Virt]) {
		t.Errorf("%s: the header ends at %v, parsed at %v, %v", name, body, root.Body, err)
	}
	ParseEnvelope(header)
	for _, p := range parts(root) {
		out.Reset()
		if _, _, err := CopyVirtual(&out, src, p.Body, p.End, 0, -1); err != nil || !bytes.Equal(out.Bytes(), whole[p.Body.Virt:p.End.Virt]) {
			t.Errorf("%s: a part of %d octets, want %d, %v", name, out.Len(), p.End.Virt-p.Body.Virt, err)
		}
		decoded, err := readDecoded(src, p)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if p.encoding() == "" && !bytes.Equal(decoded, raw[p.Body.Virt:p.End.Virt]) {
			t.Errorf("%s: a part that is not encoded has %d octets, decoded %d", name, p.End.Virt-p.Body.Virt, len(decoded))
		}
		if _, err := io.Copy(io.Discard, decodeText(src, p)); err != nil {
			t.Errorf("%s: as text: %v", name, err)
		}
	}
}

// TestGeneratedMail does the same with bulk mail, and with an attachment of 10 MB.
func TestGeneratedMail(t *testing.T) {
	for i := range 100 {
		checkMail(t, "generated", mailgen.Message(i))
	}
	data := mailgen.WithAttachment(1, 10<<20)
	root := parse(t, data)
	if len(root.Children) != 2 {
		t.Fatalf("%d parts", len(root.Children))
	}
	pdf := root.Children[1]
	b, err := MeasureBinary(bytes.NewReader(data), pdf)
	if err != nil || !b.NUL || b.Size < 10<<20 || b.Size > 10<<20+57 {
		t.Errorf("%d octets, NUL %v, %v", b.Size, b.NUL, err)
	}
	var out bytes.Buffer
	if _, err := b.Copy(&out, bytes.NewReader(data), pdf, b.Size-10, 100); err != nil || out.Len() != 10 {
		t.Errorf("the last %d octets, %v", out.Len(), err)
	}
}
