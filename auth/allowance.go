package auth

import (
	"context"
	"database/sql"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"gateway/session"
)

const (
	maxRules     = 64   // of one account or group
	maxPathBytes = 4096 // of the path of one rule
	// maxRuleBytes bounds the paths of all rules of one account or group together:
	// a change is recorded with what was before and after, in one line.
	maxRuleBytes = 32 << 10
)

// Allowance is what was said of an account or a group about files and mail; what was
// not said is zero.
type Allowance struct {
	// Permissions are in the order of their paths, one for each path. Where there
	// are any, nothing may be done outside of the folders that they name.
	Permissions []session.PathRule `json:"permissions"`
	// Quota of an account is its own, that of a group is for all members together.
	Quota session.Quota `json:"quota"`
	// Bandwidth is in bytes a second, for each direction. That of a group is each
	// member's that has none of its own.
	Bandwidth int64 `json:"bandwidth,omitempty"`
	// Mail of a group is each member's that has none of its own, limit by limit.
	Mail session.MailLimits `json:"mail,omitzero"`
}

// AllowanceUpdate changes an Allowance; nil leaves as it is, zero is no limit.
type AllowanceUpdate struct {
	// Permissions take the place of all that there were; none of them is allowed.
	Permissions *[]session.PathRule `json:"permissions,omitempty"`
	QuotaBytes  *int64              `json:"quota_bytes,omitempty"`
	QuotaFiles  *int64              `json:"quota_files,omitempty"`
	Bandwidth   *int64              `json:"bandwidth,omitempty"`
	MailUpdate
}

// Empty reports whether u changes nothing.
func (u AllowanceUpdate) Empty() bool { return u == AllowanceUpdate{} }

// Of returns what a becomes by u.
func (u AllowanceUpdate) Of(a Allowance) Allowance {
	if u.Permissions != nil {
		a.Permissions = *u.Permissions
	}
	for _, n := range []struct{ to, from *int64 }{
		{&a.Quota.Bytes, u.QuotaBytes}, {&a.Quota.Files, u.QuotaFiles}, {&a.Bandwidth, u.Bandwidth},
	} {
		if n.from != nil {
			*n.to = *n.from
		}
	}
	a.Mail = u.MailUpdate.of(a.Mail)
	return a
}

// empty reports whether nothing was said.
func (a Allowance) empty() bool {
	return len(a.Permissions) == 0 && a.Quota == session.Quota{} && a.Bandwidth == 0 && noMail(a.Mail)
}

// clone is an Allowance that the caller may change; its list is never nil.
func (a Allowance) clone() Allowance {
	a.Permissions = append([]session.PathRule{}, a.Permissions...)
	a.Mail.Domains = slices.Clone(a.Mail.Domains)
	return a
}

// checked returns a with its rules in order, or why it cannot be had.
func (a Allowance) checked() (Allowance, error) {
	a = a.clone()
	for _, n := range []struct {
		what  string
		value int64
	}{{"quota in bytes", a.Quota.Bytes}, {"quota in files", a.Quota.Files}, {"bandwidth", a.Bandwidth}} {
		if n.value < 0 {
			return Allowance{}, invalid(n.what, "%d is less than nothing; 0 means no limit", n.value)
		}
	}
	var err error
	if a.Mail, err = checkedMail(a.Mail); err != nil {
		return Allowance{}, err
	}
	if len(a.Permissions) > maxRules {
		return Allowance{}, invalid("permissions", "%d rules are more than %d; give a rule to the folder that holds the others", len(a.Permissions), maxRules)
	}
	sortRules(a.Permissions)
	total := 0
	for i, r := range a.Permissions {
		if err := checkPath(r.Path); err != nil {
			return Allowance{}, err
		}
		if i > 0 && a.Permissions[i-1].Path == r.Path {
			return Allowance{}, invalid("permissions", "there are two rules for %q; put their words into one", clip(r.Path))
		}
		if r.May&^session.MayAll != 0 {
			return Allowance{}, invalid("permissions", "the rule for %q allows what is not known", clip(r.Path))
		}
		total += len(r.Path)
	}
	if total > maxRuleBytes {
		return Allowance{}, invalid("permissions", "the paths have %d bytes together, more than %d", total, maxRuleBytes)
	}
	return a, nil
}

// checkPath accepts the path of a rule: absolute and clean, as the peer sees it.
func checkPath(name string) error {
	switch {
	case name == "" || name[0] != '/':
		return invalid("path", "%q: it must begin with /, which is the account's own folder", clip(name))
	case len(name) > maxPathBytes:
		return invalid("path", "%q: it is longer than %d bytes", clip(name), maxPathBytes)
	case strings.ContainsAny(name, "\x00\r\n"):
		return invalid("path", "%q: it has a line break or a NUL in it", clip(name))
	case !utf8.ValidString(name):
		return invalid("path", "%q: it is not UTF-8", clip(name))
	case path.Clean(name) != name:
		return invalid("path", "%q: write it as %q", clip(name), clip(path.Clean(name)))
	}
	return nil
}

