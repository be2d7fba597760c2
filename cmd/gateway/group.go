package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"gateway/admin"
)

func (c *cli) groupCommand() *cobra.Command {
	return group("group", "What the members of a group may do with files, and whose certificates let them in", "  gateway group set partners --permit /in=drop --quota-bytes 100GiB",
		c.groupList(), c.groupShow(), c.groupSet(), c.groupRemove(), c.groupCA(), c.groupKRL())
}

func (c *cli) groupList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the groups that have members, or of which something is said", Example: "  gateway group list", Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			groups, err := ask[[]admin.Group](cmd.Context(), c, "group.list", admin.Nothing{})
			if err != nil {
				return err
			}
			return c.print(groups, func(w io.Writer) {
				if len(groups) == 0 {
					fmt.Fprintln(w, "There are no groups yet: gateway user set NAME --group GROUP")
					return
				}
				var rows [][]string
				for _, g := range groups {
					rows = append(rows, []string{g.Name, fmt.Sprint(len(g.Members)), fmt.Sprint(len(g.Permissions)), quotaText(g.Quota, "none"), bandwidthText(g.Bandwidth, "none")})
				}
				table(w, []string{"NAME", "MEMBERS", "PERMISSIONS", "QUOTA", "BANDWIDTH"}, rows)
			})
		},
	}
}

func (c *cli) groupShow() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Show a group and its members", Example: "  gateway group show partners", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			g, err := ask[admin.Group](cmd.Context(), c, "group.show", admin.Name{Name: args[0]})
			if err != nil {
				return err
			}
			return c.print(g, func(w io.Writer) { showGroup(w, g) })
		},
	}
}

func (c *cli) groupSet() *cobra.Command {
	var allowance allowanceFlags
	cmd := &cobra.Command{
		Use: "set NAME", Short: "Say what the members of a group may do with files and mail",
		Long: `Say what the members of a group may do with files and mail, from their next login on.
Sessions end if they lose a permission by it. Permissions of an account of its own take the place of those of its groups; an
account in several groups may do what any of them allows. The quota is for all
members together, beside those of their own. A limit on mail is each member's that
has none of its own; of several groups, the lowest counts.`,
		Example: `  gateway group set partners --permit /=list,read --permit /in=drop
  gateway group set partners --quota-bytes 100GiB --bandwidth 5MiB`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			in := admin.GroupUpdate{Name: args[0]}
			var err error
			if in.AllowanceUpdate, err = allowance.read(cmd); err != nil {
				return err
			}
			if in.Empty() {
				return usage("nothing to change: give %s", allowanceNames)
			}
			g, err := ask[admin.Group](cmd.Context(), c, "group.set", in)
			if err != nil {
				return err
			}
			return c.print(g, func(w io.Writer) {
				showGroup(w, g)
				if len(g.Members) == 0 {
					fmt.Fprintf(w, "It has no members: gateway user set NAME --group %s\n", g.Name)
				}
			})
		},
	}
	allowance.add(cmd, "all members together", "for each member that has no bandwidth of its own")
	return cmd
}

func (c *cli) groupRemove() *cobra.Command {
	return &cobra.Command{
		Use: "remove NAME", Short: "Take away what was said of a group; its members stay in it", Example: "  gateway group remove partners", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			g, err := ask[admin.Group](cmd.Context(), c, "group.remove", admin.Name{Name: args[0]})
			if err != nil {
				return err
			}
			return c.print(g, func(w io.Writer) {
				fmt.Fprintf(w, "nothing is said of group %s any more\n", g.Name)
				if n := len(g.Members); n > 0 {
					fmt.Fprintf(w, "It still has members, %d of them: gateway group show %s\n", n, g.Name)
				}
			})
		},
	}
}

func showGroup(w io.Writer, g admin.Group) {
	members := "none"
	if len(g.Members) > 0 {
		members = strings.Join(g.Members, ", ")
	}
	fmt.Fprintf(w, "name       %s\nmembers    %s\n", g.Name, members)
	showAllowance(w, g.Allowance, "it neither allows nor forbids")
}

