// Package sheet writes a report in the forms that people ask for: a table in a terminal,
// comma-separated values for a spreadsheet, and a page to look at or to print.
package sheet

import (
	"encoding/csv"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Kind is what the cells of a column hold.
type Kind string

// The kinds of column. The zero Kind is Text.
const (
	Text   Kind = ""
	Number Kind = "number" // to the right, on the page
	Word   Kind = "word"   // not broken into lines, on the page
)

// Column is one column of a Sheet.
type Column struct {
	Name string
	Kind Kind
	// Wide columns are of CSV alone: neither a terminal nor a page has room for them.
	Wide bool
}

// Figure is a number that the page shows large.
type Figure struct {
	Name  string
	Count int
}

// Day is how many logins there were on a day, for the plot of the page.
type Day struct {
	Date             string
	Plain, Encrypted int64
}

// Sheet is a report as rows of cells. Text in it may come from strangers: every form
// makes it harmless.
type Sheet struct {
	Title string // of the page
	Time  string // that the report is about, on the page
	// Above are lines before the table, Below after it, None in place of one that has no
	// rows. CSV has none of them.
	Above, Below []string
	None         string
	Columns      []Column
	// Rows have a cell for each column; an empty one is shown as a dash.
	Rows [][]string

	Figures []Figure // of the page
	Days    []Day    // of the page, one after the other; none for no plot
}

// WriteText writes the sheet for a terminal.
func (s *Sheet) WriteText(w io.Writer) error {
	for _, line := range s.Above {
		fmt.Fprintln(w, line)
	}
	switch {
	case len(s.Rows) > 0:
		if len(s.Above) > 0 {
			fmt.Fprintln(w)
		}
		if err := s.writeTable(w); err != nil {
			return err
		}
	case s.None != "":
		fmt.Fprintln(w, s.None)
	}
	if len(s.Below) > 0 && (len(s.Rows) > 0 || len(s.Above) > 0 || s.None != "") {
		fmt.Fprintln(w)
	}
	for _, line := range s.Below {
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}

func (s *Sheet) writeTable(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(cell func(i int) string) {
		var cells []string
		for i, c := range s.Columns {
			if !c.Wide {
				cells = append(cells, cell(i))
			}
		}
		fmt.Fprintln(tw, strings.Join(cells, "\t"))
	}
	line(func(i int) string { return strings.ToUpper(s.Columns[i].Name) })
	for _, row := range s.Rows {
		line(func(i int) string { return visible(row[i]) })
	}
	return tw.Flush()
}

// visible is a cell for a terminal: without what would move its cursor.
func visible(cell string) string {
	if cell == "" {
		return "-"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 {
			return '?'
		}
		return r
	}, cell)
}

// WriteCSV writes all columns (RFC 4180), with a line of their names, in capitals, first.
func (s *Sheet) WriteCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	var names []string
	for _, c := range s.Columns {
		names = append(names, strings.ToUpper(c.Name))
	}
	if err := out.Write(names); err != nil {
		return err
	}
	for _, row := range s.Rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = inert(cell)
		}
		if err := out.Write(cells); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// inert is a cell that no spreadsheet takes for a formula: those begin with one of a few
// characters, and a client may call itself "=cmd|...".
func inert(cell string) string {
	if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
		return "'" + cell
	}
	return cell
}
