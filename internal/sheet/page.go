package sheet

import (
	_ "embed"
	"html/template"
	"io"
)

//go:embed page.html
var pageText string

// The plot, in units of its own.
const (
	plotWidth  = 900.0
	plotHeight = 180.0
)

// bar is one day of the plot: clear text below, encryption above it.
type bar struct {
	Day
	X, Width                    float64
	PlainY, PlainHeight         float64
	EncryptedY, EncryptedHeight float64
}

// page is what the template shows.
type page struct {
	*Sheet
	Bars          []bar
	First, Last   string // days of the plot
	Most          int64  // logins of the day with the most
	Width, Height float64
}

// WriteHTML writes the sheet as one page that needs nothing else:
// neither a network nor scripts.
func (s *Sheet) WriteHTML(w io.Writer) error {
	text, err := template.New("page").Parse(pageText)
	if err != nil {
		return err
	}
	p := page{Sheet: s, Width: plotWidth, Height: plotHeight}
	p.plot()
	return text.Execute(w, p)
}

// plot works the bars out.
func (p *page) plot() {
	for _, d := range p.Days {
		p.Most = max(p.Most, d.Plain+d.Encrypted)
	}
	if p.Most == 0 {
		return
	}
	p.First, p.Last = p.Days[0].Date, p.Days[len(p.Days)-1].Date
	step := plotWidth / float64(len(p.Days))
	unit := plotHeight / float64(p.Most)
	for i, d := range p.Days {
		b := bar{Day: d, X: float64(i) * step, Width: max(step-1, step/2)}
		b.PlainHeight, b.EncryptedHeight = float64(d.Plain)*unit, float64(d.Encrypted)*unit
		b.PlainY = plotHeight - b.PlainHeight
		b.EncryptedY = b.PlainY - b.EncryptedHeight
		p.Bars = append(p.Bars, b)
	}
}
