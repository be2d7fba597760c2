package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"gateway/auth"
)

// showImport prints the plan: what is refused last, as that is what to look at.
func showImport(w io.Writer, r importResult) {
	for _, a := range r.Accounts {
		if a.Action == auth.ImportSame || a.Action == auth.ImportRefuse {
			continue
		}
		fmt.Fprintf(w, "%-7s %s: %s\n", a.Action, a.Name, visible(strings.Join(importChanges(a), "; ")))
		for _, l := range a.Lost {
			fmt.Fprintf(w, "  lost  %s\n", visible(l))
		}
		if a.Kept != "" {
			fmt.Fprintf(w, "  kept  %s\n", a.Kept)
		}
		for _, l := range a.Warnings {
			fmt.Fprintf(w, "  look  %s\n", visible(l))
		}
	}
	for _, a := range r.Accounts {
		if a.Action == auth.ImportRefuse {
			fmt.Fprintf(w, "%-7s %s (%s): %s\n", a.Action, a.Name, visible(a.At), visible(a.Reason))
		}
	}
	for _, l := range r.Refused {
		name := ""
		if l.Name != "" {
			name = l.Name + " "
		}
		fmt.Fprintf(w, "%-7s %s(%s): %s\n", auth.ImportRefuse, visible(name), visible(l.At), visible(l.Reason))
	}
	for _, n := range r.Notes {
		fmt.Fprintf(w, "note    %s\n", visible(n))
	}
	for _, h := range r.Hashes {
		showPrice(w, h)
	}
}

// importChanges says what comes of an account: all of a new one, else what is new of it.
func importChanges(a importedAccount) []string {
	before := a.Before
	if before == nil {
		before = &auth.Info{}
	}
	after := a.After
	var out []string
	add := func(changed bool, format string, args ...any) {
		if changed {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	add(a.Password, "password (%s)", a.Scheme)
	add(!slices.Equal(before.Groups, after.Groups), "groups %s", strings.Join(after.Groups, " "))
	add(before.Home != after.Home, "home %s", after.Home)
	add(len(after.Keys) > len(before.Keys), "%d keys", len(after.Keys)-len(before.Keys))
	add(!slices.Equal(before.Addresses, after.Addresses), "addresses %s", strings.Join(after.Addresses, " "))
	add(before.Quota.Bytes != after.Quota.Bytes, "at most %d bytes", after.Quota.Bytes)
	add(before.Quota.Files != after.Quota.Files, "at most %d files", after.Quota.Files)
	add(before.Bandwidth != after.Bandwidth, "%d bytes a second", after.Bandwidth)
	for _, r := range after.Permissions {
		add(!slices.Contains(before.Permissions, r), "%s=%s", r.Path, r.May)
	}
	add(!before.Expires.Equal(after.Expires), "expires %s", after.Expires.Format(time.DateOnly))
	add(before.Disabled != after.Disabled, "%s", map[bool]string{true: "disabled", false: "enabled"}[after.Disabled])
	if len(out) == 0 {
		out = []string{"nothing that shows"}
	}
	return out
}

// showPrice says what the hashes of a scheme mean for logins.
func showPrice(w io.Writer, h hashPrice) {
	switch {
	case h.Heavy:
		fmt.Fprintf(w, "hashes  %d %s, up to %.1f s each: computed one at a time, %.2f logins a second, until each has logged in once\n",
			h.Count, h.Scheme, float64(h.Millis)/1000, 1000/float64(max(h.Millis, 1)))
	case h.Scheme == "argon2id" || h.Scheme == "plain":
		fmt.Fprintf(w, "hashes  %d %s\n", h.Count, h.Scheme)
	default:
		fmt.Fprintf(w, "hashes  %d %s, each replaced by argon2id when its user has logged in\n", h.Count, h.Scheme)
	}
}

// showImported prints what was done, and what is left to do.
func showImported(w io.Writer, f importFlags, r importResult) {
	if len(r.Accounts)+len(r.Refused)+len(r.Notes) > 0 {
		fmt.Fprintln(w)
	}
	for _, a := range r.Accounts {
		if a.Moved != "" {
			fmt.Fprintf(w, "moved   %s: %s\n", a.Name, visible(a.Moved))
		}
		for _, l := range a.Left {
			fmt.Fprintf(w, "  left  %s\n", visible(l))
		}
	}
	verb := "imported"
	if f.dryRun {
		verb = "nothing was changed; without --dry-run"
	}
	fmt.Fprintf(w, "%s: %d added, %d changed, %d as they were, %d not taken\n", verb,
		r.count(auth.ImportAdd), r.count(auth.ImportChange), r.count(auth.ImportSame), r.count(auth.ImportRefuse)+len(r.Refused))
	if r.Bare > 0 {
		fmt.Fprintf(w, "%d weak hashes are wrapped by the running gateway, when nobody else hashes (gateway report hashes)\n", r.Bare)
	}
	switch {
	case r.Rules == "":
	case f.rules == "" || f.dryRun:
		fmt.Fprintf(w, "\nFrom where and when they may come is said in policy.hcl. Add (--rules FILE writes it):\n\n%s", r.Rules)
	default:
		fmt.Fprintf(w, "From where and when they may come is said in %s: add it to policy.hcl, then gateway policy apply policy.hcl\n", f.rules)
	}
}
