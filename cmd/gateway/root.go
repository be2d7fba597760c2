package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"gateway/admin"
)

// cli is one invocation of the command.
type cli struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	configFile string // --config
	asJSON     bool   // --json
}

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "gateway",
		Short: "Secure transfer gateway: FTP, FTPS, SFTP and mail submission under one set of rules",
		Long: `Secure transfer gateway: FTP, FTPS, SFTP and mail submission behind one set of
accounts, one set of rules, and one record of every connection and login.

Start here:  gateway demo`,
		Example: `  gateway demo
  gateway init --dir /etc/gateway --hostname files.example.com
  gateway --config /etc/gateway/gateway.hcl run`,
		SilenceUsage: true, SilenceErrors: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(c.stdin)
	root.SetOut(c.stdout)
	root.SetErr(c.stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage("%v", err) })
	root.PersistentFlags().StringVar(&c.configFile, "config", "",
		"configuration `FILE` (default ./gateway.hcl, then $GATEWAY_CONFIG, then /etc/gateway/gateway.hcl)")
	root.PersistentFlags().BoolVar(&c.asJSON, "json", false, "print data as JSON")
	root.AddGroup(&cobra.Group{ID: "node", Title: "The gateway:"}, &cobra.Group{ID: "manage", Title: "Accounts and rules:"},
		&cobra.Group{ID: "look", Title: "What happens:"})
	for id, commands := range map[string][]*cobra.Command{
		"node":   {c.demoCommand(), c.initCommand(), c.checkCommand(), c.runCommand(), c.certCommand(), c.configCommand()},
		"manage": {c.userCommand(), c.tokenCommand(), c.groupCommand(), c.authCommand(), c.importCommand(), c.exportCommand(), c.policyCommand(), c.mailCommand()},
		"look":   {c.auditCommand(), c.reportCommand(), c.sessionsCommand(), c.bansCommand(), c.queueCommand()},
	} {
		for _, cmd := range commands {
			cmd.GroupID = id
			root.AddCommand(cmd)
		}
	}
	root.AddCommand(c.versionCommand())
	root.SuggestionsMinimumDistance = 2
	root.SetHelpCommand(helpCommand(root))
	strictCompletion(root)
	return root
}

// helpCommand is cobra's, but that a command that does not exist is an error.
func helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]...", Short: "Say how a command is used", Example: "  gateway help user add",
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil {
				return usage("%v", err)
			}
			if len(rest) > 0 {
				return unknownCommand(cmd, rest[0])
			}
			cmd.InitDefaultHelpFlag()
			return cmd.Help()
		},
	}
}

// strictCompletion makes cobra's completion command refuse what it does not
// know, as all others do.
func strictCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() != "completion" {
			continue
		}
		shells := cmd.Commands()
		cmd.RemoveCommand(shells...)
		for _, shell := range shells {
			shell.Args = usageArgs(cobra.NoArgs)
			shell.Example = "  gateway completion " + shell.Name()
		}
		root.RemoveCommand(cmd)
		root.AddCommand(group("completion", "Write a script that completes commands in your shell",
			"  gateway completion bash > /etc/bash_completion.d/gateway", shells...))
		return
	}
}

// group is a command that only holds others.
func group(name, short, example string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: name, Short: short, Example: example,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("%s needs a command: %s", cmd.CommandPath(), strings.Join(names(cmd), ", "))
			}
			return unknownCommand(cmd, args[0])
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	cmd.SuggestionsMinimumDistance = 2
	cmd.AddCommand(commands...)
	return cmd
}

func names(cmd *cobra.Command) []string {
	var list []string
	for _, sub := range cmd.Commands() {
		list = append(list, sub.Name())
	}
	return list
}

// usage is an error in how the command was called: exit status 2.
func usage(format string, args ...any) error {
	return admin.Usage(format, args...)
}

// unknownCommand says that cmd has no command of that name, and what was meant.
func unknownCommand(cmd *cobra.Command, name string) error {
	text := fmt.Sprintf("%s has no command %q", cmd.CommandPath(), name)
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		text += fmt.Sprintf("; did you mean %q?", near[0])
	}
	return usage("%s", text)
}

// usageArgs turns a complaint about arguments into a usage error that says what
// the command takes.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if check(cmd, args) == nil {
			return nil
		}
		_, takes, _ := strings.Cut(cmd.Use, " ")
		switch {
		case takes == "":
			return usage("%s takes no arguments, and was given %q", cmd.CommandPath(), args)
		case len(args) == 0:
			return usage("%s needs %s", cmd.CommandPath(), takes)
		default:
			return usage("%s takes %s, and was given %q", cmd.CommandPath(), takes, args)
		}
	}
}

// configPath is the configuration file in force.
func (c *cli) configPath() (string, error) {
	if c.configFile != "" {
		return c.configFile, nil
	}
	candidates := []string{"gateway.hcl"}
	if env := os.Getenv("GATEWAY_CONFIG"); env != "" {
		candidates = append(candidates, env)
	}
	candidates = append(candidates, "/etc/gateway/gateway.hcl")
	for _, path := range candidates {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no configuration at %s; make one with 'gateway init', or name it with --config", strings.Join(candidates, ", "))
}

// print shows v as one JSON document, or what human writes.
func (c *cli) print(v any, human func(w io.Writer)) error {
	if !c.asJSON {
		human(c.stdout)
		return nil
	}
	enc := json.NewEncoder(c.stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// table writes aligned columns.
func table(w io.Writer, header []string, rows [][]string) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, strings.Join(header, "\t"))
	for _, row := range rows {
		fmt.Fprintln(tw, strings.Join(row, "\t"))
	}
	_ = tw.Flush()
}

// tilde shortens a path for people.
func tilde(path string) string {
	if wd, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(wd, path); err == nil && !strings.HasPrefix(rel, "..") {
			return rel
		}
	}
	return path
}
