package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// call runs the command and returns its exit status and what it said.
func call(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	err := run(t.Context(), args, strings.NewReader(""), &out, &errs)
	return exitStatus(err), out.String(), errs.String()
}

// Every command says what it does, shows an example, answers --help and refuses
// what it does not take.
func TestEveryCommand(t *testing.T) {
	t.Parallel()
	c := &cli{stdin: strings.NewReader(""), stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}}
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		path := strings.Fields(cmd.CommandPath())[1:]
		t.Run(strings.ReplaceAll(cmd.CommandPath(), " ", "-"), func(t *testing.T) {
			t.Parallel()
			if cmd.Short == "" {
				t.Error("got no Short, want one")
			}
			if !strings.HasPrefix(cmd.Example, "  gateway ") {
				t.Errorf("got example %q, want one that begins with %q", cmd.Example, "  gateway ")
			}
			status, stdout, stderr := call(t, append(path, "--help")...)
			if status != 0 || !strings.Contains(stdout, "Usage:") || stderr != "" {
				t.Errorf("--help: got status %d, stderr %q, want 0 and the usage", status, stderr)
			}
			for _, extra := range [][]string{{"--no-such-flag"}, strings.Fields("surplus surplus surplus surplus")} {
				status, stdout, stderr := call(t, append(path, extra...)...)
				if status != 2 || stdout != "" {
					t.Errorf("%v: got status %d, stdout %q, want 2 and nothing", extra, status, stdout)
				}
				if !strings.HasPrefix(stderr, "gateway: ") || !strings.Contains(stderr, "--help'.") || strings.Contains(stderr, "usage: ") {
					t.Errorf("%v: got %q, want a reason and where to look", extra, stderr)
				}
			}
		})
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(c.root())
}

func TestWrongUsage(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ args, want string }{
		{"usr", `gateway has no command "usr"; did you mean "user"?`},
		{"user", "gateway user needs a command: add, address,"},
		{"user lst", `gateway user has no command "lst"; did you mean "list"?`},
		{"user key lst", `gateway user key has no command "lst"; did you mean "list"?`},
		{"user add", "gateway user add needs NAME"},
		{"user key add alice", `gateway user key add takes NAME FILE, and was given ["alice"]`},
		{"version x", `gateway version takes no arguments, and was given ["x"]`},
		{"help nope", `gateway has no command "nope"`},
		{"completion", "gateway completion needs a command: bash, fish, powershell, zsh"},
		{"completion bsh", `did you mean "bash"?`},
		{"init --ports odd", `--ports is "odd"; want standard or high`},
		{"user set alice", "nothing to change: give --group, --route, --home, --expires, --permit, --quota-bytes, --quota-files, --bandwidth or --mail-..."},
		{"user set alice --permit /in", `--permit: permission: "/in": want PATH=WORDS`},
		{"user set alice --permit in=read", `--permit: path: "in": it must begin with /`},
		{"user set alice --permit /in/=read", `"/in/": write it as "/in"`},
		{"user set alice --permit /in=reed", `"reed" is not a permission; take all, none, drop`},
		{"user set alice --quota-bytes 10GB", `--quota-bytes: "10GB" is not a size such as`},
		{"user set alice --quota-files -1", `--quota-files: "-1" is not a number`},
		{"user add alice --bandwidth x", `--bandwidth: "x" is not a size`},
		{"group", "gateway group needs a command: ca, krl, list, remove, set, show"},
		{"group set users", "nothing to change: give --permit, --quota-bytes, --quota-files, --bandwidth or --mail-..."},
		{"policy explain", "--user, --protocol and --from are needed"},
		{"policy explain --user a --protocol gopher --channel plain --from ::1", `--protocol is "gopher"; want one of ftp, sftp, submission, relay`},
		{"policy explain --user a --protocol ftp --channel plain --from here", `--from "here" is not an IP address`},
		{"policy explain --user a --protocol ftp --channel plain --from ::1 --at soon", `--at "soon" is not a time`},
		{"audit query --event nope", `event "nope": want one of connection, login`},
		{"audit query --since xx", `time "xx"`},
		{"audit query --remote xx", `network "xx"`},
		{"audit tail -n -1", "-n is -1; want 0 to"},
		{"report", "gateway report needs a command: devices, exemptions, exposed, migration, plaintext"},
		{"report plain", `gateway report has no command "plain"; did you mean "plaintext"?`},
		{"report plaintext --since xx", `time "xx"`},
		{"report plaintext --since 2999-01-01", "since 2999-01-01T00:00:00Z is not before until"},
		{"bans add xx", `network "xx"`},
		{"bans add ::1 --for -1h", "--for is -1h"},
		{"bans add ::1 --for soon", "soon"},
		{"user passwd alice", "no password was given"},
		{"user passwd alice --password-stdin", "the first line of standard input is empty"},
		{"run --init", "--init needs --config"},
	} {
		t.Run(test.args, func(t *testing.T) {
			t.Parallel()
			status, _, stderr := call(t, strings.Fields(test.args)...)
			if status != 2 || !strings.Contains(stderr, test.want) {
				t.Errorf("got status %d, %q, want 2, %q", status, stderr, test.want)
			}
		})
	}
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if status, stdout, _ := call(t, "completion", shell); status != 0 || !strings.Contains(stdout, "gateway") {
			t.Errorf("%s: got status %d and %d bytes, want 0 and a script", shell, status, len(stdout))
		}
	}
	if _, stdout, _ := call(t, "__complete", "audit", "query", "--event", "lo"); !strings.Contains(stdout, "login") {
		t.Errorf("got %q, want login completed", stdout)
	}
	if _, stdout, _ := call(t, "__complete", "report", "pl"); !strings.Contains(stdout, "plaintext") {
		t.Errorf("got %q, want plaintext completed", stdout)
	}
}
