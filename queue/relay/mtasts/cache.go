package mtasts

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strings"
	"sync"
	"time"

	"gateway/queue/relay/dns"
)

const (
	// maxDomains bounds the policies that are kept.
	maxDomains = 10_000
	// refreshAfter is the age at which a policy is fetched again although its id is
	// the old one, so that one in use never ends (RFC 8461, section 3.3).
	refreshAfter = 24 * time.Hour
	// failedPause is the wait after a fetch that failed (RFC 8461, section 3.3).
	failedPause = 5 * time.Minute
	// fetchTimeout bounds one fetch (RFC 8461, section 3.3).
	fetchTimeout = time.Minute
)

// Resolver looks up TXT records, as dns.Resolver does.
type Resolver interface {
	TXT(ctx context.Context, name string) (dns.Answer[string], error)
}

// Config of a Cache.
type Config struct {
	// Resolver is required.
	Resolver Resolver
	// Dir keeps the policies over a restart; it is made if it does not exist. Empty:
	// they are kept in memory only, and whoever can hide a policy after a restart
	// can turn it off.
	Dir string
	// Transport fetches policies; it must verify certificates, and is not made to
	// follow redirects. Nil means one with the roots of the system.
	Transport http.RoundTripper
	// Log may be nil for slog.Default.
	Log *slog.Logger
}

// Cache finds policies and keeps them. Its methods may be called from any
// goroutine.
type Cache struct {
	cfg    Config
	client http.Client

	mu      sync.Mutex
	domains map[string]*domain
}

// domain is what is known of one. Who holds busy may use it.
type domain struct {
	busy    chan struct{}
	policy  Policy
	fetched time.Time // zero if there is no policy
	failed  time.Time // of the last fetch, zero if it did not fail
	reason  error     // of that
}

func (d *domain) expires() time.Time { return d.fetched.Add(d.policy.MaxAge) }

func (d *domain) fresh(now time.Time) bool { return !d.fetched.IsZero() && now.Before(d.expires()) }

// Open makes a Cache with the policies that lie in cfg.Dir.
func Open(cfg Config) (*Cache, error) {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Transport == nil {
		cfg.Transport = &http.Transport{
			TLSClientConfig:   &tls.Config{MinVersion: tls.VersionTLS12},
			DisableKeepAlives: true, // every policy has a host of its own
		}
	}
	c := &Cache{cfg: cfg, domains: make(map[string]*domain)}
	c.client = http.Client{
		Transport:     cfg.Transport,
		Timeout:       fetchTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if cfg.Dir != "" {
		if err := c.load(time.Now()); err != nil {
			return nil, fmt.Errorf("open MTA-STS policies: %w", err)
		}
	}
	return c, nil
}

// Lookup returns the policy of a domain, given by its A-labels; the zero Policy
// if it has none. An error says that the domain announces a policy which could
// not be had, and that none is left from before: mail goes on as if there was
// none (RFC 8461, section 3.3), and the domain's owner wants to know.
func (c *Cache) Lookup(ctx context.Context, name string) (Policy, error) {
	name = strings.ToLower(name)
	if !validDomain(name) {
		return Policy{}, nil
	}
	answer, err := c.cfg.Resolver.TXT(ctx, "_mta-sts."+name)
	id, announced := "", false
	if err == nil {
		id, announced = ParseRecord(answer.Records)
	}
	d := c.domain(name, announced)
	if d == nil {
		return Policy{}, nil
	}
	select {
	case d.busy <- struct{}{}:
		defer func() { <-d.busy }()
	case <-ctx.Done():
		return Policy{}, context.Cause(ctx)
	}
	now := time.Now()
	wanted := announced && (!d.fresh(now) || id != d.policy.ID || now.Sub(d.fetched) >= refreshAfter)
	if wanted && now.Sub(d.failed) >= failedPause {
		c.renew(ctx, name, id, d, now)
	}
	switch {
	case d.fresh(now):
		return d.policy, nil
	case announced && d.reason != nil:
		return Policy{}, d.reason
	default:
		return Policy{}, nil
	}
}

// domain finds what is known of a name, and makes room for it if it is going to
// be known.
func (c *Cache) domain(name string, create bool) *domain {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.domains[name]
	if d == nil && create {
		if len(c.domains) >= maxDomains {
			c.evict()
		}
		d = &domain{busy: make(chan struct{}, 1)}
		c.domains[name] = d
	}
	return d
}

// evict drops what nobody uses now and was fetched first.
func (c *Cache) evict() {
	oldest, since := "", time.Time{}
	for name, d := range c.domains {
		select {
		case d.busy <- struct{}{}:
			if oldest == "" || d.fetched.Before(since) {
				oldest, since = name, d.fetched
			}
			<-d.busy
		default:
		}
	}
	delete(c.domains, oldest)
	c.remove(oldest)
}

// renew fetches the policy of a domain. If that fails the old one stays.
func (c *Cache) renew(ctx context.Context, name, id string, d *domain, now time.Time) {
	p, err := c.fetch(ctx, name)
	if err != nil {
		if ctx.Err() == nil {
			d.failed, d.reason = now, err
			c.cfg.Log.Warn("MTA-STS policy not fetched", "domain", name, "err", err)
		}
		return
	}
	p.ID = id
	d.policy, d.fetched, d.failed, d.reason = p, now, time.Time{}, nil
	if err := c.save(name, d); err != nil {
		c.cfg.Log.Error("MTA-STS policy not kept", "domain", name, "err", err)
	}
}

// fetch gets the policy by HTTPS (RFC 8461, section 3.3).
func (c *Cache) fetch(ctx context.Context, name string) (Policy, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://mta-sts."+name+"/.well-known/mta-sts.txt", nil)
	if err != nil {
		return Policy{}, err
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return Policy{}, fmt.Errorf("fetch: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return Policy{}, fmt.Errorf("fetch: the server answered %d", resp.StatusCode)
	}
	if kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || kind != "text/plain" {
		return Policy{}, fmt.Errorf("%w: its media type is not text/plain", ErrPolicy)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxPolicyBytes+1))
	if err != nil {
		return Policy{}, fmt.Errorf("fetch: %w", err)
	}
	return ParsePolicy(string(text))
}

// The results of RFC 8460, section 4.3.2, for a policy that could not be had.
const (
	FetchError  = "sts-policy-fetch-error"
	Invalid     = "sts-policy-invalid"
	WebPKIError = "sts-webpki-invalid"
)

// Reason names an error of Lookup as a report on TLS does.
func Reason(err error) string {
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	switch {
	case errors.Is(err, ErrPolicy):
		return Invalid
	case untrusted:
		return WebPKIError
	default:
		return FetchError
	}
}
