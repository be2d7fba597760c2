package main

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/spf13/cobra"

	"gateway/certs"
	"gateway/policies"
)

//go:embed gateway.hcl.tmpl
var configTemplate string

// ports are the addresses that init writes.
type ports struct {
	FTP, FTPS, SFTP, Relay, Submission, Submissions string
	Metrics, Passive                                string
}

func portSet(name string) (ports, error) {
	switch name {
	case "high":
		return ports{FTP: ":2121", FTPS: ":2990", SFTP: ":2222", Relay: "127.0.0.1:2525", Submission: ":2587", Submissions: ":2465", Metrics: "127.0.0.1:9100", Passive: "42000-42099"}, nil
	case "standard":
		return ports{FTP: ":21", FTPS: ":990", SFTP: ":22", Relay: "127.0.0.1:25", Submission: ":587", Submissions: ":465", Metrics: "127.0.0.1:9100", Passive: "42000-42099"}, nil
	default:
		return ports{}, usage("--ports is %q; want standard or high", name)
	}
}

// written is one file that init made or found.
type written struct {
	Path string `json:"path"`
	Made bool   `json:"made"` // false: it was there and was kept
}

func (c *cli) initCommand() *cobra.Command {
	var dir, hostname, set string
	cmd := &cobra.Command{
		Use: "init", Short: "Write a configuration and a policy to start from",
		Long: `Write gateway.hcl (this node) and policy.hcl (the rules) into a folder, and make
the folders for files and state, with SSH host keys. What exists is kept, so init may
be run again.`,
		Example: `  gateway init --dir /etc/gateway --hostname files.example.com --ports standard
  gateway init --dir ./try --ports high`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			p, err := portSet(set)
			if err != nil {
				return err
			}
			if hostname == "" {
				hostname = defaultHostname()
			}
			files, err := initialise(dir, hostname, p)
			if err != nil {
				return err
			}
			return c.print(files, func(w io.Writer) {
				for _, f := range files {
					word := "kept"
					if f.Made {
						word = "wrote"
					}
					fmt.Fprintf(w, "%-6s %s\n", word, f.Path)
				}
				config := filepath.Join(dir, "gateway.hcl")
				fmt.Fprintf(w, "\nNext:\n  gateway --config %[1]s user add alice --group users\n  gateway --config %[1]s run\n", config)
			})
		},
	}
	cmd.Flags().StringVar(&dir, "dir", ".", "`DIR` to write into")
	cmd.Flags().StringVar(&hostname, "hostname", "", "the `NAME` that clients use for this host (default: this host's name)")
	cmd.Flags().StringVar(&set, "ports", "high", "`SET` of ports: high (2121, 2222, ...) or standard (21, 22, ...)")
	_ = cmd.RegisterFlagCompletionFunc("ports", cobra.FixedCompletions([]string{"high", "standard"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func defaultHostname() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "localhost"
	}
	return strings.ToLower(name)
}

// initialise writes what is missing of an installation in dir.
func initialise(dir, hostname string, p ports) ([]written, error) {
	var config bytes.Buffer
	tmpl, err := template.New("gateway.hcl").Parse(configTemplate)
	if err != nil {
		return nil, err
	}
	if err := tmpl.Execute(&config, struct {
		Hostname string
		Ports    ports
	}{hostname, p}); err != nil {
		return nil, err
	}
	var made []written
	for _, folder := range []string{dir, filepath.Join(dir, "files"), filepath.Join(dir, "mail"), filepath.Join(dir, "state")} {
		_, err := os.Stat(folder)
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return nil, fmt.Errorf("make the folder: %w", err)
		}
		if folder != dir {
			made = append(made, written{Path: folder + "/", Made: errors.Is(err, fs.ErrNotExist)})
		}
	}
	for _, f := range []struct {
		name    string
		content []byte
	}{{"gateway.hcl", config.Bytes()}, {"policy.hcl", policies.Default()}} {
		path := filepath.Join(dir, f.name)
		fresh, err := writeNew(path, f.content)
		if err != nil {
			return nil, err
		}
		made = append(made, written{Path: path, Made: fresh})
		if !fresh || f.name != "gateway.hcl" {
			continue
		}
		// A configuration that was there may keep its state elsewhere.
		keys := filepath.Join(dir, "state", "keys")
		_, err = os.Stat(keys)
		if _, err := certs.OpenHostKeys(certs.HostKeyConfig{Dir: keys}); err != nil {
			return nil, fmt.Errorf("make the SSH host keys: %w", err)
		}
		made = append(made, written{Path: keys + "/", Made: errors.Is(err, fs.ErrNotExist)})
	}
	return made, nil
}

// writeNew writes a file unless there is one, whole or not at all.
func writeNew(path string, content []byte) (made bool, err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".init-*")
	if err != nil {
		return false, fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(content)
	err = errors.Join(err, tmp.Chmod(0o600), tmp.Sync(), tmp.Close())
	if err != nil {
		return false, fmt.Errorf("write %s: %w", path, err)
	}
	switch err := os.Link(tmp.Name(), path); { // never over what is there
	case errors.Is(err, fs.ErrExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("write %s: %w", path, err)
	}
	return true, nil
}
