// Package directory knows the accounts of an LDAP directory, Active Directory included, as
// an auth.Source: it searches for the entry of a name as a service account, takes from it
// what the account is, and binds as it to see whether a password is right (RFC 4511,
// section 4.2).
//
// It speaks over TLS only, by StartTLS or from the first byte, with a server that is known
// by a pin or an authority. Neither referrals nor aliases are followed, a filter that finds
// several entries is an error, and an empty password, with which anybody may bind, is never
// sent (RFC 4513, section 6.3.1).
package directory

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"gateway/auth"
	"gateway/internal/pinned"
	"gateway/session"
)

// Config describes one directory.
type Config struct {
	Name    string
	Address string // host:port
	// StartTLS begins in clear and goes over to TLS before anything is asked. Otherwise it
	// is TLS from the first byte.
	StartTLS bool
	// Pin is the SHA-256 of the certificate, in hex. Empty trusts Roots, nil for those of the
	// system.
	Pin   string
	Roots *x509.CertPool
	// BindDN and BindPassword are the service account that searches. Empty is anonymous.
	BindDN       string
	BindPassword session.Secret
	// Base and Filter find the entry, with {user} in the filter.
	Base, Filter string
	Mapping      Mapping
	// Timeout is for all of a question. Zero means 5 s.
	Timeout time.Duration
}

const (
	defaultTimeout = 5 * time.Second
	// maxQuestions is how many questions are asked at the same time; more wait.
	maxQuestions = 8
	// maxAnswer is how many bytes it may send for a question.
	maxAnswer = 4 << 20
	// maxEntries is how many groups a search of them may find.
	maxEntries = 512
)

// Check reports what in a Config cannot be.
func (c Config) Check() error {
	_, _, err := net.SplitHostPort(c.Address)
	switch {
	case err != nil:
		return fmt.Errorf("address %q: want HOST:PORT, such as dc1.example.com:636", c.Address)
	case c.Base == "":
		return errors.New("base: say where to search, such as dc=example,dc=com")
	case !strings.Contains(c.Filter, "{user}"):
		return errors.New("filter: want {user} in it, such as (&(objectClass=user)(sAMAccountName={user}))")
	case c.Pin != "" && !pinned.Valid(c.Pin):
		return errors.New("pin: want the SHA-256 of its certificate, 64 digits of hex")
	case c.BindDN != "" && c.BindPassword.Empty():
		return errors.New("bind_password: bind_dn needs one; a bind without is anonymous")
	}
	if _, err := ldap.CompileFilter(filled(c.Filter, "user", "x")); err != nil {
		return fmt.Errorf("filter: %w", err)
	}
	if _, err := ldap.ParseDN(c.Base); err != nil {
		return fmt.Errorf("base: %q is not a DN such as dc=example,dc=com", c.Base)
	}
	return c.Mapping.check()
}

// filled is a filter with a value, escaped, in the place of {name}.
func filled(filter, name, value string) string {
	return strings.ReplaceAll(filter, "{"+name+"}", ldap.EscapeFilter(value))
}

// A Directory is one that can be asked.
type Directory struct {
	cfg   Config
	slots chan struct{}
}

var _ auth.Source = (*Directory)(nil)

// New returns the directory of a Config that was checked.
func New(cfg Config) *Directory {
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	return &Directory{cfg: cfg, slots: make(chan struct{}, maxQuestions)}
}

// Name implements auth.Source.
func (d *Directory) Name() string { return d.cfg.Name }

// Find implements auth.Source.
func (d *Directory) Find(ctx context.Context, q auth.Question) (said *auth.Said, err error) {
	err = d.connected(ctx, func(c *ldap.Conn) error {
		_, said, err = d.find(c, q.User)
		return err
	})
	return said, err
}

// Check implements auth.Source.
func (d *Directory) Check(ctx context.Context, q auth.Question, password session.Secret) (said *auth.Said, right bool, err error) {
	err = d.connected(ctx, func(c *ldap.Conn) error {
		var dn string
		if dn, said, err = d.find(c, q.User); err != nil || said == nil {
			return err
		}
		right, err = bind(c, dn, password)
		return err
	})
	return said, right, err
}

// Decoy implements auth.Source: it binds as an entry that there is not.
func (d *Directory) Decoy(ctx context.Context, q auth.Question) error {
	return d.connected(ctx, func(c *ldap.Conn) error {
		if _, _, err := d.find(c, q.User); err != nil {
			return err
		}
		_, err := bind(c, "cn="+rand.Text()+","+d.cfg.Base, session.NewSecret(rand.Text()))
		return err
	})
}