// ParseRule reads PATH=WORDS, such as "/in=drop"; session.ParsePermissions knows
// the words. The error is an ErrInvalid.
func ParseRule(text string) (session.PathRule, error) {
	at := strings.LastIndexByte(text, '=') // a path may hold one, words do not
	if at < 0 {
		return session.PathRule{}, invalid("permission", "%q: want PATH=WORDS, such as /in=drop or /=list,read", clip(text))
	}
	r := session.PathRule{Path: text[:at]}
	if err := checkPath(r.Path); err != nil {
		return session.PathRule{}, err
	}
	may, err := session.ParsePermissions(text[at+1:])
	if err != nil {
		return session.PathRule{}, invalid("permission", "%q: %v", clip(r.Path), err)
	}
	r.May = may
	return r, nil
}

func sortRules(rules []session.PathRule) {
	slices.SortFunc(rules, func(x, y session.PathRule) int { return strings.Compare(x.Path, y.Path) })
}

// accesses works out what accounts may do, from what was said of them and of
// their groups. Those in the same groups share what it returns, which must not
// be changed.
type accesses struct {
	groups map[string]Allowance // what was said of them, by name
	shared map[string]session.Access
	mail   map[string]session.MailLimits // what groups say together, by their names
}

func newAccesses(groups map[string]Allowance) *accesses {
	return &accesses{groups: groups, shared: make(map[string]session.Access), mail: make(map[string]session.MailLimits)}
}

// mailOf returns how much mail the account may send.
func (w *accesses) mailOf(i *Info) session.MailLimits {
	key := strings.Join(i.Groups, ",")
	l, ok := w.mail[key]
	if !ok {
		for _, name := range i.Groups {
			l = mergeMail(l, w.groups[name].Mail)
		}
		w.mail[key] = l
	}
	return overrideMail(i.Mail, l)
}

// of returns what the account may do: its own rules and bandwidth, or else those
// of its groups; its own quota, and those of its groups.
func (w *accesses) of(i *Info) session.Access {
	a := w.ofGroups(i.Groups)
	if len(i.Permissions) > 0 {
		a.Rules = merge(i.Permissions)
	}
	if i.Bandwidth != 0 {
		a.Bandwidth = i.Bandwidth
	}
	a.Quota = i.Quota
	return a
}

// ofGroups returns what an account of which nothing was said may do in these
// groups.
func (w *accesses) ofGroups(groups []string) session.Access {
	key := strings.Join(groups, ",") // of which no name has one
	if a, ok := w.shared[key]; ok {
		return a
	}
	a := session.FullAccess()
	var said [][]session.PathRule
	for _, name := range groups {
		g := w.groups[name]
		if len(g.Permissions) > 0 {
			said = append(said, g.Permissions)
		}
		if g.Quota != (session.Quota{}) {
			a.Shared = append(a.Shared, session.GroupQuota{Group: name, Quota: g.Quota})
		}
		if g.Bandwidth != 0 && (a.Bandwidth == 0 || g.Bandwidth < a.Bandwidth) {
			a.Bandwidth = g.Bandwidth
		}
	}
	if len(said) > 0 {
		a.Rules = merge(said...)
	}
	w.shared[key] = a
	return a
}

// merge allows at each path that anybody names what any of them allows there,
// and names "/": where nobody does, nothing is allowed.
func merge(said ...[]session.PathRule) []session.PathRule {
	may := map[string]session.Permissions{"/": 0}
	for _, rules := range said {
		for _, r := range rules {
			may[r.Path] = 0
		}
	}
	all := make([]session.PathRule, 0, len(may))
	for name := range may {
		r := session.PathRule{Path: name}
		for _, rules := range said {
			r.May |= session.Access{Rules: rules}.At(name)
		}
		all = append(all, r)
	}
	sortRules(all)
	return all
}

// putAccountAllowance stores what is said of an account from now on.
func putAccountAllowance(ctx context.Context, tx *sql.Tx, id int64, a Allowance) error {
	_, err := tx.ExecContext(ctx, `UPDATE accounts SET quota_bytes = $2, quota_files = $3, bandwidth = $4, mail = $5 WHERE id = $1`,
		id, a.Quota.Bytes, a.Quota.Files, a.Bandwidth, writeMail(a.Mail))
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM account_permissions WHERE account = $1`, id); err != nil {
		return err
	}
	for _, r := range a.Permissions {
		if _, err := tx.ExecContext(ctx, `INSERT INTO account_permissions (account, path, may) VALUES ($1, $2, $3)`, id, r.Path, r.May.String()); err != nil {
			return err
		}
	}
	return nil
}

// readRule makes a rule of what is stored. Words that cannot be read allow
// nothing.
func readRule(name, words string) session.PathRule {
	may, err := session.ParsePermissions(words)
	if err != nil {
		may = 0
	}
	return session.PathRule{Path: name, May: may}
}
