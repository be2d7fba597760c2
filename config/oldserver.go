package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"

	"gateway/auth/oldserver"
)

// maxOldServers bounds the servers that are asked about passwords.
const maxOldServers = 16

// An oldServerBlock is what of an old_server block is checked as a whole.
type oldServerBlock struct {
	at hcl.Range
	ca string
}

func (c *Config) oldServer(_ *decoder, at hcl.Range, name string) (section, error) {
	if name == "" || name == "store" || strings.ContainsAny(name, " \t\r\n\"") {
		return section{}, fmt.Errorf("the name of an old_server is a word without spaces, and not \"store\"")
	}
	if slices.ContainsFunc(c.OldServers, func(o oldserver.Config) bool { return o.Name == name }) {
		return section{}, fmt.Errorf("there is an old_server %q already; each needs a name of its own", name)
	}
	// Room for all, so that the pointers taken below stay good.
	if c.OldServers == nil {
		c.OldServers, c.oldServerBlocks = make([]oldserver.Config, 0, maxOldServers), make([]oldServerBlock, 0, maxOldServers)
	}
	if len(c.OldServers) == maxOldServers {
		return section{}, fmt.Errorf("there are more than %d old_servers", maxOldServers)
	}
	c.OldServers, c.oldServerBlocks = append(c.OldServers, oldserver.Config{Name: name, Store: true}), append(c.oldServerBlocks, oldServerBlock{at: at})
	o, b := &c.OldServers[len(c.OldServers)-1], &c.oldServerBlocks[len(c.oldServerBlocks)-1]
	var kinds []string
	for _, k := range oldserver.Kinds() {
		kinds = append(kinds, string(k))
	}
	kind := choice("type", (*string)(&o.Kind), kinds, "", "How it is asked. `ftp` is in clear, and within a private network only.")
	address := text("address", &o.Address, "", "`HOST:PORT`.")
	groups := list("groups", "group", &o.Groups, parseGroupName, "", "Whose accounts it is asked about, if they have no password here.")
	kind.required, address.required, groups.required = true, true, true
	return section{settings: []setting{
		kind, address, groups,
		parsed("until", "date", &o.Until, parseDay, "", "From that day on it is not asked any more. Needed if passwords are stored."),
		flag("store", &o.Store, "true", "A password that it says is right is stored here, and not asked about again. `false` is for a directory that keeps them."),
		flag("make_accounts", &o.MakeAccounts, "false", "Names without an account are asked about too: one whose password is right gets one, in all the groups. Of one old_server, and without a source."),
		text("pin", &o.Pin, "", "SHA-256 of its certificate, in hex; of ssh the fingerprint of its host key, `SHA256:...`. Without it the certificate must be good."),
		file("ca", &b.ca, "", "Certificates of the authorities that are trusted for it, instead of those of the system (PEM)."),
		text("user", &o.User, "{user}", "The name there: `{user}@example.com`, or a DN of LDAP, `uid={user},ou=people,dc=example,dc=com`."),
		text("base", &o.Base, "", "Of ldap: where to search for the DN."),
		text("filter", &o.Filter, "", "Of ldap: how to, such as `(&(objectClass=user)(sAMAccountName={user}))`."),
		text("bind_dn", &o.BindDN, "", "Of ldap: who searches."),
		secret("bind_password", &o.BindPassword, "The password of bind_dn."),
		duration("timeout", &o.Timeout, "10s", "Time for a whole question."),
	}}, nil
}

// checkOldServers checks what no setting of a block can check alone.
func (c *Config) checkOldServers(d *decoder) {
	for i := range c.OldServers {
		o, b := &c.OldServers[i], &c.oldServerBlocks[i]
		if err := o.Check(); err != nil {
			d.fault(b.at, "Invalid old_server", sentence(fmt.Sprintf("old_server %q: %v", o.Name, err)))
			continue
		}
		if makes := slices.IndexFunc(c.OldServers, func(o oldserver.Config) bool { return o.MakeAccounts }); o.MakeAccounts && (makes != i || len(c.Sources) > 0) {
			d.fault(b.at, "Invalid old_server", sentence(fmt.Sprintf("old_server %q: make_accounts: only one old_server can, and none beside a source: a name has to be asked about at one place", o.Name)))
			continue
		}
		var err error
		if o.Roots, err = authorities(b.ca); err != nil {
			d.fault(b.at, "Invalid old_server", sentence(fmt.Sprintf("old_server %q: %v", o.Name, err)))
		}
	}
}

func parseGroupName(s string) (string, error) {
	if s == "" {
		return "", fmt.Errorf("the name of a group is empty")
	}
	return s, nil
}

func parseDay(s string) (time.Time, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is not a day such as 2027-06-30", s)
	}
	return t, nil
}
