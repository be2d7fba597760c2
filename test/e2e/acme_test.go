package e2e

import (
	"crypto/tls"
	"fmt"
	"strings"
	"testing"

	"gateway/certs/certstest"
	"gateway/internal/gatewaytest"
)

// A certificate from an ACME authority, configured as an operator would, is
// served by FTPS and submission alike, and one that is about to end is renewed
// under the live listeners.
func TestACME(t *testing.T) {
	t.Parallel()
	ca := certstest.StartPebble(t)
	g := gatewaytest.Start(t, gatewaytest.Options{Config: gatewaytest.Config + fmt.Sprintf(`
limits { trusted = ["127.0.0.0/8"] } # this test connects often and never logs in
certificates {
  acme {
    email         = "ops@example.com"
    directory     = %q
    roots         = %q
    names         = ["files.test", "127.0.0.1"]
    listen_host   = "127.0.0.1"
    http_port     = %d
    tls_alpn_port = %d
    profile       = "shortlived"
  }
}
`, ca.Directory, ca.Roots, ca.HTTP, ca.TLSALPN)})
	// The root of that authority changes with each run, so the certificate is looked
	// at instead of verified.
	serial := func(listener string) (issuer, number string) {
		t.Helper()
		c, err := tls.Dial("tcp", g.Addr(listener), &tls.Config{ServerName: "files.test", InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		leaf := c.ConnectionState().PeerCertificates[0]
		return leaf.Issuer.CommonName, leaf.SerialNumber.String()
	}
	eventually(t, "the authority's certificate is served", func() bool {
		issuer, _ := serial("ftps")
		return strings.HasPrefix(issuer, "Pebble")
	})
	_, first := serial("ftps")
	if _, mail := serial("submissions"); mail != first {
		t.Errorf("FTPS serves %s, submission %s", first, mail)
	}
	if out := g.CLI("", "cert", "list"); !strings.Contains(out, "acme") || !strings.Contains(out, "files.test") {
		t.Errorf("cert list:\n%s", out)
	}
	g.CLI("", "cert", "renew")
	if _, now := serial("submissions"); now == first {
		t.Error("cert renew left the old certificate in place")
	}
}
