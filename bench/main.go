// Command bench measures a gateway that it starts itself, on loopback, and prints
// tables: transfers by SFTP, FTP and FTPS, logins, mail accepted durably, and
// memory of idle sessions. The processor time is that of the gateway's process
// alone, over all of its threads. Client and server share the machine, so that the figures compare runs on
// one machine and nothing else. It is never a test.
//
//	go run ./bench
//	go run ./bench -size 256 -only sftp,logins
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"text/tabwriter"
)

// options are what the flags say.
type options struct {
	size     int64 // bytes of one transfer in all
	messages int
	logins   int
	idle     int
	dir      string
}

// subject is one thing that is measured; it prints rows of tab-separated cells.
type subject struct {
	name, header string
	run          func(ctx context.Context, g *gateway, o options, out io.Writer) error
}

func subjects() []subject {
	return []subject{
		{"sftp", "SFTP\tsessions\tMB/s\tserver CPU-s/GiB", measureSFTP},
		{"ftp", "FTP\tsessions\tMB/s\tserver CPU-s/GiB", measureFTP},
		{"logins", "logins\tclients\tper second\tserver CPU-ms each", measureLogins},
		{"smtp", "mail, 4 KiB\tclients\tmessages/s\tserver CPU-ms each", measureSMTP},
		{"idle", "idle sessions\tsessions\tKiB each\t", measureIdle},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	size := flags.Int64("size", 1024, "MiB moved by each transfer, shared by its sessions")
	messages := flags.Int("messages", 5000, "messages sent")
	logins := flags.Int("logins", 500, "logins made of each kind")
	idle := flags.Int("idle", 1000, "idle sessions held")
	only := flags.String("only", "", "subjects to measure, by comma: sftp, ftp, logins, smtp, idle (default all)")
	dir := flags.String("dir", "", "folder for the installation; a file system in memory leaves the disk out (default a temporary one)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var wanted []string
	if *only != "" {
		wanted = strings.Split(*only, ",")
	}
	o := options{size: *size << 20, messages: *messages, logins: *logins, idle: *idle, dir: *dir}
	g, err := startGateway(ctx, o.dir)
	if err != nil {
		return err
	}
	defer g.stop()
	for _, s := range subjects() {
		if wanted != nil && !slices.Contains(wanted, s.name) {
			continue
		}
		table := tabwriter.NewWriter(out, 0, 8, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(table, s.header+"\t")
		err := s.run(ctx, g, o, table)
		_ = table.Flush()
		fmt.Fprintln(out)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}
