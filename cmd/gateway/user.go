package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"gateway/admin"
	"gateway/auth"
)

func (c *cli) userCommand() *cobra.Command {
	return group("user", "Accounts, their passwords, keys and mail addresses", "  gateway user add alice --group users",
		c.userAdd(), c.userList(), c.userShow(), c.userSet(), c.userPasswd(),
		c.userAct("disable", "Refuse the account's logins and end its sessions", "disabled"),
		c.userAct("enable", "Accept the account's logins again", "enabled"),
		c.userAct("remove", "Remove the account; its files stay", "removed"),
		c.keyCommand(), c.totpCommand(), c.addressCommand())
}

func (c *cli) userAdd() *cobra.Command {
	var in admin.NewUser
	var allowance allowanceFlags
	var fromStdin bool
	cmd := &cobra.Command{
		Use: "add NAME", Short: "Make an account",
		Long: `Make an account. The password is asked for, or read from standard input with
--password-stdin; without one the account needs a key ('gateway user key add').`,
		Example: `  gateway user add alice --group users --group mail
  pwgen -s 24 1 | gateway user add scanner --group users --password-stdin`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if in.AllowanceUpdate, err = allowance.read(cmd); err != nil {
				return err
			}
			password, err := c.password(fromStdin, "Password for "+args[0]+" (empty for none): ")
			if err != nil {
				return err
			}
			in.Name, in.Password = args[0], password
			user, err := ask[admin.User](cmd.Context(), c, "user.add", in)
			if err != nil {
				return err
			}
			return c.print(user, func(w io.Writer) {
				fmt.Fprintf(w, "added %s\n", user.Name)
				if user.PasswordChanged.IsZero() {
					fmt.Fprintf(w, "It has no password yet: gateway user passwd %[1]s, or gateway user key add %[1]s FILE\n", user.Name)
				}
				if len(user.Groups) == 0 {
					fmt.Fprintf(w, "It is in no group; with the policy of 'gateway init' it may not do anything: gateway user set %s --group users\n", user.Name)
				}
			})
		},
	}
	cmd.Flags().StringArrayVar(&in.Groups, "group", nil, "a `GROUP` that the account is in (may be repeated)")
	cmd.Flags().StringVar(&in.Route, "route", "", "where its mail goes, instead of the default `ROUTE`")
	cmd.Flags().BoolVar(&fromStdin, "password-stdin", false, "read the password from the first line of standard input")
	allowance.add(cmd, "it", "for all its sessions together")
	return cmd
}

func (c *cli) userSet() *cobra.Command {
	var groups []string
	var route, home, expires string
	var allowance allowanceFlags
	cmd := &cobra.Command{
		Use: "set NAME", Short: "Change an account's groups, folder, end, mail route, or what it may do with files and mail",
		Long: `Change an account's groups, folder, end, mail route, or what it may do with files and mail.
It holds from the account's next login on. Sessions end if they lose a permission by it.
Files are not moved when the folder changes.`,
		Example: `  gateway user set alice --group users --group mail
  gateway user set alice --route smtp://mail.example.com
  gateway user set alice --permit /=list,read --permit /in=drop
  gateway user set alice --quota-bytes 10GiB --quota-files 5000 --bandwidth 5MiB
  gateway user set scanner --mail-messages-per-hour 60 --mail-domain example.com`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			in := admin.UserUpdate{Name: args[0]}
			if cmd.Flags().Changed("group") {
				given := []string{}
				for _, g := range groups {
					if g != "" {
						given = append(given, g)
					}
				}
				in.Groups = &given
			}
			if cmd.Flags().Changed("route") {
				in.Route = &route
			}
			if cmd.Flags().Changed("home") {
				in.Home = &home
			}
			var err error
			if cmd.Flags().Changed("expires") {
				in.Expires = new(time.Time)
				if expires != "" {
					if *in.Expires, err = parseExpires(expires, time.Now()); err != nil {
						return err
					}
				}
			}
			if in.AllowanceUpdate, err = allowance.read(cmd); err != nil {
				return err
			}
			if in.Groups == nil && in.Route == nil && in.Home == nil && in.Expires == nil && in.Empty() {
				return usage("nothing to change: give --group, --route, --home, --expires, %s", allowanceNames)
			}
			user, err := ask[admin.User](cmd.Context(), c, "user.set", in)
			if err != nil {
				return err
			}
			return c.print(user, func(w io.Writer) { showUser(w, user) })
		},
	}
	cmd.Flags().StringArrayVar(&groups, "group", nil, "all `GROUP`s that the account is in from now on (may be repeated; \"\" for none)")
	cmd.Flags().StringVar(&route, "route", "", "where its mail goes; \"\" for the default `ROUTE`")
	cmd.Flags().StringVar(&home, "home", "", "the `FOLDER` of its files, elsewhere on this machine; \"\" for that of its name")
	cmd.Flags().StringVar(&expires, "expires", "", "the `DATE` from which on it cannot be used: 2027-06-30, 2027-06-30T18:00:00Z, or 90d from now; \"\" for never")
	allowance.add(cmd, "it", "for all its sessions together")
	return cmd
}

