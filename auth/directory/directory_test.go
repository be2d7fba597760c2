package directory

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"

	"gateway/auth"
	"gateway/session"
)

func secret(s string) session.Secret { return session.NewSecret(s) }

func joe() map[string][]entry {
	return map[string][]entry{"(uid=joe)": {{"cn=Joe,dc=example,dc=com", "secret of joe", map[string]string{"memberOf": "cn=ftp,dc=example,dc=com"}}}}
}

// An entry is searched for as the service, and bound to for the password, by either way to
// TLS.
func TestCheck(t *testing.T) {
	t.Parallel()
	for _, startTLS := range []bool{false, true} {
		f := &fake{startTLS: startTLS, found: joe()}
		d := New(f.serve(t))
		ask := func(user, password string) (*auth.Said, bool) {
			t.Helper()
			said, right, err := d.Check(t.Context(), auth.Question{User: user}, secret(password))
			if err != nil {
				t.Fatalf("%s: %v", user, err)
			}
			return said, right
		}
		if said, right := ask("joe", "secret of joe"); !right || said == nil || !slices.Equal(said.Groups, []string{"users"}) {
			t.Errorf("got %+v, %v", said, right)
		}
		if said, right := ask("joe", "wrong"); right || said == nil {
			t.Errorf("a wrong password: got %+v, %v", said, right)
		}
		if got, want := f.bound(), []string{service, "cn=Joe,dc=example,dc=com", service, "cn=Joe,dc=example,dc=com"}; !slices.Equal(got, want) {
			t.Errorf("bound as %q, want %q", got, want)
		}
		if said, right := ask("joe", ""); right || said == nil {
			t.Errorf("no password: got %+v, %v", said, right)
		}
		if said, right := ask("eve", "secret of joe"); right || said != nil {
			t.Errorf("nobody: got %+v, %v", said, right)
		}
		if got, want := f.bound(), []string{service, service}; !slices.Equal(got, want) {
			t.Errorf("bound as %q, want %q", got, want)
		}
		if err := d.Decoy(t.Context(), auth.Question{User: "eve"}); err != nil {
			t.Error(err)
		}
		if got := f.bound(); len(got) != 2 || !strings.HasSuffix(got[1], ",dc=example,dc=com") {
			t.Errorf("a decoy bound as %q", got)
		}
	}
}

// What an account cannot be logged in to for is a no, and not a fault by which its name
// could be told.
func TestBindIsRefused(t *testing.T) {
	t.Parallel()
	for code, fault := range map[uint16]bool{
		ldap.LDAPResultInappropriateAuthentication: false, ldap.LDAPResultConstraintViolation: false, ldap.LDAPResultUnwillingToPerform: false,
		ldap.LDAPResultBusy: true, ldap.LDAPResultReferral: true, ldap.LDAPResultOther: true,
	} {
		f := &fake{found: joe(), refuse: code}
		_, right, err := New(f.serve(t)).Check(t.Context(), auth.Question{User: "joe"}, secret("secret of joe"))
		if right || errors.Is(err, session.ErrUnavailable) != fault || (err != nil) != fault {
			t.Errorf("%s: got %v, %v", ldap.LDAPResultCodeMap[code], right, err)
		}
	}
}

