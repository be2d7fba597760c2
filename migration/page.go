package migration

import (
	_ "embed"
	"html/template"
	"io"
	"time"
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
	Report
	Title  string
	Bars   []bar
	Most   int64 // logins of the day with the most
	Order  []State
	Width  float64
	Height float64
}

// WriteHTML writes the report as one page that needs nothing else, neither a network nor
// scripts, and can be printed.
func (r Report) WriteHTML(w io.Writer, hostname string) error {
	text, err := template.New("page").Funcs(template.FuncMap{
		"minute": func(t time.Time) string {
			if t.IsZero() {
				return "–"
			}
			return t.UTC().Format("2006-01-02 15:04")
		},
		"day": func(t time.Time) string { return t.UTC().Format(time.DateOnly) },
	}).Parse(pageText)
	if err != nil {
		return err
	}
	p := page{Report: r, Title: "Away from plaintext: " + hostname, Order: []State{Plain, Both, Encrypted, KeyOnly, Unseen}, Width: plotWidth, Height: plotHeight}
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