func (c *cli) userList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the accounts", Example: "  gateway user list --json", Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			users, err := ask[[]admin.User](cmd.Context(), c, "user.list", admin.Nothing{})
			if err != nil {
				return err
			}
			return c.print(users, func(w io.Writer) {
				if len(users) == 0 {
					fmt.Fprintln(w, "There are no accounts yet: gateway user add NAME --group users")
					return
				}
				var rows [][]string
				for _, u := range users {
					rows = append(rows, []string{u.Name, userState(u), cmp.Or(u.Source, "store"), strings.Join(u.Groups, ","), fmt.Sprint(len(u.Keys)), strings.Join(u.Addresses, ",")})
				}
				table(w, []string{"NAME", "STATE", "SOURCE", "GROUPS", "KEYS", "ADDRESSES"}, rows)
			})
		},
	}
}

func (c *cli) userShow() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Show an account", Example: "  gateway user show alice", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			user, err := ask[admin.ShownUser](cmd.Context(), c, "user.show", admin.Name{Name: args[0]})
			if err != nil {
				return err
			}
			return c.print(user, func(w io.Writer) {
				showUser(w, user.User)
				showAccess(w, user.Access)
			})
		},
	}
}

func userState(u admin.User) string {
	switch {
	case u.Disabled:
		return "disabled"
	case u.Barred:
		return "disabled by " + u.Source
	case !u.Expires.IsZero() && !time.Now().Before(u.Expires):
		return "expired"
	default:
		return "enabled"
	}
}

func showUser(w io.Writer, u admin.User) {
	password := "none"
	if !u.PasswordChanged.IsZero() {
		password = "set " + u.PasswordChanged.Format("2006-01-02")
	}
	if u.Source != "" {
		password = "kept by " + u.Source
	}
	route := u.Route
	if route == "" {
		route = "(default)"
	}
	listed := func(list []string) string {
		if len(list) == 0 {
			return "none"
		}
		return strings.Join(list, ", ")
	}
	if !u.TOTPAdded.IsZero() {
		password += ", one-time codes since " + u.TOTPAdded.Format("2006-01-02")
	}
	fmt.Fprintf(w, "name       %s\nstate      %s\ngroups     %s\npassword   %s\naddresses  %s\nroute      %s\ncreated    %s\n",
		u.Name, userState(u), listed(u.Groups), password, listed(u.Addresses), route, u.Created.Format("2006-01-02 15:04"))
	if u.Source != "" {
		fmt.Fprintf(w, "source     %s\n", u.Source)
	}
	if u.Home != "" {
		fmt.Fprintf(w, "home       %s\n", visible(u.Home))
	}
	if !u.Expires.IsZero() {
		fmt.Fprintf(w, "expires    %s UTC\n", u.Expires.UTC().Format(minute))
	}
	showAllowance(w, u.Allowance, "what its groups permit, or everything")
	for _, t := range u.Tokens {
		fmt.Fprintf(w, "token      %s %s\n", t.ID, strings.TrimSpace(tokenScope(t)+" "+visible(t.Label)))
	}
	for _, k := range u.Keys {
		fmt.Fprintf(w, "key        %s%s\n", strings.Join(append([]string{k.Algorithm, k.Fingerprint, k.Comment}, k.Options...), " "), pending(k, ", "))
	}
}

