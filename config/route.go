package config

import (
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"gateway/queue"
	"gateway/queue/relay"
	"gateway/queue/relay/oauth"
	"gateway/session"
)

const maxRoutes = 1000

// The ways to log in to a smart host.
const (
	authPassword = "password"
	authXOAUTH2  = "xoauth2"
)

// route is a block of a route that has a name.
func (c *Config) route(_ *decoder, at hcl.Range, name string) (section, error) {
	if !queue.ValidRouteName(name) {
		return section{}, fmt.Errorf("the name of a route is small letters, digits and hyphens, and not mx")
	}
	// Room for all, so that the pointers taken below stay good.
	if c.Mail.Routes == nil {
		c.Mail.Routes = make([]queue.NamedRoute, 0, maxRoutes)
		c.routeBlocks = make([]routeBlock, 0, maxRoutes)
	}
	if len(c.Mail.Routes) == maxRoutes {
		return section{}, fmt.Errorf("there are more than %d routes", maxRoutes)
	}
	c.Mail.Routes = append(c.Mail.Routes, queue.NamedRoute{Name: name})
	r := &c.Mail.Routes[len(c.Mail.Routes)-1]
	c.routeBlocks = append(c.routeBlocks, routeBlock{at: at})
	login := &c.routeBlocks[len(c.routeBlocks)-1]
	to := parsed("to", "route", &r.To, parseTarget, "", "Where it leads: mx, smtp://host:port, smtps://host:port, lmtp://host:port, lmtp:///socket or maildir://folder.")
	to.required = true
	return section{settings: []setting{
		to,
		list("domains", "domain", &r.Domains, parseRouteDomain, "", "Domains of recipients that go this way, unless the sender's account has a route: \"example.com\", or \".example.org\" for everything below it."),
		parsed("tls", "opportunistic | require", &r.TLS, parseTLSPolicy, "opportunistic; require with auth", "What is asked of the connection: TLS where it is offered, or TLS with a valid certificate, else the mail waits."),
		choice("auth", &login.auth, []string{authPassword, authXOAUTH2}, "", "How to log in to a smart host: by PLAIN or LOGIN, whichever it has, or by XOAUTH2. It is done over verified TLS only."),
		text("user", &login.user, "", "Account at the smart host."),
		secret("password", &login.password, "Its password: file(\"path\") or env(\"NAME\")."),
		text("token_url", &login.tokens.TokenURL, "", "Where access tokens come from, for xoauth2: https://host/path."),
		text("client_id", &login.tokens.ClientID, "", "The gateway's registration there."),
		secret("client_secret", &login.tokens.ClientSecret, "Its secret: file(\"path\") or env(\"NAME\")."),
		secret("refresh_token", &login.tokens.RefreshToken, "A refresh token, by reference; without one tokens are asked for with the secret alone (client credentials)."),
		list("scope", "scope", &login.tokens.Scopes, parseScope, "", "What tokens are asked for."),
	}}, nil
}

// routeBlock is what of a route block is checked as a whole.
type routeBlock struct {
	at       hcl.Range
	auth     string
	user     string
	password session.Secret
	tokens   oauth.Config
}

// checkRoutes checks what no setting of a route can check alone.
func (c *Config) checkRoutes(d *decoder) {
	for i := range c.routeBlocks {
		r, b := &c.Mail.Routes[i], &c.routeBlocks[i]
		var err error
		if r.Auth, err = b.login(); err != nil {
			d.fault(b.at, "Login of a route", sentence(fmt.Sprintf("route %q: %v", r.Name, err)))
		}
		if !r.Auth.IsZero() {
			r.TLS = relay.Required // a password or token never crosses in clear
		}
	}
	if d.diags.HasErrors() {
		return
	}
	if err := c.Mail.CheckRoutes(); err != nil {
		for line := range strings.Lines(err.Error()) {
			d.diags = append(d.diags, &hcl.Diagnostic{Severity: hcl.DiagError, Summary: "Mail routes", Detail: sentence(strings.TrimSpace(line))})
		}
	}
}

// login puts together how to log in.
func (b *routeBlock) login() (relay.Auth, error) {
	t := b.tokens
	oauthSet := t.TokenURL != "" || t.ClientID != "" || !t.ClientSecret.Empty() || !t.RefreshToken.Empty() || len(t.Scopes) > 0
	switch {
	case b.auth == "" && (oauthSet || b.user != "" || !b.password.Empty()):
		return relay.Auth{}, fmt.Errorf("it says who logs in and not how: add auth = %q or %q", authPassword, authXOAUTH2)
	case b.auth == "":
		return relay.Auth{}, nil
	case b.user == "":
		return relay.Auth{}, fmt.Errorf("auth needs user")
	case b.auth == authPassword && (b.password.Empty() || oauthSet):
		return relay.Auth{}, fmt.Errorf("auth = %q takes user and password, and nothing of tokens", authPassword)
	case b.auth == authPassword:
		return relay.Auth{User: b.user, Password: b.password}, nil
	case !b.password.Empty():
		return relay.Auth{}, fmt.Errorf("auth = %q takes no password", authXOAUTH2)
	}
	source, err := oauth.New(t)
	if err != nil {
		return relay.Auth{}, err
	}
	return relay.Auth{User: b.user, Tokens: source}, nil
}

func parseScope(s string) (string, error) {
	if s == "" || strings.ContainsAny(s, " \"\\") {
		return "", fmt.Errorf("%q is not a scope; several are a list", s)
	}
	return s, nil
}

// parseTarget takes a route that is no name of another.
func parseTarget(s string) (queue.Route, error) {
	r, err := queue.ParseRoute(s)
	if err == nil && r.IsName() {
		return r, fmt.Errorf("a route leads to a place, and not to another route")
	}
	return r, err
}

func parseRouteDomain(s string) (string, error) {
	rest := strings.TrimPrefix(s, ".")
	if _, err := queue.ParseMailbox("x@"+rest, true); err != nil || strings.HasPrefix(rest, "[") {
		return "", fmt.Errorf("%q is not a domain such as \"example.com\" or \".example.com\"", s)
	}
	return strings.ToLower(s), nil
}

func parseTLSPolicy(s string) (relay.TLSPolicy, error) {
	switch s {
	case "opportunistic":
		return relay.Opportunistic, nil
	case "require":
		return relay.Required, nil
	default:
		return 0, fmt.Errorf("%q is not one of: opportunistic, require", s)
	}
}
