package measure

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// A Plot shows how a cost grows with the work, both axes logarithmic unless said
// otherwise.
type Plot struct {
	Name   string // of the file, without .svg
	Title  string
	X, Y   string // what the axes measure, with the unit
	Series []Series
	// LinearY draws the second axis from zero.
	LinearY bool
}

// A Series is a line of a plot.
type Series struct {
	Name   string
	Points []Point
}

// A Point is one measurement, with the range of its rounds.
type Point struct{ X, Y, Low, High float64 }

const (
	plotWidth, plotHeight = 720.0, 400.0
	left, right           = 84.0, 170.0
	top, bottom           = 44.0, 52.0
)

var colours = []string{"#2563a8", "#c2571a", "#2f7d4f", "#7a4fa3", "#8a6d00", "#555555"}

// SVG draws the plot.
func (p *Plot) SVG() []byte {
	x, y := p.axis(false), p.axis(true)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" width="%g" height="%g" font-family="system-ui, sans-serif" font-size="12" role="img" aria-label="%s">`+"\n",
		plotWidth, plotHeight, plotWidth, plotHeight, html.EscapeString(p.Title))
	fmt.Fprintf(&b, `<rect width="%g" height="%g" fill="#ffffff"/><text x="%g" y="24" font-size="15" fill="#111111">%s</text>`+"\n", plotWidth, plotHeight, left, html.EscapeString(p.Title))
	for _, t := range x.ticks() {
		at := x.place(t)
		fmt.Fprintf(&b, `<path d="M%.1f %g V%g" stroke="#e3e3e3"/><text x="%.1f" y="%g" text-anchor="middle" fill="#333333">%s</text>`+"\n", at, top, plotHeight-bottom, at, plotHeight-bottom+18, Number(t))
	}
	for _, t := range y.ticks() {
		at := y.place(t)
		fmt.Fprintf(&b, `<path d="M%g %.1f H%g" stroke="#e3e3e3"/><text x="%g" y="%.1f" text-anchor="end" fill="#333333">%s</text>`+"\n", left, at, plotWidth-right, left-8, at+4, Number(t))
	}
	fmt.Fprintf(&b, `<text x="%g" y="%g" text-anchor="middle" fill="#333333">%s</text>`+"\n", (left+plotWidth-right)/2, plotHeight-12, html.EscapeString(p.X))
	fmt.Fprintf(&b, `<text transform="translate(18 %g) rotate(-90)" text-anchor="middle" fill="#333333">%s</text>`+"\n", (top+plotHeight-bottom)/2, html.EscapeString(p.Y))
	for i, s := range p.Series {
		p.line(&b, s, colours[i%len(colours)], x, y, top+8+18*float64(i))
	}
	b.WriteString("</svg>\n")
	return []byte(b.String())
}

func (p *Plot) line(b *strings.Builder, s Series, colour string, x, y axis, legend float64) {
	var path strings.Builder
	for i, pt := range s.Points {
		fmt.Fprintf(&path, "%s%.1f %.1f ", map[bool]string{true: "M", false: "L"}[i == 0], x.place(pt.X), y.place(pt.Y))
		fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"/>`, x.place(pt.X), y.place(pt.Y), colour)
		if pt.High > pt.Low {
			fmt.Fprintf(b, `<path d="M%.1f %.1f V%.1f" stroke="%s"/>`, x.place(pt.X), y.place(pt.Low), y.place(pt.High), colour)
		}
	}
	fmt.Fprintf(b, `<path d="%s" fill="none" stroke="%s" stroke-width="2"/>`, strings.TrimSpace(path.String()), colour)
	fmt.Fprintf(b, `<path d="M%g %g h16" stroke="%s" stroke-width="2"/><text x="%g" y="%g" fill="#111111">%s</text>`+"\n",
		plotWidth-right+12, legend, colour, plotWidth-right+34, legend+4, html.EscapeString(s.Name))
}

// An axis maps values to places.
type axis struct {
	low, high float64 // as drawn: logarithms of base 10, or values
	linear    bool
	from, to  float64
}

func (p *Plot) axis(vertical bool) axis {
	a := axis{low: math.Inf(1), high: math.Inf(-1), linear: vertical && p.LinearY, from: left, to: plotWidth - right}
	if vertical {
		a.from, a.to = plotHeight-bottom, top
	}
	for _, s := range p.Series {
		for _, pt := range s.Points {
			values := []float64{pt.X}
			if vertical {
				values = []float64{pt.Y, pt.Low, pt.High}
			}
			for _, v := range values {
				if v > 0 {
					a.low, a.high = min(a.low, a.scale(v)), max(a.high, a.scale(v))
				}
			}
		}
	}
	if math.IsInf(a.low, 0) {
		a.low, a.high = 0, 1
	}
	if a.linear {
		a.low, a.high = 0, a.high*1.1
	} else {
		a.low, a.high = math.Floor(a.low+0.001), math.Ceil(a.high-0.001)
	}
	if a.high <= a.low {
		a.high = a.low + 1
	}
	return a
}

func (a axis) scale(v float64) float64 {
	if a.linear {
		return v
	}
	return math.Log10(v)
}

func (a axis) place(v float64) float64 {
	s := a.low
	if v > 0 {
		s = a.scale(v)
	}
	return a.from + (s-a.low)/(a.high-a.low)*(a.to-a.from)
}

func (a axis) ticks() (list []float64) {
	if !a.linear {
		for e := a.low; e <= a.high; e++ {
			list = append(list, math.Pow(10, e))
		}
		return list
	}
	step := math.Pow(10, math.Floor(math.Log10(a.high/2)))
	for step*6 < a.high {
		step *= 2
	}
	for v := 0.0; v <= a.high; v += step {
		list = append(list, v)
	}
	return list
}

// Number writes a number with three digits that count, and the usual letters
// beyond thousands.
func Number(v float64) string {
	for _, u := range []struct {
		size float64
		name string
	}{{1e9, "G"}, {1e6, "M"}, {1e4, "k"}} {
		if math.Abs(v) >= u.size {
			scale := u.size
			if u.name == "k" {
				scale = 1e3
			}
			return trim(v/scale) + " " + u.name
		}
	}
	return trim(v)
}

func trim(v float64) string {
	digits := 2
	switch a := math.Abs(v); {
	case a >= 100:
		digits = 0
	case a >= 10:
		digits = 1
	case a < 0.1:
		digits = 4
	}
	s := fmt.Sprintf("%.*f", digits, v)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}
