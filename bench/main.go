//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	b, err := newBench(ctx, o, stderr)
	if err != nil {
		return interrupted(ctx, err)
	}
	defer b.stop()
	fmt.Fprintln(stdout, b.machine())
	for _, s := range subjects() {
		if err := b.fill(ctx, s, stdout); err != nil {
			return interrupted(ctx, err)
		}
	}
	return nil
}

// fill measures the wanted parts of a table, and prints what there is of it.
func (b *bench) fill(ctx context.Context, s subject, stdout io.Writer) (err error) {
	b.table = table{unit: s.unit}
	for _, p := range s.parts {
		if b.options.wants(p.protocol, s.name) && err == nil {
			if err = p.run(ctx, b); err != nil {
				err = fmt.Errorf("%s-%s: %w", p.protocol, s.name, err)
			}
		}
	}
	b.progress.clear()
	if len(b.table.rows)+len(b.table.notes) > 0 {
		fmt.Fprintln(stdout)
		b.table.print(stdout)
	}
	return err
}

// interrupted says what it means that everything broke after Ctrl-C.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return err
}
