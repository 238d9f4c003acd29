package main

import (
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDrawCurves: a plot is drawn even if a rival did not answer at the largest size; a row
// without any measurement is an error, not an empty plot.
func TestDrawCurves(t *testing.T) {
	c := &curve{
		row:    "SELECT, never seen",
		sizes:  map[string][]int{oursName: {1000, 10_000}, dovecotName: {1000}},
		values: map[string][]float64{oursName: {0.9, 8}, dovecotName: {3}},
		late:   map[string]int{dovecotName: 10_000},
	}
	path := filepath.Join(t.TempDir(), "curves.png")
	if err := drawCurves([]*curve{c, c, c, c, c}, path); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	picture, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	colours := map[any]bool{}
	for y := range picture.Bounds().Dy() {
		for x := range picture.Bounds().Dx() {
			colours[picture.At(x, y)] = true
		}
	}
	for _, look := range looks {
		if !colours[look.color] {
			t.Errorf("nothing of %s is in the picture", look.server)
		}
	}
	if err := drawCurves([]*curve{{row: "STORE"}}, path); err == nil || !strings.Contains(err.Error(), `"STORE"`) {
		t.Errorf("a row without a figure: %v", err)
	}
}