func (c *cli) groupCA() *cobra.Command {
	add := &cobra.Command{
		Use: "add GROUP FILE", Short: "Let in members of the group by SSH certificates that the keys of a file sign",
		Long: `Let in members of the group by SSH certificates (ssh-keygen -s) that one of the
public keys of a file signs. A certificate must name the account among its
principals, or one of principals="..." where the line of the key has that option.`,
		Example: "  gateway group ca add staff ca.pub", Args: usageArgs(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.groupFile(cmd, "group.ca.add", args[0], args[1])
		},
	}
	list := &cobra.Command{
		Use: "list GROUP", Short: "List whose certificates let members of the group in", Example: "  gateway group ca list staff", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			trust, err := ask[admin.Trust](cmd.Context(), c, "group.trust", admin.Name{Name: args[0]})
			if err != nil {
				return err
			}
			return c.print(trust, func(w io.Writer) { showTrust(w, args[0], trust) })
		},
	}
	remove := &cobra.Command{
		Use: "remove GROUP FINGERPRINT", Short: "Take an authority from the group, and end its members' sessions",
		Example: "  gateway group ca remove staff SHA256:uJ3y...", Args: usageArgs(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			trust, err := ask[admin.Trust](cmd.Context(), c, "group.ca.remove", admin.NameValue{Name: args[0], Value: args[1]})
			if err != nil {
				return err
			}
			return c.print(trust, func(w io.Writer) { showTrust(w, args[0], trust) })
		},
	}
	return group("ca", "Authorities whose SSH certificates let members of a group in", "  gateway group ca add staff ca.pub", add, list, remove)
}

func (c *cli) groupKRL() *cobra.Command {
	set := &cobra.Command{
		Use: "set GROUP FILE", Short: "Revoke keys and certificates of the group's members by a list of ssh-keygen -k",
		Long: `Revoke keys and certificates of the group's members by a list of ssh-keygen -k, in
place of the one the group had. It holds from the next login on.`,
		Example: "  gateway group krl set staff revoked.krl", Args: usageArgs(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.groupFile(cmd, "group.krl.set", args[0], args[1])
		},
	}
	remove := &cobra.Command{
		Use: "remove GROUP", Short: "Revoke nothing any more", Example: "  gateway group krl remove staff", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			trust, err := ask[admin.Trust](cmd.Context(), c, "group.krl.set", admin.NameData{Name: args[0]})
			if err != nil {
				return err
			}
			return c.print(trust, func(w io.Writer) { showTrust(w, args[0], trust) })
		},
	}
	return group("krl", "Keys and certificates of a group's members that are revoked", "  gateway group krl set staff revoked.krl", set, remove)
}

// groupFile brings a file to a method about a group.
func (c *cli) groupFile(cmd *cobra.Command, method, name, path string) error {
	content, err := readSmall(path, c.stdin)
	if err != nil {
		return err
	}
	if content == "" {
		return fmt.Errorf("%s is empty", path)
	}
	trust, err := ask[admin.Trust](cmd.Context(), c, method, admin.NameData{Name: name, Data: []byte(content)})
	if err != nil {
		return err
	}
	return c.print(trust, func(w io.Writer) { showTrust(w, name, trust) })
}

func showTrust(w io.Writer, name string, t admin.Trust) {
	if len(t.Authorities) == 0 {
		fmt.Fprintf(w, "no certificates let members of %s in\n", name)
	}
	for _, k := range t.Authorities {
		fmt.Fprintf(w, "authority  %s\n", strings.Join(append([]string{k.Algorithm, k.Fingerprint, k.Comment}, k.Options...), " "))
	}
	if r := t.Revoked; r != nil {
		fmt.Fprintf(w, "revoked    by a list of %d bytes, version %d of %s\n", r.Bytes, r.Version, r.Generated.Format("2006-01-02 15:04"))
	}
}