// pending says of a key that its account brought it and has not used it yet.
func pending(k auth.Key, before string) string {
	if k.Pending {
		return before + "pending"
	}
	return ""
}

// showAccess writes what comes of an account and its groups together.
func showAccess(w io.Writer, a admin.Access) {
	fmt.Fprintln(w, "\nWith its groups, from the next login on:")
	for _, r := range a.Permissions {
		fmt.Fprintf(w, "may        %s\n", ruleText(r))
	}
	fmt.Fprintf(w, "keeps      %s\n", quotaText(a.Quota, "no limit"))
	for _, q := range a.Shared {
		fmt.Fprintf(w, "shares     %s with group %s\n", quotaText(q.Quota, "no limit"), q.Group)
	}
	fmt.Fprintf(w, "moves      %s\n", bandwidthText(a.Bandwidth, "no limit"))
	if text := mailText(a.Mail); text != "" {
		fmt.Fprintf(w, "sends      %s\n", text)
	}
}

func (c *cli) userPasswd() *cobra.Command {
	var fromStdin bool
	cmd := &cobra.Command{
		Use: "passwd NAME", Short: "Set an account's password, and end its sessions",
		Example: "  gateway user passwd alice\n  pwgen -s 24 1 | gateway user passwd alice --password-stdin", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			password, err := c.password(fromStdin, "New password for "+args[0]+": ")
			if err != nil {
				return err
			}
			if password == "" {
				return usage("no password was given")
			}
			user, err := ask[admin.User](cmd.Context(), c, "user.passwd", admin.Passwd{Name: args[0], Password: password})
			if err != nil {
				return err
			}
			return c.print(user, func(w io.Writer) { fmt.Fprintf(w, "password of %s changed\n", user.Name) })
		},
	}
	cmd.Flags().BoolVar(&fromStdin, "password-stdin", false, "read the password from the first line of standard input")
	return cmd
}

// userAct is a command that does one thing to one account.
func (c *cli) userAct(verb, short, done string) *cobra.Command {
	return &cobra.Command{
		Use: verb + " NAME", Short: short, Example: "  gateway user " + verb + " alice", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			user, err := ask[admin.User](cmd.Context(), c, "user."+verb, admin.Name{Name: args[0]})
			if err != nil {
				return err
			}
			user.Name = args[0]
			return c.print(user, func(w io.Writer) { fmt.Fprintf(w, "%s %s\n", done, args[0]) })
		},
	}
}

func (c *cli) keyCommand() *cobra.Command {
	add := &cobra.Command{
		Use: "add NAME FILE", Short: "Add the SSH keys of a file like authorized_keys, or those of PEM certificates",
		Long: `Add the public keys of a file: SSH keys in the format of authorized_keys, or the
certificates (PEM) that a client shows in TLS. Of a certificate it is the key that
counts: one that is renewed for the same key needs no change here.

Of the options of authorized_keys, from="...", expiry-time="...", no-touch-required,
cert-authority and principals="..." are honoured; restrict and the like hold anyway;
all others are refused by name.`,
		Example: "  gateway user key add alice ~/.ssh/id_ed25519.pub\n  gateway user key add alice alice.crt", Args: usageArgs(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			content, err := readSmall(args[1], c.stdin)
			if err != nil {
				return err
			}
			return c.userChange(cmd, "user.key.add", args[0], content)
		},
	}
	list := &cobra.Command{
		Use: "list NAME", Short: "List an account's keys",
		Long: `List an account's keys. One that is pending was brought by the account itself (see
docs/policy.md, enrol-keys and enrol-offered), and has not logged in yet.`,
		Example: "  gateway user key list alice", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			user, err := ask[admin.User](cmd.Context(), c, "user.show", admin.Name{Name: args[0]})
			if err != nil {
				return err
			}
			return c.print(orEmpty(user.Keys), func(w io.Writer) {
				if len(user.Keys) == 0 {
					fmt.Fprintf(w, "%[1]s has no keys: gateway user key add %[1]s FILE\n", user.Name)
					return
				}
				var rows [][]string
				for _, k := range user.Keys {
					rows = append(rows, []string{k.Fingerprint, k.Algorithm, k.Added.Format("2006-01-02"), k.Comment, strings.Join(k.Options, ","), pending(k, "")})
				}
				table(w, []string{"FINGERPRINT", "TYPE", "ADDED", "COMMENT", "OPTIONS", "STATE"}, rows)
			})
		},
	}
	remove := &cobra.Command{
		Use: "remove NAME FINGERPRINT", Short: "Remove a key, and end the account's sessions",
		Example: "  gateway user key remove alice SHA256:uJ3y...", Args: usageArgs(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.userChange(cmd, "user.key.remove", args[0], args[1])
		},
	}
	return group("key", "SSH keys and client certificates of an account", "  gateway user key add alice ~/.ssh/id_ed25519.pub", add, list, remove, c.keyOffered(), c.keyAccept())
}

