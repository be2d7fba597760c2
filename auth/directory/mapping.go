package directory

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"gateway/auth"
)

// A Mapping says what of an entry makes the account.
type Mapping struct {
	// Groups are the gateway's names of groups, by the DN of a group of the directory or by
	// its first value alone ("ftp-users").
	Groups map[string]string
	// GroupPattern gives all further groups their names: "ftp-{group}" makes users of
	// ftp-users, and nothing of what is not like it. Empty is none.
	GroupPattern string
	// Everybody are groups of the gateway that all accounts are in.
	Everybody []string
	// GroupAttribute lists the groups in the entry. Empty means memberOf. GroupFilter finds
	// more, with {dn} for that of the entry and {user}, below GroupBase, which is Base if empty.
	// If GroupBase is not empty, groups that are not below it count for nothing.
	GroupAttribute, GroupBase, GroupFilter string
	// Addresses is the attribute of its mail senders, Home that of its folder, which is below
	// Homes. Empty leaves them to the gateway.
	Addresses, Home, Homes string
	// Disabled are conditions of which one is enough: "attribute=value", or "attribute=*" for
	// any value. The ways of Active Directory are known without.
	Disabled []string
}

func (m *Mapping) check() error {
	if m.GroupFilter != "" {
		if _, err := ldap.CompileFilter(filled(filled(m.GroupFilter, "dn", "x"), "user", "x")); err != nil {
			return fmt.Errorf("group_filter: %w", err)
		}
	}
	if _, err := ldap.ParseDN(m.GroupBase); err != nil {
		return fmt.Errorf("group_base: %q is not a DN", m.GroupBase)
	}
	if m.GroupPattern != "" && strings.Count(m.GroupPattern, "{group}") != 1 {
		return errors.New(`group_pattern: want {group} in it once, such as "ftp-{group}"`)
	}
	for name, group := range m.Groups {
		if err := auth.CheckGroup(group); err != nil {
			return fmt.Errorf("groups: %q: %w", name, err)
		}
		if strings.Contains(name, "=") {
			if _, err := ldap.ParseDN(name); err != nil {
				return fmt.Errorf("groups: %q is not a DN: %w", name, err)
			}
		}
	}
	for _, group := range m.Everybody {
		if err := auth.CheckGroup(group); err != nil {
			return fmt.Errorf("everybody: %w", err)
		}
	}
	if (m.Home == "") != (m.Homes == "") {
		return errors.New("home and homes belong together: the attribute, and the folder below which the folders are that it names")
	}
	for _, condition := range m.Disabled {
		if name, value, ok := strings.Cut(condition, "="); !ok || name == "" || value == "" {
			return fmt.Errorf(`disabled: %q: want ATTRIBUTE=VALUE, or ATTRIBUTE=* for any value`, condition)
		}
	}
	return nil
}

func (m *Mapping) groupAttribute() string {
	if m.GroupAttribute == "" {
		return "memberOf"
	}
	return m.GroupAttribute
}

// attributes are those that are asked for.
func (m *Mapping) attributes() []string {
	list := []string{m.groupAttribute(), accountControl, accountExpires, passwordLastSet}
	for _, name := range []string{m.Addresses, m.Home} {
		if name != "" {
			list = append(list, name)
		}
	}
	for _, condition := range m.Disabled {
		name, _, _ := strings.Cut(condition, "=")
		list = append(list, name)
	}
	return list
}

// said is what an entry says of the account. groups are names of groups that it is in.
func (m *Mapping) said(e *ldap.Entry, groups []string, now time.Time) (*auth.Said, error) {
	s := &auth.Said{Groups: append([]string{}, m.Everybody...), Disabled: m.disabled(e, now)}
	for _, name := range groups {
		s.Groups = append(s.Groups, m.groups(name)...)
	}
	if m.Addresses != "" {
		s.Addresses = append([]string{}, e.GetEqualFoldAttributeValues(m.Addresses)...)
	}
	if m.Home != "" {
		var err error
		if s.Home, err = auth.HomeBelow(m.Homes, e.GetEqualFoldAttributeValue(m.Home)); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// groups are the gateway's names of a group of the directory. name is a DN, or in some
// directories the name alone.
func (m *Mapping) groups(name string) []string {
	first, dn := name, (*ldap.DN)(nil)
	if strings.Contains(name, "=") {
		parsed, err := ldap.ParseDN(name)
		if err != nil || len(parsed.RDNs) == 0 || len(parsed.RDNs[0].Attributes) == 0 {
			return nil
		}
		dn, first = parsed, parsed.RDNs[0].Attributes[0].Value
	}
	if m.GroupBase != "" {
		base, err := ldap.ParseDN(m.GroupBase)
		if err != nil || dn == nil || !base.AncestorOfFold(dn) {
			return nil
		}
	}
	var list []string
	for key, group := range m.Groups {
		if means(key, first, dn) {
			list = append(list, group)
		}
	}
	if group := m.like(first); len(list) == 0 && group != "" {
		list = append(list, group)
	}
	return list
}

// means reports whether the key of Groups is that of a group with that first value and DN,
// nil for none.
func means(key, first string, dn *ldap.DN) bool {
	if !strings.Contains(key, "=") {
		return strings.EqualFold(key, first)
	}
	is, err := ldap.ParseDN(key)
	return err == nil && dn != nil && is.EqualFold(dn)
}

// like is the name that GroupPattern gives a group, empty for none.
func (m *Mapping) like(first string) string {
	before, after, ok := strings.Cut(m.GroupPattern, "{group}")
	if first = strings.ToLower(first); !ok || len(first) <= len(before)+len(after) ||
		!strings.HasPrefix(first, strings.ToLower(before)) || !strings.HasSuffix(first, strings.ToLower(after)) {
		return ""
	}
	if first = first[len(before) : len(first)-len(after)]; auth.CheckGroup(first) != nil {
		return "" // a name that no rule can mean
	}
	return first
}

// Attributes of Active Directory, and what in them closes an account.
const (
	accountControl  = "userAccountControl"
	accountExpires  = "accountExpires"
	passwordLastSet = "pwdLastSet"

	accountDisabled = 1 << 1 // ADS_UF_ACCOUNTDISABLE
	neverExpires    = 1<<63 - 1
)

// disabled reports whether the entry says that the account may not be used: what it says
// that cannot be read counts as a yes.
func (m *Mapping) disabled(e *ldap.Entry, now time.Time) bool {
	for _, condition := range m.Disabled {
		name, want, _ := strings.Cut(condition, "=")
		for _, value := range e.GetEqualFoldAttributeValues(name) {
			if want == "*" || strings.EqualFold(value, want) {
				return true
			}
		}
	}
	if text := e.GetEqualFoldAttributeValue(accountControl); text != "" {
		if flags, err := strconv.ParseInt(text, 10, 64); err != nil || flags&accountDisabled != 0 {
			return true
		}
	}
	if text := e.GetEqualFoldAttributeValue(accountExpires); text != "" {
		if at, err := strconv.ParseInt(text, 10, 64); err != nil || at != 0 && at != neverExpires && !now.Before(fileTime(at)) {
			return true
		}
	}
	// The password has to be changed first, which is done elsewhere.
	return e.GetEqualFoldAttributeValue(passwordLastSet) == "0"
}

// fileTime is a time of Windows: 100 ns since 1601.
func fileTime(n int64) time.Time {
	const toUnix = 11_644_473_600 // seconds
	return time.Unix(n/10_000_000-toUnix, n%10_000_000*100)
}
