package directory

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"gateway/auth"
)

func TestGroups(t *testing.T) {
	t.Parallel()
	table := Mapping{Groups: map[string]string{"CN=FTP Users,OU=Groups,DC=example,DC=com": "users", "ops": "ops", "all-ops": "ops"}}
	pattern := Mapping{GroupPattern: "ftp-{group}", GroupBase: "ou=groups,dc=example,dc=com"}
	for _, tc := range []struct {
		mapping Mapping
		name    string
		want    []string
	}{
		{table, "cn=ftp users,ou=groups,dc=example,dc=com", []string{"users"}},
		{table, "CN=FTP Users, OU=Groups, DC=example, DC=com", []string{"users"}},
		{table, "cn=ftp users,ou=mine,dc=example,dc=com", nil},
		{table, "cn=Ops,ou=anywhere,dc=example,dc=com", []string{"ops"}},
		{table, "ops", []string{"ops"}},
		{table, "cn=ops\\,cn=ftp,dc=example,dc=com", nil},
		{table, "cn=", nil},
		{table, "no=dn,", nil},
		{pattern, "cn=FTP-Users,ou=groups,dc=example,dc=com", []string{"users"}},
		{pattern, "cn=ftp-users,ou=mine,dc=example,dc=com", nil},
		{pattern, "ftp-users", nil}, // of which nobody knows where it is
		{pattern, "cn=ftp-,ou=groups,dc=example,dc=com", nil},
		{pattern, "cn=ftp-a b,ou=groups,dc=example,dc=com", nil},
		{pattern, "cn=users,ou=groups,dc=example,dc=com", nil},
		{Mapping{GroupPattern: "{group}-ftp"}, "Users-FTP", []string{"users"}},
		{Mapping{}, "users", nil},
	} {
		if got := tc.mapping.groups(tc.name); !slices.Equal(got, tc.want) {
			t.Errorf("%q: got %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestSaid(t *testing.T) {
	t.Parallel()
	now := time.Date(2027, 1, 2, 0, 0, 0, 0, time.UTC)
	windows := func(at time.Time) string { return strconv.FormatInt((at.Unix()+11_644_473_600)*10_000_000, 10) }
	m := Mapping{
		Groups: map[string]string{"ftp": "users"}, Everybody: []string{"staff"}, Addresses: "mail", Home: "homeDirectory", Homes: "/srv/ftp",
		Disabled: []string{"employeeType=left", "locked=*"},
	}
	for name, tc := range map[string]struct {
		entry map[string][]string
		want  auth.Said
		fails string
	}{
		"plain": {map[string][]string{"mail": {"a@example.com"}, "homedirectory": {"joe"}},
			auth.Said{Groups: []string{"staff", "users"}, Addresses: []string{"a@example.com"}, Home: "/srv/ftp/joe"}, ""},
		"bare":              {nil, auth.Said{Groups: []string{"staff", "users"}, Addresses: []string{}}, ""},
		"a home elsewhere":  {map[string][]string{"homeDirectory": {"/etc"}}, auth.Said{}, "not below /srv/ftp"},
		"a home above":      {map[string][]string{"homeDirectory": {"../../etc"}}, auth.Said{}, "not below /srv/ftp"},
		"the home of all":   {map[string][]string{"homeDirectory": {"/srv/ftp/"}}, auth.Said{}, "not below /srv/ftp"},
		"a condition":       {map[string][]string{"EmployeeType": {"staff", "LEFT"}}, closed(), ""},
		"any value":         {map[string][]string{"locked": {"20270101000000Z"}}, closed(), ""},
		"disabled":          {map[string][]string{"userAccountControl": {"514"}}, closed(), ""},
		"enabled":           {map[string][]string{"userAccountControl": {"512"}}, open(), ""},
		"flags unreadable":  {map[string][]string{"userAccountControl": {"0x200"}}, closed(), ""},
		"expired":           {map[string][]string{"accountExpires": {windows(now)}}, closed(), ""},
		"not yet expired":   {map[string][]string{"accountExpires": {windows(now.Add(time.Second))}}, open(), ""},
		"never expires":     {map[string][]string{"accountExpires": {"9223372036854775807"}}, open(), ""},
		"expires at 0":      {map[string][]string{"accountExpires": {"0"}}, open(), ""},
		"must be changed":   {map[string][]string{"pwdLastSet": {"0"}}, closed(), ""},
		"password was set":  {map[string][]string{"pwdLastSet": {windows(now)}}, open(), ""},
		"expiry unreadable": {map[string][]string{"accountExpires": {"soon"}}, closed(), ""},
	} {
		got, err := m.said(ldap.NewEntry("cn=joe", tc.entry), []string{"ftp", "other"}, now)
		if tc.fails != "" {
			if err == nil || !strings.Contains(err.Error(), tc.fails) {
				t.Errorf("%s: got %v, want %q", name, err, tc.fails)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(*got, tc.want) {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, tc.want)
		}
	}
}

func open() auth.Said { return auth.Said{Groups: []string{"staff", "users"}, Addresses: []string{}} }

func closed() auth.Said {
	s := open()
	s.Disabled = true
	return s
}

// Whatever an entry holds, what comes of it is nothing that an account cannot be.
func FuzzSaid(f *testing.F) {
	f.Add("cn=ftp-users,ou=groups,dc=example,dc=com", "514", "9223372036854775807", "/srv/ftp/joe")
	f.Add("ftp-users", "", "0", "../etc")
	f.Add("cn=a+cn=b,dc=x", "-1", "-9223372036854775808", "")
	m := Mapping{GroupPattern: "ftp-{group}", Groups: map[string]string{"ops": "ops"}, Home: "home", Homes: "/srv/ftp"}
	f.Fuzz(func(t *testing.T, group, flags, expires, home string) {
		e := ldap.NewEntry("cn=joe", map[string][]string{accountControl: {flags}, accountExpires: {expires}, "home": {home}})
		said, err := m.said(e, []string{group}, time.Unix(0, 0))
		if err != nil {
			return
		}
		for _, g := range said.Groups {
			if err := auth.CheckGroup(g); err != nil {
				t.Errorf("%q makes a group: %v", group, err)
			}
		}
		if said.Home != "" && !strings.HasPrefix(said.Home, "/srv/ftp/") {
			t.Errorf("%q makes the home %q", home, said.Home)
		}
	})
}