func (c *cli) keyOffered() *cobra.Command {
	return &cobra.Command{
		Use: "offered NAME", Short: "List SSH keys that clients offered for the account and that it does not have",
		Long: `List SSH keys that clients offered for the account and that it does not have, the
last one first: at most 16. Anybody can offer a key in anybody's name, and nobody has
proven to hold these: ask the owner of the account for the fingerprint.`,
		Example: "  gateway user key offered alice", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			keys, err := ask[[]auth.OfferedKey](cmd.Context(), c, "user.key.offered", admin.Name{Name: args[0]})
			if err != nil {
				return err
			}
			return c.print(orEmpty(keys), func(w io.Writer) {
				if len(keys) == 0 {
					fmt.Fprintf(w, "no client of %s has offered a key that it does not have\n", args[0])
					return
				}
				var rows [][]string
				for _, k := range keys {
					rows = append(rows, []string{k.Fingerprint, k.Algorithm, fmt.Sprint(k.Count), k.Last.Format("2006-01-02 15:04"), k.From})
				}
				table(w, []string{"FINGERPRINT", "TYPE", "COUNT", "LAST", "FROM"}, rows)
			})
		},
	}
}

func (c *cli) keyAccept() *cobra.Command {
	return &cobra.Command{
		Use: "accept NAME FINGERPRINT", Short: "Give the account a key that was offered for it",
		Example: "  gateway user key accept alice SHA256:uJ3y...", Args: usageArgs(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.userChange(cmd, "user.key.accept", args[0], args[1])
		},
	}
}

func (c *cli) totpCommand() *cobra.Command {
	var issuer string
	add := &cobra.Command{
		Use: "add NAME", Short: "Make a secret for one-time codes, and show it this once",
		Long: `Make a secret for one-time codes (TOTP), in place of the one the account had, and
show it: as text, and as an address that authenticators take as a QR code. It is
not shown again. Codes are asked for where a rule of the policy wants them:

  require "two factors" { factors = ["publickey+password", "password+code"] }`,
		Example: "  gateway user totp add alice\n  gateway user totp add alice --json | jq -r .uri | qrencode -t ansiutf8", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			totp, err := ask[auth.TOTP](cmd.Context(), c, "user.totp.add", admin.NameValue{Name: args[0], Value: issuer})
			if err != nil {
				return err
			}
			return c.print(totp, func(w io.Writer) {
				fmt.Fprintf(w, "secret     %s\naddress    %s\n", totp.Secret, totp.URI)
				fmt.Fprintln(w, "They are not shown again. A code is asked for where a rule has factors: gateway policy explain")
			})
		},
	}
	add.Flags().StringVar(&issuer, "issuer", "Gateway", "the `NAME` that an authenticator shows")
	remove := &cobra.Command{
		Use: "remove NAME", Short: "Remove the secret; where a rule wants a code, the account is out",
		Example: "  gateway user totp remove alice", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			user, err := ask[admin.User](cmd.Context(), c, "user.totp.remove", admin.Name{Name: args[0]})
			if err != nil {
				return err
			}
			return c.print(user, func(w io.Writer) { fmt.Fprintf(w, "%s has no one-time codes any more\n", user.Name) })
		},
	}
	return group("totp", "One-time codes of an account", "  gateway user totp add alice", add, remove)
}

