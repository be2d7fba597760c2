package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"gateway/admin"
	"gateway/auth"
	"gateway/auth/hashes"
	"gateway/migration/foreign"
)

type importFlags struct {
	groups, rename []string
	dryRun, asked  bool
	move           bool
	rules          string
}

func (c *cli) importCommand() *cobra.Command {
	var f importFlags
	var formats strings.Builder
	for _, format := range foreign.Formats() {
		fmt.Fprintf(&formats, "  %-16s %s\n  %-16s   %s\n", format.Name, format.Files, "", format.Short)
	}
	cmd := &cobra.Command{
		Use: "import FORMAT FILE...", Short: "Take over the accounts of another server, with their passwords",
		Long: `Take over the accounts of another server, with their passwords as they are: nobody has to
set a new one. It first says what it is going to do with each account, what that had and
will not have, and which are not taken and why; then it does all of that, or nothing. With
--dry-run it only says so.

Run again it changes nothing, or only what has changed in the source. A password that was
changed here stays.

Files stay in the folders where they are (home), if this machine has them; the gateway
must be allowed to write there, else it says what to do. With --move they are copied into
the storage of the gateway, each read back and compared; run again it goes on where it was.
Let nobody write to them meanwhile. The old folder stays.

Formats and the files that they take:

` + formats.String(),
		Example: `  gateway import passwd /etc/passwd /etc/shadow /etc/group --group users --dry-run
  gateway import vsftpd /etc/vsftpd.conf login.dump --group users --rules limits.hcl
  gateway import pureftpd /etc/pure-ftpd/pureftpd.passwd --group users --map Joe=joe`,
		Args: usageArgs(cobra.MinimumNArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error { return c.importAccounts(cmd, f, args[0], args[1:]) },
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&f.groups, "group", nil, "a `GROUP` that all of them are in, beside their own (may be repeated)")
	flags.StringArrayVar(&f.rename, "map", nil, "another name for an account: `OLD=NEW` (may be repeated)")
	flags.BoolVar(&f.dryRun, "dry-run", false, "only say what would be done")
	flags.BoolVar(&f.asked, "ask", false, "take accounts whose passwords cannot be taken without them: an old_server is asked (gateway.hcl)")
	flags.BoolVar(&f.move, "move", false, "copy the files of each account into the storage, and check them; the old folder stays")
	flags.StringVar(&f.rules, "rules", "", "write statements for policy.hcl, about networks and hours, to this `FILE`")
	return cmd
}

// importResult is what an import comes to, for JSON.
type importResult struct {
	Format   string            `json:"format"`
	DryRun   bool              `json:"dry_run,omitempty"`
	Accounts []importedAccount `json:"accounts"`
	Refused  []importRefusal   `json:"refused,omitempty"`
	Notes    []string          `json:"notes,omitempty"`
	Hashes   []hashPrice       `json:"hashes,omitempty"`
	// Bare is how many weak hashes the running gateway has still to wrap.
	Bare  int    `json:"bare,omitempty"`
	Rules string `json:"rules,omitempty"`
}

type importedAccount struct {
	admin.ImportPlan
	At     string   `json:"at"`
	Scheme string   `json:"scheme,omitempty"` // of the password
	Lost   []string `json:"lost,omitempty"`
	// Moved says what was copied of its files, and Left what was not.
	Moved string   `json:"moved,omitempty"`
	Left  []string `json:"left,omitempty"`

	home string // of the source
}

type importRefusal struct {
	At     string `json:"at"`
	Name   string `json:"name,omitempty"`
	Reason string `json:"reason"`
}

// hashPrice is how many of the passwords that are set have which scheme.
type hashPrice struct {
	Scheme string `json:"scheme"`
	Count  int    `json:"count"`
	Millis int64  `json:"millis"` // of the dearest
	Heavy  bool   `json:"heavy,omitempty"`
}

func (c *cli) importAccounts(cmd *cobra.Command, f importFlags, format string, files []string) error {
	prepared, err := c.prepareImport(f, format, files)
	if err != nil {
		return err
	}
	ctx, stop := untilInterrupted(cmd.Context())
	defer stop()
	client, err := c.client(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	in := importRequest(format, prepared.Accounts)
	plans, err := admin.Call[[]admin.ImportPlan](ctx, client, "import.plan", in)
	if err != nil {
		return err
	}
	out := importOutcome(format, prepared, plans)
	out.DryRun = f.dryRun
	if !c.asJSON {
		showImport(c.stdout, out)
	}
	if !f.dryRun && out.changes() > 0 {
		if out.Bare, err = storeSecrets(ctx, prepared.Accounts, plans, cmd.ErrOrStderr()); err != nil {
			return err
		}
		done, err := admin.Call[[]auth.ImportPlan](ctx, client, "import.apply", importRequest(format, prepared.Accounts))
		if err != nil {
			return err
		}
		for i, p := range done {
			out.Accounts[i].ImportPlan.ImportPlan = p
		}
	}
	if f.move && !f.dryRun {
		if err := c.moveHomes(ctx, client, &out, cmd.ErrOrStderr()); err != nil {
			return err
		}
	}
	return errors.Join(c.putRules(f, out), c.importDone(f, out))
}

// prepareImport reads the files and makes entries of what is in them.
func (c *cli) prepareImport(f importFlags, name string, files []string) (admin.Prepared, error) {
	formats := foreign.Formats()
	i := slices.IndexFunc(formats, func(g foreign.Format) bool { return g.Name == name })
	if i < 0 {
		var names []string
		for _, g := range formats {
			names = append(names, g.Name)
		}
		return admin.Prepared{}, usage("there is no format %q; there are %s", name, strings.Join(names, ", "))
	}
	rename := make(map[string]string)
	for _, pair := range f.rename {
		old, renamed, ok := strings.Cut(pair, "=")
		if !ok || old == "" || renamed == "" {
			return admin.Prepared{}, usage("--map takes OLD=NEW, and was given %q", pair)
		}
		rename[old] = renamed
	}
	for _, g := range f.groups {
		if err := auth.CheckGroup(g); err != nil {
			return admin.Prepared{}, usage("%v", err)
		}
	}
	found, err := formats[i].Read(foreign.Disk{}, files)
	if err != nil {
		return admin.Prepared{}, fmt.Errorf("import %s: %w", name, err)
	}
	return admin.PrepareImport(found, admin.PrepareOptions{Format: name, Groups: f.groups, Rename: rename, WithoutPassword: f.asked, Folder: func(path string) bool {
		info, err := os.Stat(path)
		return err == nil && info.IsDir() || errors.Is(err, os.ErrPermission)
	}}), nil
}

func importRequest(format string, accounts []admin.PreparedAccount) admin.ImportRequest {
	in := admin.ImportRequest{Format: format, Accounts: []admin.ImportEntry{}}
	for _, a := range accounts {
		in.Accounts = append(in.Accounts, a.ImportEntry)
	}
	return in
}

func importOutcome(format string, p admin.Prepared, plans []admin.ImportPlan) importResult {
	out := importResult{Format: format, Accounts: []importedAccount{}, Notes: p.Notes, Rules: p.Rules}
	for _, r := range p.Refused {
		out.Refused = append(out.Refused, importRefusal{At: r.At.String(), Name: r.Name, Reason: r.Reason})
	}
	prices := make(map[string]*hashPrice)
	for i, plan := range plans {
		a := p.Accounts[i]
		in := importedAccount{ImportPlan: plan, At: a.At.String(), Lost: a.Lost, home: a.Home}
		if plan.Password {
			in.Scheme = "plain"
			price := hashes.Price{}
			if !a.Plain {
				in.Scheme, price = a.Hash.Scheme(), a.Hash.Price()
			}
			h := prices[in.Scheme]
			if h == nil {
				h = &hashPrice{Scheme: in.Scheme}
				prices[in.Scheme] = h
			}
			h.Count++
			h.Millis, h.Heavy = max(h.Millis, price.Work.Milliseconds()), h.Heavy || price.Class() == hashes.Heavy
		}
		out.Accounts = append(out.Accounts, in)
	}
	for _, h := range prices {
		out.Hashes = append(out.Hashes, *h)
	}
	slices.SortFunc(out.Hashes, func(x, y hashPrice) int { return strings.Compare(x.Scheme, y.Scheme) })
	return out
}

// changes is how many accounts are made or changed.
func (r importResult) changes() int {
	return r.count(auth.ImportAdd) + r.count(auth.ImportChange)
}

func (r importResult) count(action auth.ImportAction) int {
	n := 0
	for _, a := range r.Accounts {
		if a.Action == action {
			n++
		}
	}
	return n
}

// putRules writes the statements to where they were asked for.
func (c *cli) putRules(f importFlags, out importResult) error {
	if f.rules == "" || out.Rules == "" || f.dryRun {
		return nil
	}
	if err := replaceFile(f.rules, []byte(out.Rules)); err != nil {
		return fmt.Errorf("write the rules: %w", err)
	}
	return nil
}

// importDone says what came of it. Nothing taken of all that there was is a failure.
func (c *cli) importDone(f importFlags, out importResult) error {
	if c.asJSON {
		if err := c.print(out, nil); err != nil {
			return err
		}
	} else {
		showImported(c.stdout, f, out)
	}
	if len(out.Accounts) == out.count(auth.ImportRefuse) && len(out.Refused)+len(out.Accounts) > 0 {
		return errors.New("no account was taken")
	}
	return nil
}
