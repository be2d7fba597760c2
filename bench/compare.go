//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"golang.org/x/term"
)

// server is something that is measured.
type server interface {
	name() string
	group() *group // may be another one after a restart
}

// trial measures one server. What prepare does is not measured.
type trial struct {
	server  server
	prepare func() (job, error)
}

// job is one round. Functions that are nil are not called.
type job struct {
	work func() error
	// settle waits until the server has done what the work left to it. It counts
	// as the server's processor time, but not as time.
	settle func() error
	// cleanup is called in any case, last.
	cleanup func()
}

// sample is one round, or the median of several.
type sample struct {
	took time.Duration
	cpu  time.Duration // of the server
	busy float64       // part of the machine's processors that server and client had
}

// unit is what a table counts.
type unit struct {
	title, rate, cost string
	// amount turns bytes or pieces into what a rate, and a cost, is given for.
	rateOf, costOf float64
	costScale      float64 // cost is in seconds times this
}

var ( // tables of constants
	transfers = unit{"transfers", "MB/s", "CPU s/GiB", 1e6, 1 << 30, 1}
	logins    = unit{"logins", "per s", "CPU ms each", 1, 1, 1e3}
	messages  = unit{"mail of 4 KiB", "per s", "CPU ms each", 1, 1, 1e3}
	memory    = unit{title: "idle sessions", rate: "KiB each"}
)

// measure runs one trial once.
func measure(t trial) (s sample, err error) {
	j, err := t.prepare()
	if j.cleanup != nil {
		defer j.cleanup()
	}
	if err != nil {
		return s, err
	}
	before, err := t.server.group().cpu()
	if err != nil {
		return s, err
	}
	own, began := ownCPU(), time.Now()
	if err := j.work(); err != nil {
		return s, err
	}
	s.took = time.Since(began)
	own = ownCPU() - own
	during, err := t.server.group().cpu()
	if err == nil && j.settle != nil {
		err = j.settle()
	}
	if err != nil {
		return s, err
	}
	used, err := t.server.group().cpu()
	s.cpu = used - before
	s.busy = (during - before + own).Seconds() / s.took.Seconds() / float64(runtime.NumCPU())
	return s, err
}

// compare runs the trials in turns, the gateway's being the first, and adds a row
// to the table. amount is how much a round moves or makes.
func (b *bench) compare(ctx context.Context, what string, atOnce int, amount float64, trials ...trial) error {
	all := make([][]sample, len(trials))
	for round := range b.options.rounds {
		for i, t := range trials {
			b.progress.show("%s, %d at once: %s, round %d of %d", what, atOnce, t.server.name(), round+1, b.options.rounds)
			s, err := measure(t)
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				return fmt.Errorf("%s, %d at once, %s: %w%s", what, atOnce, t.server.name(), err, lastWords(t.server))
			}
			all[i] = append(all[i], s)
		}
	}
	row := row{what: what, atOnce: atOnce}
	for i, t := range trials {
		m := median(all[i])
		row.results = append(row.results, result{
			server: t.server.name(), busy: m.busy,
			rate: amount / b.table.unit.rateOf / m.took.Seconds(),
			cost: m.cpu.Seconds() * b.table.unit.costScale / (amount / b.table.unit.costOf),
		})
	}
	b.table.rows = append(b.table.rows, row)
	return nil
}

// median takes each figure's own.
func median(all []sample) sample {
	of := func(figure func(sample) float64) float64 {
		values := make([]float64, len(all))
		for i, s := range all {
			values[i] = figure(s)
		}
		return middle(values)
	}
	return sample{
		took: time.Duration(of(func(s sample) float64 { return float64(s.took) })),
		cpu:  time.Duration(of(func(s sample) float64 { return float64(s.cpu) })),
		busy: of(func(s sample) float64 { return s.busy }),
	}
}

// middle is the median of values, of which there is one at least.
func middle(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

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

// table is printed when its rows are there.
type table struct {
	unit unit
	rows []row
}

func (t table) print(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	defer w.Flush()
	head := []string{t.unit.title, "at once", "gateway " + t.unit.rate, "peer", "", "ratio"}
	if t.unit.cost != "" {
		head = append(head, "gateway "+t.unit.cost, "peer", "ratio", "busy, gateway/peer")
	}
	fmt.Fprintln(w, strings.Join(head, "\t"))
	for _, r := range t.rows {
		ours := r.results[0]
		cells := []string{r.what, fmt.Sprint(r.atOnce), figure(ours.rate)}
		if len(r.results) == 1 {
			cells = append(cells, "-", "", "-")
			if t.unit.cost != "" {
				cells = append(cells, figure(ours.cost), "-", "-", percent(ours.busy))
			}
		} else {
			peer := r.results[1]
			cells = append(cells, peer.server, figure(peer.rate), ratio(ours.rate, peer.rate))
			if t.unit.cost != "" {
				cells = append(cells, figure(ours.cost), figure(peer.cost), ratio(ours.cost, peer.cost),
					percent(ours.busy)+" / "+percent(peer.busy))
			}
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
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

// progress says on a terminal, or in lines elsewhere, what is going on.
type progress struct {
	out      io.Writer
	terminal bool
	last     string
}

func newProgress(out io.Writer) *progress {
	f, ok := out.(interface{ Fd() uintptr })
	return &progress{out: out, terminal: ok && term.IsTerminal(int(f.Fd()))}
}

func (p *progress) show(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	if p.terminal {
		fmt.Fprintf(p.out, "\r\x1b[K%s", line)
		return
	}
	// One line for all rounds of a row is enough in a file.
	if what, _, _ := strings.Cut(line, ":"); what != p.last {
		p.last = what
		fmt.Fprintln(p.out, what)
	}
}

// clear makes room for what is printed next.
func (p *progress) clear() {
	if p.terminal {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}

// parallel runs n pieces of work at once and returns the first error.
func parallel(n int, work func(i int) error) error {
	var wg sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		wg.Go(func() { errs[i] = work(i) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
