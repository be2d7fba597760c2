package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"gateway/admin"
)

func (c *cli) groupCommand() *cobra.Command {
	return group("group", "What the members of a group may do with files", "  gateway group set partners --permit /in=drop --quota-bytes 100GiB",
		c.groupList(), c.groupShow(), c.groupSet(), c.groupRemove())
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
		Use: "set NAME", Short: "Say what the members of a group may do with files",
		Long: `Say what the members of a group may do with files, from their next login on.
Permissions of an account of its own take the place of those of its groups; an
account in several groups may do what any of them allows. The quota is for all
members together, beside those of their own.`,
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
