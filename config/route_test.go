package config

import (
	"strings"
	"testing"

	"gateway/queue/relay"
	"gateway/session"
)

func TestRoutes(t *testing.T) {
	t.Setenv("GATEWAY_TEST_SECRET", "hunter2")
	c, err := parse(t, minimal+`
mail {
  route                       = "partner"
  concurrency                 = 7
  concurrency_per_destination = 3
  warn_after                  = "2h"
}
route "partner" {
  to      = "smtp://relay.example.com:587"
  domains = ["Example.com", ".example.org"]
  auth    = "password"
  user    = "gw"
  password = env("GATEWAY_TEST_SECRET")
}
route "modern" {
  to        = "smtps://smtp.example.net"
  domains   = "example.net"
  auth      = "xoauth2"
  user      = "gw@example.net"
  token_url = "https://login.example.net/token"
  client_id = "id"
  client_secret = "${env("GATEWAY_TEST_SECRET")}"
  scope     = "send"
}
route "world" {
  to  = "mx"
  tls = "require"
}
`)
	if err != nil {
		t.Fatal(err)
	}
	partner, modern, world := c.Mail.Routes[0], c.Mail.Routes[1], c.Mail.Routes[2]
	for what, pair := range map[string][2]any{
		"default":         {c.Mail.DefaultRoute.String(), "partner"},
		"concurrency":     {c.Mail.Concurrency, 7},
		"per destination": {c.Mail.PerDestination, 3},
		"warn":            {c.Mail.WarnAfter.String(), "2h0m0s"},
		"to":              {partner.To.String(), "smtp://relay.example.com:587"},
		"domains":         {strings.Join(partner.Domains, " "), "example.com .example.org"},
		"password":        {partner.Auth.Password, session.NewSecret("hunter2")},
		"tls by auth":     {partner.TLS, relay.Required},
		"tokens":          {modern.Auth.Tokens != nil, true},
		"user":            {modern.Auth.User, "gw@example.net"},
		"mx":              {world.To.String(), "mx"},
		"tls":             {world.TLS, relay.Required},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: got %v, want %v", what, pair[0], pair[1])
		}
	}
}

func TestRouteMistakes(t *testing.T) {
	t.Setenv("GATEWAY_TEST_SECRET", "hunter2")
	const secret = `password = env("GATEWAY_TEST_SECRET")`
	block := func(lines ...string) string { return "route \"r\" {\n" + strings.Join(lines, "\n") + "\n}\n" }
	for want, src := range map[string]string{
		"small letters":                        "route \"R x\" {\n  to = \"mx\"\n}\n",
		"\"to\" is required":                   block(),
		"and not to another route":             block(`to = "other"`),
		"Write the secret by reference":        block(`to = "smtp://h"`, `auth = "password"`, `user = "u"`, `password = "hunter2"`),
		"and not how":                          block(`to = "smtp://h"`, `user = "u"`, secret),
		"auth needs user":                      block(`to = "smtp://h"`, `auth = "password"`, secret),
		"takes user and password, and nothing": block(`to = "smtp://h"`, `auth = "password"`, `user = "u"`),
		"takes no password":                    block(`to = "smtp://h"`, `auth = "xoauth2"`, `user = "u"`, secret),
		"not of the form https://host/path":    block(`to = "smtp://h"`, `auth = "xoauth2"`, `user = "u"`, `token_url = "http://h/token"`),
		"is not a domain such as":              block(`to = "mx"`, `domains = ["a b"]`),
		"not one of: opportunistic, require":   block(`to = "mx"`, `tls = "maybe"`),
		"there is no route \"other\"":          block(`to = "mx"`) + "mail {\n  route = \"other\"\n}\n",
		"there are two routes \"r\"":           block(`to = "mx"`) + block(`to = "mx"`),
		"belongs to two routes":                block(`to = "mx"`, `domains = "x.y"`) + "route \"s\" {\n to = \"mx\"\n domains = \"X.Y\"\n}\n",
		"neither tls nor auth":                 block(`to = "maildir://m"`, `tls = "require"`),
		"they belong into a route block":       "mail {\n  route = \"smtp://u:p@h\"\n}\n",
		"or the name of a route":               "mail {\n  route = \"mail.example.com\"\n}\n",
	} {
		_, err := parse(t, minimal+src)
		if err == nil || !strings.Contains(flat(err.Error()), flat(want)) {
			t.Errorf("got %v, want %q", err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") && !strings.Contains(src, "\"hunter2\"") {
			t.Errorf("the secret is in %v", err)
		}
	}
}
