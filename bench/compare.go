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
