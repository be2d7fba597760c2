package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	_ "embed"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"

	"gateway/admin"
	"gateway/audit"
	"gateway/config"
	"gateway/session"
)

//go:embed demo.hcl.tmpl
var demoPolicy string

func (c *cli) demoCommand() *cobra.Command {
	return &cobra.Command{
		Use: "demo", Short: "Run everything on loopback with two accounts, and show what happens",
		Long: `Run a gateway on loopback in a temporary folder, with certificates, host keys and
two accounts, print commands to paste, and show the record live until Ctrl-C. The
folder is removed at the end.`,
		Example: "  gateway demo", Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			ctx, stop := untilInterrupted(cmd.Context())
			defer stop()
			dir, err := os.MkdirTemp("", "gateway-demo-")
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
			d := &demo{cli: c, dir: dir}
			return d.run(ctx)
		},
	}
}

// demo is one demonstration.
type demo struct {
	*cli
	dir  string
	node *node

	alicePassword, scannerPassword string
}

const demoGrace = 2 * time.Second

func (d *demo) run(ctx context.Context) error {
	fmt.Fprintln(d.stdout, "Making certificates, host keys and accounts ...")
	cfg, err := d.config()
	if err != nil {
		return err
	}
	d.node, err = openNode(ctx, cfg, newLog(config.Log{Level: "warn"}, d.stderr))
	if err != nil {
		return err
	}
	reader := d.node.record.Reader()
	err = d.accounts(ctx)
	if err == nil {
		err = d.files()
	}
	if err != nil {
		return errors.Join(err, d.node.close())
	}
	served := make(chan error, 1)
	go func() {
		cut, cancel := context.WithCancel(context.WithoutCancel(ctx))
		defer cancel()
		served <- d.node.serve(ctx, cut)
	}()
	d.show()
	for r, err := range reader.Tail(ctx, 0, true, audit.Filter{}) {
		if err != nil {
			fmt.Fprintln(d.stderr, "gateway:", err)
			continue
		}
		fmt.Fprintln(d.stdout, audit.Line(r.Event))
	}
	fmt.Fprintln(d.stdout, "\nStopping, and removing the folder.")
	return errors.Join(<-served, d.node.close())
}

// config writes the installation: the usual ports on loopback, free ones where
// those are taken.
func (d *demo) config() (*config.Config, error) {
	p, err := portSet("high")
	if err != nil {
		return nil, err
	}
	for _, address := range []*string{&p.FTP, &p.FTPS, &p.SFTP, &p.Relay, &p.Submission, &p.Submissions, &p.Metrics} {
		_, port, err := net.SplitHostPort(*address)
		if err != nil {
			return nil, err
		}
		*address = freeAddress(port)
	}
	var rules bytes.Buffer
	_, sftpPort, err := net.SplitHostPort(p.SFTP)
	if err != nil {
		return nil, err
	}
	tmpl, err := template.New("policy.hcl").Parse(demoPolicy)
	if err != nil {
		return nil, err
	}
	until := time.Now().AddDate(0, 6, 0).Format(time.DateOnly)
	if err := tmpl.Execute(&rules, map[string]string{"SFTPPort": sftpPort, "Until": until}); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(d.dir, "policy.hcl"), rules.Bytes(), 0o600); err != nil {
		return nil, err
	}
	if _, err := initialise(d.dir, "localhost", p); err != nil {
		return nil, err
	}
	cfg, err := config.Load(filepath.Join(d.dir, "gateway.hcl"))
	if err == nil {
		cfg.ShutdownGrace = demoGrace
		// Everybody comes from here: a mistyped password must not lock out the rest.
		cfg.Limits.Trusted = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	}
	return cfg, err
}

// freeAddress is the port on loopback, or another one if it is taken.
func freeAddress(port string) string {
	for _, try := range []string{port, "0"} {
		ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", try))
		if err == nil {
			defer ln.Close()
			return ln.Addr().String()
		}
	}
	return net.JoinHostPort("127.0.0.1", port) // run will say what is wrong
}

func (d *demo) accounts(ctx context.Context) error {
	client := admin.Local(d.node.service(d.node), func() error { return nil })
	d.alicePassword, d.scannerPassword = rand.Text()[:12], rand.Text()[:12]
	key, err := d.key()
	if err != nil {
		return err
	}
	for _, step := range []struct {
		method string
		in     any
	}{
		{"user.add", admin.NewUser{Name: "alice", Groups: []string{"users", "mail"}, Password: d.alicePassword}},
		{"user.key.add", admin.NameValue{Name: "alice", Value: key}},
		{"user.address.add", admin.NameValue{Name: "alice", Value: "alice@example.com"}},
		{"user.add", admin.NewUser{Name: "scanner", Groups: []string{"users"}, Password: d.scannerPassword}},
	} {
		if _, err := admin.Call[admin.User](ctx, client, step.method, step.in); err != nil {
			return fmt.Errorf("make the accounts: %w", err)
		}
	}
	return nil
}

