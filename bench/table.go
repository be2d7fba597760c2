//go:build linux

package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// unit is what a table counts. Of a rate more is better, except where the table
// has no cost: then it weighs memory. Of a cost, less is better.
type unit struct {
	title, rate, cost string
	// rateOf and costOf are how many bytes or pieces a rate, and a cost, is given for.
	rateOf, costOf float64
	costScale      float64 // cost is in seconds times this
}

var ( // tables of constants
	transfers = unit{"transfers", "MB/s", "CPU s/GiB", 1e6, 1 << 30, 1}
	// clientTransfers include the time that the client takes to log in.
	clientTransfers = unit{"transfers by OpenSSH's sftp", "MB/s", "CPU s/GiB", 1e6, 1 << 30, 1}
	smallFiles      = unit{"small files", "per s", "CPU ms each", 1, 1, 1e3}
	listings        = unit{"listings", "entries per s", "CPU µs per entry", 1, 1, 1e6}
	logins          = unit{"logins", "per s", "CPU ms each", 1, 1, 1e3}
	messages        = unit{"mail of 4 KiB", "per s", "CPU ms each", 1, 1, 1e3}
	idling          = unit{title: "idle sessions", rate: "KiB each"}
	uploading       = unit{title: "uploads in flight", rate: "MiB over idle"}
	copies          = unit{title: "system calls of the gateway"}
	guessing        = unit{title: "logins while costly hashes are guessed"}
)

// result is what came out for one server.
type result struct {
	server           string
	rate, cost, busy float64
}

// row is one line of a table; the first result is the gateway's.
type row struct {
	what    string
	atOnce  int
	results []result
}

func (r row) servers() (names []string) {
	for _, each := range r.results {
		names = append(names, each.server)
	}
	return names
}

// table is printed when its rows are there.
type table struct {
	unit  unit
	rows  []row
	notes []string // what is not a row, a line each
}

// print writes a block for each run of rows that have the same servers, with a
// column for each server, and the gateway's ratio to the best of the others.
func (t table) print(out io.Writer) {
	for i := 0; i < len(t.rows); {
		n := 1
		for i+n < len(t.rows) && slices.Equal(t.rows[i+n].servers(), t.rows[i].servers()) {
			n++
		}
		if i > 0 {
			fmt.Fprintln(out)
		}
		t.printBlock(out, t.rows[i:i+n])
		i += n
	}
	for _, note := range t.notes {
		fmt.Fprintln(out, note)
	}
}

// printBlock writes the rates of rows, and below them what they cost.
func (t table) printBlock(out io.Writer, rows []row) {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	defer w.Flush()
	head := func(figure string) []string {
		return append(append([]string{t.unit.title + ", " + figure, "at once"}, rows[0].servers()...), "ratio to best peer")
	}
	line := func(cells ...string) { fmt.Fprintln(w, strings.Join(cells, "\t")) }
	if t.unit.cost == "" {
		line(head(t.unit.rate)...)
		for _, r := range rows {
			line(r.cells(func(each result) float64 { return each.rate }, false)...)
		}
		return
	}
	line(append(head(t.unit.rate), "busy, in that order")...)
	for _, r := range rows {
		cells := r.cells(func(each result) float64 { return each.rate }, true)
		var busy []string
		for _, each := range r.results {
			busy = append(busy, percent(each.busy))
		}
		line(append(cells, strings.Join(busy, " "))...)
	}
	line(head(t.unit.cost)...)
	for _, r := range rows {
		line(r.cells(func(each result) float64 { return each.cost }, false)...)
	}
}

// cells are those of a row in one figure, of which more is better or less.
func (r row) cells(of func(result) float64, more bool) []string {
	cells := []string{r.what, fmt.Sprint(r.atOnce)}
	for _, each := range r.results {
		cells = append(cells, figure(of(each)))
	}
	if len(r.results) == 1 {
		return append(cells, "-")
	}
	best := slices.MinFunc(r.results[1:], func(a, b result) int {
		if more {
			a, b = b, a
		}
		return cmp.Compare(of(a), of(b))
	})
	return append(cells, ratio(of(r.results[0]), of(best))+" "+best.server)
}

// figure prints three digits.
func figure(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func percent(v float64) string { return fmt.Sprintf("%.0f%%", 100*v) }

func ratio(ours, peer float64) string {
	if peer == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", ours/peer)
}