func (c *cli) addressCommand() *cobra.Command {
	add := &cobra.Command{
		Use: "add NAME ADDRESS", Short: "Let the account send mail as ADDRESS, as any address of @DOMAIN, or as all that fit a pattern",
		Long: `Let the account send mail as ADDRESS: in the envelope, and in the fields From and
Sender. "@example.com" stands for every address of the domain, and a * before the @
for any text: "scan-*@example.com". Other accounts may own addresses that such a
pattern covers; each text itself has one owner.`,
		Example: "  gateway user address add alice alice@example.com\n  gateway user address add scanners 'scan-*@example.com'", Args: usageArgs(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.userChange(cmd, "user.address.add", args[0], args[1])
		},
	}
	list := &cobra.Command{
		Use: "list NAME", Short: "List the addresses that the account may send as", Example: "  gateway user address list alice", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			user, err := ask[admin.User](cmd.Context(), c, "user.show", admin.Name{Name: args[0]})
			if err != nil {
				return err
			}
			return c.print(orEmpty(user.Addresses), func(w io.Writer) {
				if len(user.Addresses) == 0 {
					fmt.Fprintf(w, "%[1]s may send mail as nobody: gateway user address add %[1]s ADDRESS\n", user.Name)
				}
				for _, a := range user.Addresses {
					fmt.Fprintln(w, a)
				}
			})
		},
	}
	remove := &cobra.Command{
		Use: "remove NAME ADDRESS", Short: "Take an address from the account", Example: "  gateway user address remove alice alice@example.com", Args: usageArgs(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.userChange(cmd, "user.address.remove", args[0], args[1])
		},
	}
	return group("address", "Mail addresses that an account may send as", "  gateway user address add alice alice@example.com", add, list, remove)
}

// orEmpty keeps null out of JSON.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// userChange changes one thing of an account and shows what it is now.
func (c *cli) userChange(cmd *cobra.Command, method, name, value string) error {
	user, err := ask[admin.User](cmd.Context(), c, method, admin.NameValue{Name: name, Value: value})
	if err != nil {
		return err
	}
	return c.print(user, func(w io.Writer) { showUser(w, user) })
}

const (
	maxKeyFile  = 1 << 20
	maxPassword = 1024
)

// readSmall reads a file, or standard input for "-".
func readSmall(path string, stdin io.Reader) (string, error) {
	from := stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return "", fmt.Errorf("read the key file: %w", err)
		}
		defer f.Close()
		from = f
	}
	content, err := io.ReadAll(io.LimitReader(from, maxKeyFile+1))
	if err == nil && len(content) > maxKeyFile {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxKeyFile)
	}
	return string(content), err
}

// password asks for a password twice on a terminal, or reads the first line of
// standard input.
func (c *cli) password(fromStdin bool, prompt string) (string, error) {
	if fromStdin {
		line, err := bufio.NewReader(io.LimitReader(c.stdin, maxPassword+3)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("read the password: %w", err)
		}
		password := strings.TrimRight(line, "\r\n")
		if len(password) > maxPassword {
			return "", usage("--password-stdin: the password is longer than %d bytes", maxPassword)
		}
		if password == "" {
			return "", usage("--password-stdin: the first line of standard input is empty")
		}
		return password, nil
	}
	tty, ok := c.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(tty.Fd())) {
		return "", nil
	}
	read := func(prompt string) (string, error) {
		fmt.Fprint(c.stderr, prompt)
		typed, err := term.ReadPassword(int(tty.Fd()))
		fmt.Fprintln(c.stderr)
		return string(typed), err
	}
	first, err := read(prompt)
	if err != nil || first == "" {
		return "", err
	}
	second, err := read("Again: ")
	if err != nil {
		return "", err
	}
	if first != second {
		return "", errors.New("the two passwords differ; nothing was changed")
	}
	return first, nil
}
