package main

import (
	"path"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"gateway/session"
)

// actFlags ask what the rules say of something that a session does.
type actFlags struct {
	operation, path, target, over, sender, recipient, request string
}

func actFlagNames() []string {
	return []string{"operation", "path", "target", "data-channel", "sender", "recipient", "request"}
}

func (a *actFlags) add(cmd *cobra.Command) {
	var verbs []string
	for _, v := range session.Verbs() {
		verbs = append(verbs, string(v))
	}
	f := cmd.Flags()
	f.StringVar(&a.operation, "operation", "", "and then does that: "+strings.Join(verbs, ", "))
	f.StringVar(&a.path, "path", "", "with that file or folder, a `PATH` as the account sees it")
	f.StringVar(&a.target, "target", "", "and that one, the second `PATH` of rename and link")
	f.StringVar(&a.over, "data-channel", "", "over a connection that is plain, tls or ssh (default: that of the login)")
	f.StringVar(&a.sender, "sender", "", "with mail from that `ADDRESS`")
	f.StringVar(&a.recipient, "recipient", "", "with mail to that `ADDRESS`")
	f.StringVar(&a.request, "request", "", "by that `REQUEST` of the protocol, such as posix-rename or STOR")
	_ = cmd.RegisterFlagCompletionFunc("operation", cobra.FixedCompletions(verbs, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("data-channel", cobra.FixedCompletions([]string{"plain", "tls", "ssh"}, cobra.ShellCompDirectiveNoFileComp))
}

// read is the act that is asked about, over that kind of channel if nothing else is said; the
// zero Act if none is.
func (a *actFlags) read(cmd *cobra.Command, channel session.ChannelKind) (session.Act, error) {
	if a.operation == "" {
		for _, flag := range actFlagNames() {
			if cmd.Flags().Changed(flag) {
				return session.Act{}, usage("--%s is about something that is done: say what, by --operation", flag)
			}
		}
		return session.Act{}, nil
	}
	act := session.Act{
		Verb: session.Verb(a.operation), Asked: a.request, Over: channel, Path: a.path, Target: a.target, Sender: a.sender, Recipient: a.recipient,
	}
	if !slices.Contains(session.Verbs(), act.Verb) {
		return act, usage("--operation is %q; see --help for what there is", a.operation)
	}
	mail := act.Verb == session.Accept
	switch {
	case mail && (a.path != "" || a.target != ""):
		return act, usage("accept is of mail, which has no --path and no --target: say --sender and --recipient")
	case !mail && (a.sender != "" || a.recipient != ""):
		return act, usage("%s is of files, which have no --sender and no --recipient", a.operation)
	case !mail && a.path == "":
		return act, usage("say with which file or folder: --path")
	case (a.target != "") != (act.Verb == session.Rename || act.Verb == session.Link):
		return act, usage("--target is the second path of rename and link, which have two")
	}
	for _, p := range []string{a.path, a.target} {
		if p != "" && (!strings.HasPrefix(p, "/") || path.Clean(p) != p) {
			return act, usage("%q is not a path as the account sees it, from / on and in its shortest form", p)
		}
	}
	if a.over != "" {
		if err := act.Over.UnmarshalText([]byte(a.over)); err != nil {
			return act, usage("--data-channel: %v", err)
		}
	}
	return act, nil
}
