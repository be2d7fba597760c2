package auth

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// maxGroupRows is of how many groups something may be said.
const maxGroupRows = 10_000

// Group is a group of which something was said, or that has members.
type Group struct {
	Name string `json:"name"`
	// Members are in order; nil where a change is described.
	Members []string `json:"members,omitzero"`
	Allowance
}

// GroupChange is what a change did, for the record: what was said of the group
// before and after, nil if nothing was.
type GroupChange struct {
	Before, After *Group
}

// Groups returns all groups by name.
func (a *Accounts) Groups(ctx context.Context) ([]Group, error) {
	if _, err := a.find(ctx, ""); err != nil { // reads again what is stale
		return nil, err
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	names := make(map[string]bool, len(a.groups)+len(a.members))
	for name := range a.trusts {
		names[name] = true
	}
	for name := range a.groups {
		names[name] = true
	}
	for name := range a.members {
		names[name] = true
	}
	list := make([]Group, 0, len(names))
	for _, name := range slices.Sorted(maps.Keys(names)) {
		list = append(list, a.group(name))
	}
	return list, nil
}

// Group returns one group. Errors: ErrNotExist.
func (a *Accounts) Group(ctx context.Context, name string) (Group, error) {
	if _, err := a.find(ctx, ""); err != nil {
		return Group{}, err
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	if _, said := a.groups[name]; !said && len(a.members[name]) == 0 && a.trusts[name] == nil {
		return Group{}, aboutGroup(name, errNoGroup)
	}
	return a.group(name), nil
}

// group describes a group; a.mu is held.
func (a *Accounts) group(name string) Group {
	return Group{Name: name, Members: a.membersOf(name), Allowance: a.groups[name].clone()}
}

// Members returns the names of the accounts in a group, in order; disabled ones
// are among them. It reads memory only.
func (a *Accounts) Members(group string) []string {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.membersOf(group)
}

func (a *Accounts) membersOf(group string) []string {
	return append([]string{}, slices.Sorted(maps.Keys(a.members[group]))...)
}

// SetGroup changes what is said of a group, which need not have members. It
// holds for its members from their next login; no login that is under way is
// disturbed. Errors: ErrInvalid.
func (a *Accounts) SetGroup(ctx context.Context, name string, u AllowanceUpdate) (GroupChange, error) {
	if _, err := checkGroups([]string{name}); err != nil {
		return GroupChange{}, err
	}
	return a.writeGroup(ctx, "set", name, func(before Allowance) (Allowance, error) { return u.Of(before).checked() })
}

// RemoveGroup takes away what was said of a group. Its members stay in it.
// Errors: ErrNotExist.
func (a *Accounts) RemoveGroup(ctx context.Context, name string) (GroupChange, error) {
	return a.writeGroup(ctx, "remove", name, func(before Allowance) (Allowance, error) {
		if before.empty() {
			return Allowance{}, errNothingSaid
		}
		return Allowance{}, nil
	})
}

// writeGroup runs one change and makes it known, as Accounts.write does.
func (a *Accounts) writeGroup(ctx context.Context, what, name string, f func(before Allowance) (Allowance, error)) (GroupChange, error) {
	through := context.WithoutCancel(ctx)
	var c GroupChange
	err := a.db.Write(ctx, func(tx *sql.Tx) error {
		all, err := loadGroups(through, tx, " WHERE g.name = $1", name)
		if err != nil {
			return err
		}
		before := all[name]
		after, err := f(before)
		if err != nil {
			return err
		}
		if err := putGroup(through, tx, name, after); err != nil {
			return err
		}
		c = GroupChange{Before: describeGroup(name, before), After: describeGroup(name, after)}
		return nil
	})
	a.refreshGroup(through, name) // also after an error, which may have come too late
	if err != nil {
		return GroupChange{}, fmt.Errorf("%s %w", what, aboutGroup(name, err))
	}
	return c, nil
}

func describeGroup(name string, a Allowance) *Group {
	if a.empty() {
		return nil
	}
	return &Group{Name: name, Allowance: a.clone()}
}

func aboutGroup(name string, err error) error { return fmt.Errorf("group %q: %w", clip(name), err) }

// putGroup stores what is said of a group from now on.
func putGroup(ctx context.Context, tx *sql.Tx, name string, a Allowance) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM groups WHERE name = $1`, name); err != nil {
		return err
	}
	if a.empty() {
		return nil
	}
	var rows int
	if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM groups`).Scan(&rows); err != nil {
		return err
	}
	if rows >= maxGroupRows {
		return invalid("groups", "something is said of %d, which is the most", maxGroupRows)
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO groups (name, quota_bytes, quota_files, bandwidth, mail) VALUES ($1, $2, $3, $4, $5)`,
		name, a.Quota.Bytes, a.Quota.Files, a.Bandwidth, writeMail(a.Mail))
	if err != nil {
		return err
	}
	for _, r := range a.Permissions {
		if _, err := tx.ExecContext(ctx, `INSERT INTO group_permissions (group_name, path, may) VALUES ($1, $2, $3)`, name, r.Path, r.May.String()); err != nil {
			return err
		}
	}
	return nil
}

// loadGroups reads what was said of groups; where limits them, and calls them g.
func loadGroups(ctx context.Context, tx *sql.Tx, where string, args ...any) (map[string]Allowance, error) {
	groups := make(map[string]Allowance)
	l := loader{ctx: ctx, tx: tx, where: where, args: args}
	err := errors.Join(
		l.each(`SELECT g.name, g.quota_bytes, g.quota_files, g.bandwidth, g.mail FROM groups g`, func(dest func(...any) error) error {
			var name, mail string
			var a Allowance
			err := dest(&name, &a.Quota.Bytes, &a.Quota.Files, &a.Bandwidth, &mail)
			if err == nil {
				a.Mail, err = readMail(mail)
			}
			groups[name] = a
			return err
		}),
		l.each(`SELECT g.name, p.path, p.may FROM groups g JOIN group_permissions p ON p.group_name = g.name`, func(dest func(...any) error) error {
			var name, path, words string
			err := dest(&name, &path, &words)
			a := groups[name]
			a.Permissions = append(a.Permissions, readRule(path, words))
			groups[name] = a
			return err
		}))
	if err != nil {
		return nil, fmt.Errorf("read what was said of groups: %w", err)
	}
	for _, a := range groups {
		sortRules(a.Permissions)
	}
	return groups, nil
}