// Groups that are searched for count beside those of the entry, and a name that cannot be
// told apart from a filter is none.
func TestSearches(t *testing.T) {
	t.Parallel()
	found := joe()
	found["(member=cn=Joe,dc=example,dc=com)"] = []entry{{dn: "cn=ops,dc=example,dc=com"}, {dn: "cn=other,dc=example,dc=com"}}
	found["(uid=two)"] = []entry{{dn: "cn=a,dc=example,dc=com"}, {dn: "cn=b,dc=example,dc=com"}}
	f := &fake{found: found}
	cfg := f.serve(t)
	cfg.Mapping.GroupFilter, cfg.Mapping.Groups = "(member={dn})", map[string]string{"ftp": "users", "ops": "ops"}
	d := New(cfg)
	said, err := d.Find(t.Context(), auth.Question{User: "joe"})
	if err != nil || !slices.Equal(said.Groups, []string{"users", "ops"}) {
		t.Errorf("got %+v, %v", said, err)
	}
	if _, err := d.Find(t.Context(), auth.Question{User: "two"}); !errors.Is(err, session.ErrUnavailable) || !strings.Contains(err.Error(), "several entries") {
		t.Errorf("two entries: %v", err)
	}
	for _, user := range []string{"*", "joe)(uid=*", "j\x00"} {
		if said, err := d.Find(t.Context(), auth.Question{User: user}); err != nil || said != nil {
			t.Errorf("%q: got %+v, %v", user, said, err)
		}
	}
}

// A server that is another one, that does not know the service, or that is not there gives
// no answer, and is shown no password.
func TestNoAnswer(t *testing.T) {
	t.Parallel()
	f := &fake{found: joe()}
	good := f.serve(t)
	for want, change := range map[string]func(*Config){
		"somebody is between":          func(c *Config) { c.Pin = strings.Repeat("0", 64) },
		"certificate":                  func(c *Config) { c.Pin = "" },
		"bind as cn=gateway":           func(c *Config) { c.BindPassword = secret("another") },
		"connection refused":           func(c *Config) { c.Address = "127.0.0.1:1" },
		"unable to read LDAP response": func(c *Config) { c.StartTLS = true },
		"it is asked 8 questions":      func(c *Config) { c.Timeout = 1 },
	} {
		cfg := good
		change(&cfg)
		d := New(cfg)
		if cfg.Timeout == 1 {
			for range maxQuestions {
				d.slots <- struct{}{}
			}
		}
		_, right, err := d.Check(t.Context(), auth.Question{User: "joe"}, secret("secret of joe"))
		if right || !errors.Is(err, session.ErrUnavailable) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, %v, want %q", right, err, want)
		}
		if err != nil && (strings.Contains(err.Error(), "secret of") || strings.Contains(err.Error(), "another")) {
			t.Errorf("a password is in %q", err)
		}
	}
	if bound := f.bound(); slices.Contains(bound, "cn=Joe,dc=example,dc=com") {
		t.Errorf("bound as %q", bound)
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	good := Config{Name: "ad", Address: "dc1.example.com:636", Base: "dc=example,dc=com", Filter: "(uid={user})"}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*Config){
		"want HOST:PORT":             func(c *Config) { c.Address = "dc1" },
		"base: say where":            func(c *Config) { c.Base = "" },
		"is not a DN":                func(c *Config) { c.Base = "example.com" },
		"want {user} in it":          func(c *Config) { c.Filter = "(uid=*)" },
		"filter: LDAP Result Code":   func(c *Config) { c.Filter = "(uid={user}" },
		"bind_dn needs one":          func(c *Config) { c.BindDN = service },
		"group_filter":               func(c *Config) { c.Mapping.GroupFilter = "member={dn" },
		"group_base":                 func(c *Config) { c.Mapping.GroupBase = "groups" },
		"want {group} in it":         func(c *Config) { c.Mapping.GroupPattern = "ftp-*" },
		`"ftp": group: "FTP Users"`:  func(c *Config) { c.Mapping.Groups = map[string]string{"ftp": "FTP Users"} },
		`"cn=ftp,users" is not a DN`: func(c *Config) { c.Mapping.Groups = map[string]string{"cn=ftp,users": "users"} },
		"everybody":                  func(c *Config) { c.Mapping.Everybody = []string{""} },
		"home and homes":             func(c *Config) { c.Mapping.Home = "homeDirectory" },
		"want ATTRIBUTE=VALUE":       func(c *Config) { c.Mapping.Disabled = []string{"left"} },
	} {
		c := good
		change(&c)
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
