package relay

import (
	"crypto/sha256"
	"crypto/tls"
	"net/netip"
	"strings"
	"testing"
	"time"

	"gateway/queue/relay/dns"
	"gateway/queue/relay/mtasts"
)

// digest is a TLSA record for the certificate at a place in the chain.
func digest(usage uint8, cfg *tls.Config, place int) dns.TLSA {
	sum := sha256.Sum256(cfg.Certificates[0].Certificate[place])
	return dns.TLSA{Usage: usage, Selector: 0, Matching: 1, Data: sum[:]}
}

// What a domain demands, what its host offers, and what comes of it.
func TestDemands(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t), newAuthority(t)
	good := ca.server(t, time.Hour, "mx.y.test")
	expired := ca.server(t, -time.Hour, "mx.y.test")
	misnamed := ca.server(t, time.Hour, "mx.z.test")
	foreign := other.server(t, time.Hour, "mx.y.test")
	enforce := mtasts.Policy{Mode: mtasts.Enforce, MX: []string{"*.y.test"}}
	testing3 := mtasts.Policy{Mode: mtasts.Testing, MX: []string{"*.y.test"}}
	for name, c := range map[string]struct {
		server     *tls.Config
		policy     mtasts.Policy
		tlsa       []dns.TLSA
		hidden     bool // the TLSA records cannot be looked up
		insecure   bool
		target     TLSPolicy
		requireTLS bool
		extensions []string

		outcome  Outcome
		enhanced string
		text     string
		tls      string
		count    string // policy and result
	}{
		"nothing, clear":          {insecure: true, outcome: Delivered, enhanced: "2.0.0", count: "no-policy-found starttls-not-supported"},
		"nothing, valid":          {insecure: true, server: good, outcome: Delivered, enhanced: "2.0.0", tls: "TLS 1.3 verified", count: "no-policy-found "},
		"nothing, foreign":        {insecure: true, server: foreign, outcome: Delivered, enhanced: "2.0.0", tls: "TLS 1.3 unverified", count: "no-policy-found "},
		"route, valid":            {insecure: true, server: good, target: Required, outcome: Delivered, enhanced: "2.0.0", tls: "TLS 1.3 verified"},
		"route, misnamed":         {insecure: true, server: misnamed, target: Required, outcome: Deferred, enhanced: "4.7.5", text: "mx.z.test"},
		"route, clear":            {insecure: true, target: Required, outcome: Deferred, enhanced: "4.7.4", text: "TLS is required"},
		"STS, valid":              {insecure: true, server: good, policy: enforce, outcome: Delivered, enhanced: "2.0.0", tls: "TLS 1.3 verified", count: "sts "},
		"STS, clear":              {insecure: true, policy: enforce, outcome: Deferred, enhanced: "4.7.4", text: "TLS is required", count: "sts starttls-not-supported"},
		"STS, foreign":            {insecure: true, server: foreign, policy: enforce, outcome: Deferred, enhanced: "4.7.5", text: "not valid", count: "sts certificate-not-trusted"},
		"STS, expired":            {insecure: true, server: expired, policy: enforce, outcome: Deferred, enhanced: "4.7.5", text: "expired", count: "sts certificate-expired"},
		"STS, misnamed":           {insecure: true, server: misnamed, policy: enforce, outcome: Deferred, enhanced: "4.7.5", text: "mx.z.test", count: "sts certificate-host-mismatch"},
		"STS, another host":       {insecure: true, server: good, policy: mtasts.Policy{Mode: mtasts.Enforce, MX: []string{"mx.z.test"}}, outcome: Deferred, enhanced: "4.7.5", text: "does not name this host", count: "sts validation-failure"},
		"STS testing, foreign":    {insecure: true, server: foreign, policy: testing3, outcome: Delivered, enhanced: "2.0.0", tls: "TLS 1.3 unverified", count: "sts certificate-not-trusted"},
		"STS testing, clear":      {insecure: true, policy: testing3, outcome: Delivered, enhanced: "2.0.0", count: "sts starttls-not-supported"},
		"STS testing, other host": {insecure: true, server: good, policy: mtasts.Policy{Mode: mtasts.Testing, MX: []string{"mx.z.test"}}, outcome: Delivered, enhanced: "2.0.0", tls: "TLS 1.3 verified", count: "sts validation-failure"},
		"DANE-EE, foreign":        {server: foreign, tlsa: []dns.TLSA{digest(3, foreign, 0)}, outcome: Delivered, enhanced: "2.0.0", tls: "TLS 1.3 verified by DANE", count: "tlsa "},
		"DANE-EE, expired":        {server: expired, tlsa: []dns.TLSA{digest(3, expired, 0)}, outcome: Delivered, enhanced: "2.0.0", tls: "TLS 1.3 verified by DANE"},
		"DANE-TA":                 {server: foreign, tlsa: []dns.TLSA{digest(2, foreign, 1)}, outcome: Delivered, enhanced: "2.0.0", tls: "TLS 1.3 verified by DANE"},
		"DANE-TA, misnamed":       {server: misnamed, tlsa: []dns.TLSA{digest(2, misnamed, 1)}, outcome: Deferred, enhanced: "4.7.5", text: "not valid", count: "tlsa certificate-host-mismatch"},
		"DANE, another":           {server: good, tlsa: []dns.TLSA{digest(3, foreign, 0)}, outcome: Deferred, enhanced: "4.7.5", text: "no TLSA record matches", count: "tlsa validation-failure"},
		"DANE, clear":             {tlsa: []dns.TLSA{digest(3, foreign, 0)}, outcome: Deferred, enhanced: "4.7.4", text: "TLS is required", count: "tlsa starttls-not-supported"},
		"DANE unusable, foreign":  {server: foreign, tlsa: []dns.TLSA{digest(1, foreign, 0)}, outcome: Delivered, enhanced: "2.0.0", tls: "TLS 1.3 unverified", count: "tlsa tlsa-invalid"},
		"DANE unusable, clear":    {tlsa: []dns.TLSA{digest(1, foreign, 0)}, outcome: Deferred, enhanced: "4.7.4", text: "TLS is required"},
		"DANE hidden":             {server: good, hidden: true, outcome: Deferred, enhanced: "4.7.5", text: "DANE", count: "tlsa dnssec-invalid"},
		"DANE, unsigned":          {insecure: true, server: good, tlsa: []dns.TLSA{digest(3, foreign, 0)}, outcome: Delivered, enhanced: "2.0.0", tls: "TLS 1.3 verified", count: "no-policy-found "},
		"DANE before STS":         {server: good, policy: enforce, tlsa: []dns.TLSA{digest(3, foreign, 0)}, outcome: Deferred, enhanced: "4.7.5", text: "no TLSA record matches"},
		"REQUIRETLS by DNSSEC":    {server: good, requireTLS: true, extensions: []string{"REQUIRETLS"}, outcome: Delivered, enhanced: "2.0.0", tls: "TLS 1.3 verified"},
		"REQUIRETLS by DANE":      {server: foreign, tlsa: []dns.TLSA{digest(3, foreign, 0)}, requireTLS: true, extensions: []string{"REQUIRETLS"}, outcome: Delivered, enhanced: "2.0.0", tls: "TLS 1.3 verified by DANE"},
		"REQUIRETLS by STS":       {insecure: true, policy: testing3, server: good, requireTLS: true, extensions: []string{"REQUIRETLS"}, outcome: Delivered, enhanced: "2.0.0", tls: "TLS 1.3 verified"},
		"REQUIRETLS, not vouched": {insecure: true, server: good, requireTLS: true, extensions: []string{"REQUIRETLS"}, outcome: Failed, enhanced: "5.7.10", text: "neither DNSSEC nor MTA-STS"},
		"REQUIRETLS, foreign":     {server: foreign, requireTLS: true, extensions: []string{"REQUIRETLS"}, outcome: Failed, enhanced: "5.7.10", text: "not valid"},
		"REQUIRETLS, clear":       {requireTLS: true, extensions: []string{"REQUIRETLS"}, outcome: Failed, enhanced: "5.7.10", text: "does not offer TLS"},
		"REQUIRETLS, unsupported": {server: good, requireTLS: true, outcome: Failed, enhanced: "5.7.30", text: "does not support"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &sink{tls: c.server, extensions: c.extensions}
			a := s.start(t, "127.0.0.1:0")
			z := zone{
				mx:        map[string][]dns.MX{"y.test": {{Host: "mx.y.test"}}},
				addresses: map[string][]netip.Addr{"mx.y.test": addr("127.0.0.1")},
				insecure:  c.insecure,
			}
			results := NewTLSResults()
			client := &Client{
				Hostname: "gw.example.com", Policies: policies{"y.test": c.policy}, MXPort: a.Port(), SpecialNetworks: loopback,
				TLS: &tls.Config{RootCAs: ca.pool}, Results: results,
			}
			if c.tlsa != nil {
				z.tlsa = map[string][]dns.TLSA{client.tlsaName("mx.y.test"): c.tlsa}
			}
			if c.hidden {
				z.broken = map[string]bool{client.tlsaName("mx.y.test"): true}
			}
			client.Resolver = z
			m := letter("b@y.test")
			m.RequireTLS = c.requireTLS
			r := client.Deliver(t.Context(), Target{Domain: "y.test", TLS: c.target}, m)
			_ = client.Close()
			wantStatus(t, r.Statuses[0], c.outcome, c.enhanced, c.text)
			if r.TLS != c.tls && c.outcome == Delivered {
				t.Errorf("got TLS %q, want %q", r.TLS, c.tls)
			}
			if said := strings.HasSuffix(strings.Join(s.heard("MAIL"), ""), " REQUIRETLS"); said != (c.requireTLS && c.outcome == Delivered) {
				t.Errorf("REQUIRETLS said: %t", said)
			}
			if c.count != "" {
				counts := results.Snapshot().Counts
				if len(counts) == 0 || counts[len(counts)-1].Policy+" "+counts[len(counts)-1].Result != c.count || counts[len(counts)-1].Domain != "y.test" || counts[len(counts)-1].Count != 1 {
					t.Errorf("got counts %+v, want %q", counts, c.count)
				}
			}
		})
	}
}

