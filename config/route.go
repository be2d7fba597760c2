package config

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"gateway/queue"
	"gateway/queue/relay"
)

const maxRoutes = 1000

// The ways to log in to a smart host.
const (
	authPlain   = "plain"
	authLogin   = "login"
	authXOAUTH2 = "xoauth2"
)

// route is a block of a route that has a name.
func (c *Config) route(_ *decoder, at hcl.Range, name string) (section, error) {
	if !queue.ValidRouteName(name) {
		return section{}, fmt.Errorf("the name of a route is small letters, digits and hyphens, and not mx")
	}
	// Room for all, so that the pointers taken below stay good.
	if c.Mail.Routes == nil {
		c.Mail.Routes = make([]queue.NamedRoute, 0, maxRoutes)
	}
	if len(c.Mail.Routes) == maxRoutes {
		return section{}, fmt.Errorf("there are more than %d routes", maxRoutes)
	}
	c.Mail.Routes = append(c.Mail.Routes, queue.NamedRoute{Name: name})
	c.routeAt = append(c.routeAt, at)
	r := &c.Mail.Routes[len(c.Mail.Routes)-1]
	a := &r.Auth
	to := parsed("to", "route", &r.To, parseTarget, "", "Where it leads: mx, smtp://host:port, smtps://host:port, lmtp://host:port, lmtp:///socket or maildir://folder.")
	to.required = true
	return section{settings: []setting{
		to,
		list("domains", "domain", &r.Domains, parseRouteDomain, "", "Domains of recipients that go this way, unless the sender's account has a route: \"example.com\", or \".example.org\" for everything below it."),
		parsed("tls", "opportunistic | require", &r.TLS, parseTLSPolicy, "opportunistic; require with auth", "What is asked of the connection: TLS where it is offered, or TLS with a valid certificate, else the mail waits."),
		choice("auth", &a.Mechanism, []string{authPlain, authLogin, authXOAUTH2}, "", "How to log in to a smart host. It is done over verified TLS only."),
		text("user", &a.User, "", "Account at the smart host."),
		secret("password", &a.Password, "Its password, for plain and login: file(\"path\") or env(\"NAME\")."),
		parsed("token_url", "URL", &a.TokenURL, parseHTTPS, "", "Where access tokens come from, for xoauth2: https://…/token."),
		text("client_id", &a.ClientID, "", "The gateway's registration there."),
		secret("client_secret", &a.ClientSecret, "Its secret: file(\"path\") or env(\"NAME\")."),
		secret("refresh_token", &a.RefreshToken, "A refresh token, by reference; without one tokens are asked for with the secret alone (client credentials)."),
		text("scope", &a.Scope, "", "What the token is for."),
	}}, nil
}

// checkRoutes checks what no setting of a route can check alone.
func (c *Config) checkRoutes(d *decoder) {
	for i := range c.Mail.Routes {
		r := &c.Mail.Routes[i]
		if wrong := checkAuth(r.Auth); wrong != "" {
			d.fault(c.routeAt[i], "Login of a route", fmt.Sprintf("Route %q: %s.", r.Name, wrong))
		}
		if r.Auth.Mechanism != "" {
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

// checkAuth says what is wrong, "" if nothing is.
func checkAuth(a relay.Auth) string {
	xoauth2 := a.TokenURL != "" || a.ClientID != "" || a.ClientSecret != "" || a.RefreshToken != "" || a.Scope != ""
	switch {
	case a.Mechanism == "" && a != relay.Auth{}:
		return "it says who logs in and not how: add auth = \"plain\", \"login\" or \"xoauth2\""
	case a.Mechanism == "":
		return ""
	case a.User == "":
		return "auth needs user"
	case a.Mechanism != authXOAUTH2 && (a.Password == "" || xoauth2):
		return a.Mechanism + " takes user and password, and nothing else"
	case a.Mechanism == authXOAUTH2 && (a.Password != "" || a.TokenURL == "" || a.ClientID == "" || a.ClientSecret == "" && a.RefreshToken == ""):
		return "xoauth2 takes user, token_url, client_id, client_secret or refresh_token or both, and no password"
	default:
		return ""
	}
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

func parseHTTPS(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
		return "", fmt.Errorf("a URL such as \"https://login.example.com/oauth2/v2.0/token\" is expected")
	}
	return s, nil
}
