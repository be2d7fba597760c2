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
	"slices"
	"strings"
	"syscall"
)

const usage = `Measures the gateway beside OpenSSH (sshd), vsftpd and Postfix, and prints a table.

A peer is left out, with a line that says why, where it is not installed or the
user is not root. At the default size a whole run takes five to ten minutes. MB/s
are 10^6 bytes a second, end to end; client and servers share the machine, so
compare the ratios, and the CPU time that a server needs, rather than MB/s.

`

// options are what the flags say.
type options struct {
	size     int64 // bytes of one transfer in all
	messages int
	logins   int
	accounts int
	idle     int
	rounds   int
	peers    bool
	cipher   string
	binary   string
	dir      string
	files    string
	only     []string
}

// wants tells whether a subject is to be measured.
func (o options) wants(subject string) bool {
	return len(o.only) == 0 || slices.Contains(o.only, subject)
}

// subject is one table.
type subject struct {
	name string
	unit unit
	run  func(context.Context, *bench) error
}

func subjects() []subject {
	return []subject{
		{"sftp", transfers, measureSFTP},
		{"ftp", transfers, measureFTP},
		{"logins", logins, measureLogins},
		{"smtp", messages, measureMail},
		{"idle", memory, measureIdle},
	}
}

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

// parse reads the flags.
func parse(args []string, stderr io.Writer) (options, error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var o options
	var only string
	mib := flags.Int64("size", 1024, "`MiB` moved by each transfer, shared by its sessions")
	flags.IntVar(&o.rounds, "rounds", 3, "times that each row is measured; the median is printed")
	flags.IntVar(&o.messages, "messages", 4000, "messages sent in a round")
	flags.IntVar(&o.logins, "logins", 300, "logins made in a round")
	flags.IntVar(&o.accounts, "accounts", 64, "accounts whose password is hashed in a round")
	flags.IntVar(&o.idle, "idle", 1000, "idle sessions held")
	flags.BoolVar(&o.peers, "peers", true, "measure OpenSSH, vsftpd and Postfix too")
	flags.StringVar(&only, "only", "", "`subjects` to measure, by comma: sftp, ftp, logins, smtp, idle (default all)")
	flags.StringVar(&o.cipher, "cipher", "aes128-gcm@openssh.com", "the SSH `cipher`, the same for both servers")
	flags.StringVar(&o.binary, "gateway", "", "gateway `binary` to measure (default: built from this tree)")
	flags.StringVar(&o.dir, "dir", "", "`folder` for databases, records and mail, which are made durable (default the temporary one)")
	flags.StringVar(&o.files, "files", "", "`folder` for the files that are moved (default /dev/shm, which leaves the disk out, else -dir)")
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unknown argument %q; see -h", flags.Arg(0))
	}
	o.size = *mib << 20
	if only != "" {
		o.only = strings.Split(only, ",")
	}
	var known []string
	for _, s := range subjects() {
		known = append(known, s.name)
	}
	for _, name := range o.only {
		if !slices.Contains(known, name) {
			return o, fmt.Errorf("unknown subject %q: use %s", name, strings.Join(known, ", "))
		}
	}
	if *mib < 1 || *mib > 1<<20 || o.rounds < 1 || o.messages < 1 || o.logins < 1 || o.accounts < 1 || o.idle < 1 {
		return o, errors.New("-size, -rounds, -messages, -logins, -accounts and -idle are at least 1, -size at most 1048576")
	}
	return o, nil
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
		if !o.wants(s.name) {
			continue
		}
		b.table = table{unit: s.unit}
		err := s.run(ctx, b)
		b.progress.clear()
		fmt.Fprintln(stdout)
		b.table.print(stdout)
		if err != nil {
			return interrupted(ctx, fmt.Errorf("%s: %w", s.name, err))
		}
	}
	return nil
}

// interrupted says what it means that everything broke after Ctrl-C.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return err
}