// bind reports whether a password is that of an entry. Answers that say no for other reasons
// than the password, such as a locked account, are a no: to answer them as a fault would
// tell who asks that the entry exists.
func bind(c *ldap.Conn, dn string, password session.Secret) (bool, error) {
	if password.Empty() {
		return false, nil
	}
	err := c.Bind(dn, password.Reveal())
	switch {
	case err == nil:
		return true, nil
	case ldap.IsErrorAnyOf(err, ldap.LDAPResultInvalidCredentials, ldap.LDAPResultInappropriateAuthentication, ldap.LDAPResultNoSuchObject,
		ldap.LDAPResultConstraintViolation, ldap.LDAPResultUnwillingToPerform, ldap.LDAPResultInsufficientAccessRights):
		return false, nil
	default:
		return false, fmt.Errorf("bind: %w", err)
	}
}

// connected runs f with a connection on which the service account is bound.
func (d *Directory) connected(ctx context.Context, f func(*ldap.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Timeout)
	defer cancel()
	select {
	case d.slots <- struct{}{}:
		defer func() { <-d.slots }()
	case <-ctx.Done():
		return fmt.Errorf("%w: it is asked %d questions already", session.ErrUnavailable, maxQuestions)
	}
	c, err := d.dial(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", session.ErrUnavailable, err)
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	if err := f(c); err != nil {
		return fmt.Errorf("%w: %w", session.ErrUnavailable, err)
	}
	return nil
}

// bounded is a connection from which only so much can be read.
type bounded struct {
	net.Conn
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("it sent more than %d bytes", maxAnswer)
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

func (d *Directory) dial(ctx context.Context) (*ldap.Conn, error) {
	var dialer net.Dialer
	bare, err := dialer.DialContext(ctx, "tcp", d.cfg.Address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = bare.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	c, err := d.secured(ctx, &bounded{bare, maxAnswer})
	if err != nil {
		_ = bare.Close()
		return nil, err
	}
	if d.cfg.BindDN == "" {
		return c, nil
	}
	if err := c.Bind(d.cfg.BindDN, d.cfg.BindPassword.Reveal()); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("bind as %s: %w", d.cfg.BindDN, err)
	}
	return c, nil
}

// find returns the entry of a name and what it says, nil if there is none.
func (d *Directory) find(c *ldap.Conn, user string) (dn string, said *auth.Said, err error) {
	m := &d.cfg.Mapping
	// Two are asked for, so that it is seen if a filter finds several.
	found, err := c.Search(d.request(d.cfg.Base, filled(d.cfg.Filter, "user", user), 2, m.attributes()))
	switch {
	case err != nil && !ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded):
		return "", nil, fmt.Errorf("search: %w", err)
	case found == nil || len(found.Entries) == 0:
		if m.GroupFilter != "" { // as long as for one that there is
			_, err = d.groups(c, "cn="+rand.Text()+","+d.cfg.Base, user)
		}
		return "", nil, err
	case len(found.Entries) > 1:
		return "", nil, errors.New("search: the filter finds several entries; it must find one")
	}
	e := found.Entries[0]
	names := e.GetEqualFoldAttributeValues(m.groupAttribute())
	if m.GroupFilter != "" {
		more, err := d.groups(c, e.DN, user)
		if err != nil {
			return "", nil, err
		}
		names = slices.Concat(names, more)
	}
	said, err = m.said(e, names, time.Now())
	return e.DN, said, err
}

// groups searches for the groups of an entry.
func (d *Directory) groups(c *ldap.Conn, dn, user string) ([]string, error) {
	m := &d.cfg.Mapping
	base := m.GroupBase
	if base == "" {
		base = d.cfg.Base
	}
	found, err := c.Search(d.request(base, filled(filled(m.GroupFilter, "user", user), "dn", dn), maxEntries, []string{"1.1"}))
	if err != nil {
		return nil, fmt.Errorf("search groups: %w", err)
	}
	var dns []string
	for _, e := range found.Entries {
		dns = append(dns, e.DN)
	}
	return dns, nil
}

func (d *Directory) request(base, filter string, most int, attributes []string) *ldap.SearchRequest {
	return ldap.NewSearchRequest(base, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, most, max(1, int(d.cfg.Timeout.Seconds())), false, filter, attributes, nil)
}

// secured begins LDAP on a connection, over TLS.
func (d *Directory) secured(ctx context.Context, bare net.Conn) (*ldap.Conn, error) {
	cfg := pinned.TLS(d.cfg.Address, d.cfg.Pin, d.cfg.Roots)
	if !d.cfg.StartTLS {
		over, err := pinned.Handshake(ctx, bare, cfg)
		if err != nil {
			return nil, err
		}
		c := ldap.NewConn(over, true)
		c.SetTimeout(d.cfg.Timeout)
		c.Start()
		return c, nil
	}
	c := ldap.NewConn(bare, false)
	c.SetTimeout(d.cfg.Timeout)
	c.Start()
	if err := c.StartTLS(cfg); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}
