package relay

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/netip"
	"time"

	"gateway/queue/relay/dane"
	"gateway/queue/relay/dns"
	"gateway/queue/relay/mtasts"
)

// demand is what a connection to a host has to fulfil before mail goes over it.
// The zero demand is opportunistic TLS.
type demand struct {
	domain string // whose policy it is, for the results; "" if nobody's
	policy string // of TLSCount

	encrypt      bool // TLS, with whatever certificate
	authenticate bool // and a valid certificate for the host's name, or by DANE
	requireTLS   bool // and a peer that passes the demand on (RFC 8689)

	tlsa  []dns.TLSA // usable ones: they take the place of the roots
	names []string   // that a certificate may be for, with tlsa

	// testing says that a policy would demand a valid certificate (RFC 8461, section
	// 5): what is wrong is counted and no obstacle.
	testing bool
	// mismatch says that a policy in testing does not know the host.
	mismatch bool
}

// demandOf adds what the recipient's domain and the host demand by DANE and
// MTA-STS. DANE comes first: the other must not weaken it (RFC 8461, section 2).
func (c *Client) demandOf(ctx context.Context, hosts hostList, h *host, addresses dns.Answer[netip.Addr]) error {
	found, err := c.daneDemand(ctx, hosts, h, addresses)
	if err != nil || found {
		return err
	}
	p := hosts.policy
	h.demand.policy = policyNone
	if !p.Applies() {
		return nil
	}
	h.demand.policy = policySTS
	match := p.Match(h.name)
	switch {
	case p.Mode == mtasts.Testing:
		h.demand.testing, h.demand.mismatch = true, !match
	case !match:
		c.count(h.demand, "", resultFailed)
		return deferred("4.7.5", "the MTA-STS policy of %s does not name this host", hosts.domain)
	default:
		h.demand.authenticate = true
	}
	return nil
}

// daneDemand is RFC 7672, section 2.2: only if DNSSEC vouches for the MX and for
// the host's addresses are its associations looked for, and then they count.
func (c *Client) daneDemand(ctx context.Context, hosts hostList, h *host, addresses dns.Answer[netip.Addr]) (found bool, err error) {
	if !hosts.secure || !addresses.Secure {
		return false, nil
	}
	bases := []string{h.name}
	if addresses.Name != h.name {
		bases = []string{addresses.Name, h.name} // an alias: its target comes first
	}
	for _, base := range bases {
		answer, err := c.Resolver.TLSA(ctx, c.tlsaName(base))
		switch {
		case errors.Is(err, dns.ErrNotExist):
			continue
		case err != nil: // somebody may be hiding them
			h.demand.policy = policyTLSA
			c.count(h.demand, h.name, resultDNSSEC)
			return false, deferred("4.7.5", "DANE: %s", err)
		case !answer.Secure || len(answer.Records) == 0:
			continue
		}
		d := &h.demand
		d.policy, d.encrypt = policyTLSA, true
		d.tlsa = dane.Usable(answer.Records)
		d.names = []string{base, h.name, hosts.domain}
		if len(d.tlsa) > 0 {
			d.authenticate = true
		} else {
			c.count(*d, h.name, resultTLSA)
		}
		return true, nil
	}
	return false, nil
}

// verify checks the certificate of a peer: by DANE if it has usable records, by
// the roots otherwise.
func (d demand) verify(state tls.ConnectionState, roots *x509.CertPool, name string) error {
	if len(d.tlsa) > 0 {
		return dane.Verify(d.tlsa, state, d.names, time.Now())
	}
	if len(state.PeerCertificates) == 0 || name == "" {
		return errors.New("no certificate, or no name to verify it for")
	}
	opts := x509.VerifyOptions{Roots: roots, DNSName: name, Intermediates: x509.NewCertPool()}
	for _, c := range state.PeerCertificates[1:] {
		opts.Intermediates.AddCert(c)
	}
	_, err := state.PeerCertificates[0].Verify(opts)
	return err
}

// count notes how TLS went with a host of a domain.
func (c *Client) count(d demand, host, result string) {
	if d.domain == "" || d.policy == "" {
		return
	}
	c.Results.add(TLSCount{Domain: d.domain, Policy: d.policy, Host: host, Result: result})
}

// countChannel notes a connection that is ready for mail.
func (c *Client) countChannel(d demand, host string, encrypted bool, invalid error) {
	switch {
	case !encrypted:
		c.count(d, host, resultNoStartTLS)
	case d.mismatch:
		c.count(d, host, resultFailed)
	case d.testing && invalid != nil:
		c.count(d, host, certificateResult(invalid))
	default:
		c.count(d, host, "")
	}
}

// certificateResult names a fault of a certificate as RFC 8460, section 4.3.1,
// does.
func certificateResult(err error) string {
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return resultName
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return resultTrust
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok && e.Reason == x509.Expired {
		return resultExpired
	}
	return resultFailed
}
