package policies

import (
	"net/netip"
	"strings"
	"testing"

	"gateway/session"
)

func TestHeld(t *testing.T) {
	t.Parallel()
	p, err := Parse([]byte(`
allow "files" { protocol = ["ftp", "sftp"] }
require "partners read" {
  read_only = true
  bandwidth = "1MiB"
  when { group = "partners" }
}
require "short" {
  lifetime  = "8h"
  bandwidth = "500KiB"
  within    = "/out"
  when { from = "192.0.2.0/24" }
}
exempt "short" "joe" {
  user    = "joe"
  from    = "192.0.2.0/24"
  until   = "2028-01-01"
  owner   = "o"
  because = "b"
}
`), "p.hcl", Options{Now: noon()})
	if err != nil {
		t.Fatal(err)
	}
	if w := p.Warnings(); len(w) != 0 {
		t.Errorf("warnings: %v", w)
	}
	ask := func(user, from string, groups ...string) Explanation {
		return p.Explain(session.Request{
			Phase: session.PhaseVerified, Time: noon(), Known: true, User: user, Groups: groups, Method: session.MethodPassword,
			Protocol: session.SFTP, Channel: session.SSH, Remote: netip.MustParseAddr(from),
		})
	}
	for want, got := range map[string]Explanation{
		"": ask("ann", "10.0.0.1"),
		"holds to reading, holds to 1048576 bytes a second":                                     ask("ann", "10.0.0.1", "partners"),
		"holds to reading, holds within /out, holds to 512000 bytes a second, holds for 8h0m0s": ask("ann", "192.0.2.7", "partners"),
		"holds to reading, holds to 1048576 bytes a second ":                                    ask("joe", "192.0.2.7", "partners"), // exempted from the other
	} {
		if strings.Join(got.Held, ", ") != strings.TrimSpace(want) {
			t.Errorf("got %q, want %q", got.Held, want)
		}
	}
	for src, want := range map[string]string{
		`lifetime = "5s"`:     "Not a lifetime",
		`lifetime = "soon"`:   "Not a lifetime",
		`bandwidth = "0"`:     "Not a number of bytes",
		`bandwidth = "9TiB"`:  "Not a number of bytes",
		`within = "in"`:       "Not a folder",
		`within = "/in/../x"`: "Not a folder",
		`read_only = false`:   "Nothing asked for",
		`read_only = "yes"`:   "Wrong type",
	} {
		if _, err := Parse([]byte("allow \"a\" { protocol = \"ftp\" }\nrequire \"r\" { "+src+" }\n"), "p.hcl", Options{Now: noon()}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", src, err)
		}
	}
	mail, err := Parse([]byte("allow \"a\" { protocol = \"submission\" }\nrequire \"r\" {\n read_only = true\n when { protocol = \"submission\" }\n}\n"), "p.hcl", Options{Now: noon()})
	if err != nil || len(mail.Warnings()) != 1 {
		t.Errorf("of mail: %v, %v", mail.Warnings(), err)
	}
}
