// Command gateway is a secure transfer gateway: FTP, FTPS, SFTP and mail
// submission behind one set of accounts, rules and records.
//
// It is the one place where all packages are wired together.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	_ "time/tzdata" // time zones of rules, where the system has none

	"gateway/admin"
)

// version is set by the linker for releases.
var version = ""

func main() {
	err := run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	os.Exit(exitStatus(err))
}

// run is the whole program but for the exit status. The reason of a failure has
// been written to stderr when it returns.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	c := &cli{stdin: stdin, stdout: stdout, stderr: stderr}
	root := c.root()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && !errors.Is(err, errSilent) {
		fmt.Fprintf(stderr, "gateway: %s\n", strings.TrimSpace(err.Error()))
		if errors.Is(err, admin.ErrUsage) && cmd != nil {
			fmt.Fprintf(stderr, "Try '%s --help'.\n", cmd.CommandPath())
		}
	}
	return err
}

// errSilent fails a command that has said everything already.
var errSilent = errors.New("failed")

// exitStatus is 0 for done, 1 for refused or failed, 2 for wrong usage.
func exitStatus(err error) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, admin.ErrUsage):
		return 2
	default:
		return 1
	}
}
