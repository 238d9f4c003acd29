package main

import (
	"errors"
	"fmt"
	"image/color"
	"math"
	"os"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
)

const (
	plotColumns = 4
	plotWidth   = 4 * vg.Inch
	plotHeight  = 3 * vg.Inch
)

// looks are the colours and shapes of the servers. They can be told apart in print, too.
var looks = []struct {
	server string
	color  color.RGBA
	shape  draw.GlyphDrawer
}{
	{oursName, color.RGBA{R: 0x00, G: 0x72, B: 0xb2, A: 0xff}, draw.CircleGlyph{}},
	{dovecotName, color.RGBA{R: 0xd5, G: 0x5e, B: 0x00, A: 0xff}, draw.SquareGlyph{}},
}

// drawCurves draws one plot per curve, with logarithmic axes, into a PNG file.
func drawCurves(curves []*curve, path string) (err error) {
	rows := (len(curves) + plotColumns - 1) / plotColumns
	plots := make([][]*plot.Plot, rows)
	for i := range plots {
		plots[i] = make([]*plot.Plot, plotColumns)
	}
	for i, c := range curves {
		p, err := c.plot()
		if err != nil {
			return err
		}
		plots[i/plotColumns][i%plotColumns] = p
	}
	canvas := vgimg.New(plotWidth*plotColumns, plotHeight*vg.Length(rows))
	tiles := draw.Tiles{
		Rows: rows, Cols: plotColumns,
		PadX: vg.Centimeter, PadY: vg.Centimeter,
		PadTop: vg.Centimeter / 2, PadBottom: vg.Centimeter / 2, PadLeft: vg.Centimeter / 2, PadRight: vg.Centimeter,
	}
	for i, line := range plot.Align(plots, tiles, draw.New(canvas)) {
		for j, part := range line {
			if p := plots[i][j]; p != nil {
				p.Draw(part)
			}
		}
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = vgimg.PngCanvas{Canvas: canvas}.WriteTo(f)
	return err
}

// plot draws a row against the size of the mailbox.
func (c *curve) plot() (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = c.row
	if n := c.late[dovecotName]; n > 0 {
		p.Title.Text += fmt.Sprintf("\n(%s: no answer at %d)", dovecotName, n)
	}
	p.X.Label.Text, p.Y.Label.Text = "messages in the mailbox", "ms"
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.LogTicks{Prec: -1}, plot.LogTicks{Prec: -1}
	p.Legend.Top, p.Legend.Left = true, true
	p.Add(plotter.NewGrid())
	low, high := math.Inf(1), math.Inf(-1)
	for _, look := range looks {
		points := make(plotter.XYs, len(c.values[look.server]))
		if len(points) == 0 {
			continue
		}
		for i, ms := range c.values[look.server] {
			points[i] = plotter.XY{X: float64(c.sizes[look.server][i]), Y: ms}
			low, high = min(low, ms), max(high, ms)
		}
		line, marks, err := plotter.NewLinePoints(points)
		if err != nil {
			return nil, err
		}
		line.Color, marks.Color, marks.Shape = look.color, look.color, look.shape
		line.Width = vg.Points(1.5)
		p.Add(line, marks)
		p.Legend.Add(look.server, line, marks)
	}
	if low > high {
		return nil, fmt.Errorf("nothing was measured of %q", c.row)
	}
	// Use whole powers of ten, so that a flat line looks flat and there is room for the legend.
	p.Y.Min, p.Y.Max = math.Pow(10, math.Floor(math.Log10(low))), math.Pow(10, math.Ceil(math.Log10(high))+1)
	return p, nil
}
