package oldserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// askLDAP binds as the user (RFC 4511, section 4.2), whose DN is made of the name or is
// searched for before. An empty password, by which anybody may bind, never comes here.
func (s *Server) askLDAP(ctx context.Context, conn net.Conn, user, password string) (bool, error) {
	_, over := conn.(interface{ NetConn() net.Conn })
	l := ldap.NewConn(conn, over)
	l.SetTimeout(s.cfg.Timeout)
	l.Start()
	defer l.Close()
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	if s.cfg.Kind == LDAP {
		if err := l.StartTLS(s.tls()); err != nil {
			return false, err
		}
	}
	dn := strings.ReplaceAll(s.cfg.User, "{user}", ldap.EscapeDN(user))
	if s.cfg.Filter != "" {
		var err error
		if dn, err = s.search(l, user); dn == "" || err != nil {
			return false, err
		}
	}
	err := l.Bind(dn, password)
	switch {
	case err == nil:
		return true, nil
	case ldap.IsErrorWithCode(err, ldap.LDAPResultInvalidCredentials):
		return false, nil
	default:
		return false, err
	}
}

// search finds the DN of a user, empty if there is none.
func (s *Server) search(l *ldap.Conn, user string) (string, error) {
	if s.cfg.BindDN != "" {
		if err := l.Bind(s.cfg.BindDN, s.cfg.BindPassword.Reveal()); err != nil {
			return "", fmt.Errorf("bind as %s: %w", s.cfg.BindDN, err)
		}
	}
	filter := strings.ReplaceAll(s.cfg.Filter, "{user}", ldap.EscapeFilter(user))
	// Two are asked for, so that it is seen if a filter finds several.
	found, err := l.Search(ldap.NewSearchRequest(s.cfg.Base, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 2, int(s.cfg.Timeout.Seconds()), false, filter, []string{"1.1"}, nil))
	switch {
	case err != nil && !ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded):
		return "", fmt.Errorf("search: %w", err)
	case found == nil || len(found.Entries) == 0:
		return "", nil
	case len(found.Entries) > 1:
		return "", errors.New("search: the filter finds several entries; it must find one")
	}
	return found.Entries[0].DN, nil
}