// key writes alice's key and returns its public half.
func (d *demo) key() (string, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", err
	}
	block, err := ssh.MarshalPrivateKey(private, "alice@demo")
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(d.dir, "alice_key"), pem.EncodeToMemory(block), 0o600); err != nil {
		return "", err
	}
	line, err := ssh.NewPublicKey(public)
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(line))) + " alice@demo\n", nil
}

// files writes what the commands to paste name: the authority, the host keys,
// something to send.
func (d *demo) files() error {
	var known strings.Builder
	addr := d.addr(session.SFTP, config.TLSNone)
	for _, key := range d.node.hostKeys.Set().Serving {
		fmt.Fprintf(&known, "[127.0.0.1]:%s %s", port(addr), ssh.MarshalAuthorizedKey(key.PublicKey()))
	}
	for name, content := range map[string][]byte{
		"known_hosts": []byte(known.String()), "ca.pem": d.node.certs.CA(), "hello.txt": []byte("Hello from the demo.\n"),
	} {
		if err := os.WriteFile(filepath.Join(d.dir, name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// addr is where the listener of that kind listens.
func (d *demo) addr(p session.Protocol, mode config.TLSMode) string {
	for _, door := range d.node.doors {
		if door.Protocol == p && door.TLS == mode {
			return door.ln.Addr().String()
		}
	}
	return ""
}

func port(addr string) string {
	_, port, _ := net.SplitHostPort(addr) // an address of our own listener
	return port
}

func (d *demo) show() {
	self, err := os.Executable()
	if err != nil {
		self = "gateway"
	}
	ftp, ftps := d.addr(session.FTP, config.TLSExplicit), d.addr(session.FTP, config.TLSImplicit)
	submission, submissions := d.addr(session.Submission, config.TLSExplicit), d.addr(session.Submission, config.TLSImplicit)
	sftp := port(d.addr(session.SFTP, config.TLSNone))
	ca, hello := filepath.Join(d.dir, "ca.pem"), filepath.Join(d.dir, "hello.txt")
	curl := fmt.Sprintf("curl --cacert %s --user alice:%s", ca, d.alicePassword)
	mail := fmt.Sprintf("--auth PLAIN --auth-user alice --auth-password %s --from alice@example.com --to bob@example.org", d.alicePassword)
	fmt.Fprintf(d.stdout, `
The gateway runs. Everything is in %s, until you press Ctrl-C.

  alice    password %s, key %s
  scanner  password %s, an old device that policy.hcl lets in without TLS

Paste into another terminal:

`, d.dir, d.alicePassword, filepath.Join(d.dir, "alice_key"), d.scannerPassword)
	for _, line := range []struct{ what, command string }{
		{"SFTP with the key", fmt.Sprintf("sftp -P %s -i %s -o UserKnownHostsFile=%s alice@127.0.0.1", sftp, filepath.Join(d.dir, "alice_key"), filepath.Join(d.dir, "known_hosts"))},
		{"FTPS: send a file, by AUTH TLS", fmt.Sprintf("%s --ssl-reqd -T %s ftp://localhost:%s/", curl, hello, port(ftp))},
		{"FTPS: list, TLS from the first byte", fmt.Sprintf("%s ftps://localhost:%s/", curl, port(ftps))},
		{"Plain FTP: refused with 530 before the password is asked for", fmt.Sprintf("curl -v --user alice:%s ftp://127.0.0.1:%s/", d.alicePassword, port(ftp))},
		{"Plain FTP of the old device: let in, and recorded as exposed", fmt.Sprintf("curl --user scanner:%s -T %s ftp://127.0.0.1:%s/", d.scannerPassword, hello, port(ftp))},
		{"Mail on 587, by STARTTLS", fmt.Sprintf("swaks --server 127.0.0.1 --port %s --tls %s", port(submission), mail)},
		{"Mail on 465, TLS from the first byte", fmt.Sprintf("swaks --server 127.0.0.1 --port %s --tls-on-connect %s", port(submissions), mail)},
		{"The record", fmt.Sprintf("%s --config %s audit tail", self, filepath.Join(d.dir, "gateway.hcl"))},
		{"Why is alice refused in clear?", fmt.Sprintf("%s --config %s policy explain --user alice --protocol ftp --channel plain --from 127.0.0.1", self, filepath.Join(d.dir, "gateway.hcl"))},
	} {
		fmt.Fprintf(d.stdout, "# %s\n%s\n\n", line.what, line.command)
	}
	fmt.Fprintln(d.stdout, "What happens:")
}
