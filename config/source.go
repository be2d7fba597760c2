package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"gateway/auth"
	"gateway/auth/directory"
	"gateway/auth/hook"
)

// maxSources bounds the sources of accounts.
const maxSources = 8

// A Source is one of the places beside the store where accounts are. Exactly one of the two
// is set.
type Source struct {
	Name      string
	Directory *directory.Config
	Hook      *hook.Config

	block *sourceBlock
}

// A sourceBlock is what stands in a source block, for either kind.
type sourceBlock struct {
	at        hcl.Range
	kind, ca  string
	written   []string // names of the settings that only one kind has
	directory directory.Config
	hook      hook.Config
}

const (
	sourceLDAPS = "ldaps"
	sourceLDAP  = "ldap-tls"
	sourceHTTP  = "http"
)

func (c *Config) source(_ *decoder, at hcl.Range, name string) (section, error) {
	if err := auth.CheckSourceName(name); err != nil {
		return section{}, err
	}
	if slices.ContainsFunc(c.Sources, func(s Source) bool { return s.Name == name }) {
		return section{}, fmt.Errorf("there is a source %q already; each needs a name of its own", name)
	}
	if len(c.Sources) == maxSources {
		return section{}, fmt.Errorf("there are more than %d sources", maxSources)
	}
	b := &sourceBlock{at: at}
	c.Sources = append(c.Sources, Source{Name: name, block: b})
	l, m, h := &b.directory, &b.directory.Mapping, &b.hook
	kind := choice("type", &b.kind, []string{sourceLDAPS, sourceLDAP, sourceHTTP}, "", "How it is asked: a directory over TLS from the first byte, or by StartTLS; or a program over HTTP.")
	kind.required = true
	settings := []setting{
		kind,
		text("pin", &l.Pin, "", "SHA-256 of its certificate, in hex. Without it the certificate must be good."),
		file("ca", &b.ca, "", "Certificates of the authorities that are trusted for it, instead of those of the system (PEM)."),
		duration("timeout", &l.Timeout, "5s; 2s for http", "Time for a whole question. A login that gets no answer in time fails for the moment."),
		file("homes", &m.Homes, "", "Folder below which the folders of accounts must be that the source names."),
	}
	settings = append(settings, b.of(sourceLDAPS,
		text("address", &l.Address, "", "Of ldap: `HOST:PORT`."),
		text("base", &l.Base, "", "Of ldap: below which entry to search."),
		text("filter", &l.Filter, "", "Of ldap: how to find the entry of {user}: `(&(objectClass=user)(sAMAccountName={user}))`. One that finds several is an error."),
		text("bind_dn", &l.BindDN, "anonymous", "Of ldap: who searches."),
		secret("bind_password", &l.BindPassword, "The password of bind_dn."),
		table("groups", &m.Groups, "Of ldap: groups here by those there, by DN or by the first name in it: `{ \"cn=ftp,ou=groups,dc=example,dc=com\" = \"users\" }`."),
		text("group_pattern", &m.GroupPattern, "", "Of ldap: names of further groups: `ftp-{group}` makes users of ftp-users."),
		list("everybody", "group", &m.Everybody, parseGroupName, "", "Of ldap: groups that all its accounts are in."),
		text("group_attribute", &m.GroupAttribute, "memberOf", "Of ldap: where an entry names its groups."),
		text("group_filter", &m.GroupFilter, "", "Of ldap: how to find more groups of the entry {dn} or of {user}: `(&(objectClass=groupOfNames)(member={dn}))`."),
		text("group_base", &m.GroupBase, "base", "Of ldap: below which entry groups must be to count."),
		text("addresses", &m.Addresses, "", "Of ldap: the attribute of its mail senders, such as mail. Without it they are set here."),
		text("home", &m.Home, "", "Of ldap: the attribute of the folder of its files. It needs homes."),
		list("disabled", "ATTRIBUTE=VALUE", &m.Disabled, parseText, "", "Of ldap: what in an entry closes the account; the value `*` is any. What Active Directory has for it is known without."),
	)...)
	settings = append(settings, b.of(sourceHTTP,
		text("url", &h.URL, "", "Of http: what is asked by POST, with https; or with http at an address of a private network."),
		secret("secret", &h.Secret, "Of http: the key of the HMAC-SHA256 of what is asked, in the header Gateway-Signature."),
	)...)
	return section{settings: settings}, nil
}

// of marks settings as those of one kind.
func (b *sourceBlock) of(kind string, settings ...setting) []setting {
	for i := range settings {
		set, name := settings[i].set, settings[i].name
		settings[i].set = func(d *decoder, v cty.Value) error {
			b.written = append(b.written, kind+" "+name)
			return set(d, v)
		}
	}
	return settings
}

// checkSources checks what no setting of a block can check alone.
func (c *Config) checkSources(d *decoder) {
	for i := range c.Sources {
		if err := c.Sources[i].complete(); err != nil {
			d.fault(c.Sources[i].block.at, "Invalid source", sentence(fmt.Sprintf("source %q: %v", c.Sources[i].Name, err)))
		}
	}
}

// complete makes the Config of the source's kind.
func (s *Source) complete() error {
	b := s.block
	if b.kind == "" {
		return nil // which is said already
	}
	kind := strings.Replace(b.kind, sourceLDAP, sourceLDAPS, 1)
	for _, written := range b.written {
		if of, name, _ := strings.Cut(written, " "); of != kind {
			return fmt.Errorf("%s: it is not for type = %q; leave it out", name, b.kind)
		}
	}
	roots, err := authorities(b.ca)
	if err != nil {
		return err
	}
	if kind == sourceHTTP {
		b.hook.Name, b.hook.Pin, b.hook.Roots = s.Name, b.directory.Pin, roots
		b.hook.Timeout, b.hook.Homes = b.directory.Timeout, b.directory.Mapping.Homes
		s.Hook = &b.hook
		return b.hook.Check()
	}
	b.directory.Name, b.directory.Roots, b.directory.StartTLS = s.Name, roots, b.kind == sourceLDAP
	s.Directory = &b.directory
	return b.directory.Check()
}

func parseText(s string) (string, error) {
	if s == "" {
		return "", fmt.Errorf("it is empty")
	}
	return s, nil
}

// maxTable is how many rows a table may have.
const maxTable = 1024

// table is texts by texts.
func table(name string, to *map[string]string, doc string) setting {
	return setting{name: name, kind: "{ text = text }", doc: doc, set: func(_ *decoder, v cty.Value) error {
		if !v.Type().IsObjectType() && !v.Type().IsMapType() {
			return fmt.Errorf("a table such as { \"a\" = \"b\" } is expected, not %s", v.Type().FriendlyName())
		}
		rows := make(map[string]string)
		for it := v.ElementIterator(); it.Next(); {
			key, value := it.Element()
			text, err := str(value)
			if err != nil {
				return fmt.Errorf("%s: %w", key.AsString(), err)
			}
			rows[key.AsString()] = text
		}
		if len(rows) > maxTable {
			return fmt.Errorf("it has %d rows, more than %d", len(rows), maxTable)
		}
		*to = rows
		return nil
	}}
}
