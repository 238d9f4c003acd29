package smtp

import (
	"strings"
	"testing"
)

// TestFirstLine checks what is inserted between the server's header fields and the text of a
// message, whatever pieces it arrives in. Postfix 3.7 does the same, except where noted.
func TestFirstLine(t *testing.T) {
	long := strings.Repeat("x", maxFieldName)
	for text, want := range map[string]string{
		"Subject: a\n\nbody\n":              "",
		"foo : x\n":                         "",
		"foo\t \t:\n":                       "",
		"\nbody\n":                          "",
		"":                                  "",
		"x-" + long[3:] + ": a\n":           "", // 998 bytes including the colon
		" folded: x\nSubject: a\n\nbody\n":  "\n",
		"\tfolded\n":                        "\n",
		"   \nSubject: b\n\nc\n":            "\n",
		"no field\nSubject: a\n\nbody\n":    "\n",
		"word\n":                            "\n",
		"word":                              "\n", // BDAT; Postfix ends the line
		"foo bar: x\n":                      "\n",
		": x\n":                             "\n",
		"\x00foo: x\n":                      "\n",
		"\xc3\xa4: x\n":                     "\n",
		"\rfoo: x\n":                        "\n", // Postfix replaces the CR by a space, and adds no empty line
		"foo\r: x\n":                        "\n",
		long + ": a\n":                      "\n", // Postfix recognises a field there
		long + long:                         "\n",
		"From x@y Mon Jan 1\nSubject: a\n":  "X-Mailbox-Line: ",
		">>From : x\nbody\n":                "X-Mailbox-Line: ",
		">From\n":                           "\n",
		"From: a\n":                         "",
		">>From: a\n":                       "",
		">: a\n":                            "",
		">>":                                "\n",
		"Fro":                               "\n",
		strings.Repeat(">", 2000) + "From ": "\n",
	} {
		for _, size := range []int{1, 2, 5, 997, 4096} {
			var f firstLine
			var got strings.Builder
			for rest := text; rest != ""; {
				n := min(size, len(rest))
				got.Write(f.take([]byte(rest[:n])))
				if len(f.held) >= maxFieldName {
					t.Fatalf("%.40q in pieces of %d: %d octets are held", text, size, len(f.held))
				}
				rest = rest[n:]
			}
			got.Write(f.end())
			if got.String() != want+text {
				t.Errorf("%.40q in pieces of %d became %.60q, want %q before it", text, size, got.String(), want)
			}
		}
	}
}