// The associations of an alias count before those of the name in the MX.
func TestDANEFollowsAliases(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	server := ca.server(t, time.Hour, "elsewhere.test")
	s := &sink{tls: server}
	a := s.start(t, "127.0.0.1:0")
	c := &Client{Hostname: "gw.example.com", MXPort: a.Port(), SpecialNetworks: loopback}
	c.Resolver = zone{
		mx:        map[string][]dns.MX{"y.test": {{Host: "mx.y.test"}}},
		addresses: map[string][]netip.Addr{"real.y.test": addr("127.0.0.1")},
		alias:     map[string]string{"mx.y.test": "real.y.test"},
		tlsa:      map[string][]dns.TLSA{c.tlsaName("real.y.test"): {digest(3, server, 0)}, c.tlsaName("mx.y.test"): {digest(3, server, 1)}},
	}
	r := c.Deliver(t.Context(), Target{Domain: "y.test"}, letter("b@y.test"))
	_ = c.Close()
	wantStatus(t, r.Statuses[0], Delivered, "2.0.0", "taken")
	if r.TLS != "TLS 1.3 verified by DANE" {
		t.Errorf("got %q", r.TLS)
	}
}

// A connection made without the demand of REQUIRETLS is not used for a message
// with it, and the other way round it is.
func TestRequireTLSTakesNoOrdinaryConnection(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	s := &sink{tls: ca.server(t, time.Hour, "mx.y.test"), extensions: []string{"REQUIRETLS"}}
	target := endpoint(s.start(t, "127.0.0.1:0"), "mx.y.test")
	c := &Client{TLS: &tls.Config{RootCAs: ca.pool}}
	for i, want := range []int{1, 2, 2, 2} {
		m := letter("b@y.test")
		m.RequireTLS = i == 1 || i == 2
		wantStatus(t, c.Deliver(t.Context(), target, m).Statuses[0], Delivered, "2.0.0", "taken")
		if got, _ := s.count(); got != want {
			t.Errorf("message %d: got %d connections, want %d", i, got, want)
		}
	}
	_ = c.Close()
	if got := s.heard("MAIL"); strings.HasSuffix(got[0], "REQUIRETLS") || !strings.HasSuffix(got[1], "REQUIRETLS") || strings.HasSuffix(got[3], "REQUIRETLS") {
		t.Errorf("got %q", got)
	}
}

func TestResultsAreBounded(t *testing.T) {
	t.Parallel()
	r := NewTLSResults()
	for i := range maxResults + 5 {
		r.add(TLSCount{Domain: strings.Repeat("x", i%7) + string(rune('0'+i))})
	}
	if s := r.Snapshot(); len(s.Counts) != maxResults || s.LeftOut != 5 {
		t.Errorf("got %d counts, %d left out", len(s.Counts), s.LeftOut)
	}
	var none *TLSResults
	none.add(TLSCount{})
	if s := none.Snapshot(); len(s.Counts) != 0 {
		t.Errorf("got %+v", s)
	}
}
