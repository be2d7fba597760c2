// Package dns asks a resolver what delivery of mail has to know: MX, address,
// TLSA and TXT records (RFC 1035, RFC 6698), and whether DNSSEC vouches for them.
//
// It does not validate signatures itself. A validating resolver does, and says so
// with the AD bit (RFC 6840, section 5.7). Anybody on the way can set a bit, so it
// is believed only of a resolver on a loopback address, or where Config.TrustAD
// says that the way to the resolver is protected.
package dns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	// maxServers is how many resolvers are asked, as in resolv.conf(5).
	maxServers = 3
	// rounds is how often each of them is asked.
	rounds = 2
	// maxAliases bounds the CNAME records that are followed from one name.
	maxAliases = 8
	// udpSize is what is taken by UDP; what is larger comes by TCP.
	udpSize = 1232

	defaultTimeout = 5 * time.Second
	resolvConf     = "/etc/resolv.conf"
)

// ErrNotExist is a name that does not exist at all (NXDOMAIN). A name that exists
// and has no records of the type asked for is no error: its Answer is empty. Any
// other error is temporary.
var ErrNotExist = errors.New("no such domain")

// Config of a Resolver.
type Config struct {
	// Servers are asked in turn, at most three of them. None means those of
	// /etc/resolv.conf.
	Servers []netip.AddrPort
	// TrustAD believes what servers beyond the loopback interface say of DNSSEC. It
	// is safe only where nobody can forge packets between them and this host.
	TrustAD bool
	// Timeout of one query to one server; 0 means 5s.
	Timeout time.Duration
}

// Resolver asks and remembers. Its methods may be called from any goroutine.
type Resolver struct {
	servers []netip.AddrPort
	trustAD bool
	timeout time.Duration
	cache   cache
}

// New makes a Resolver. Nothing is asked yet.
func New(cfg Config) (*Resolver, error) {
	r := &Resolver{servers: cfg.Servers, trustAD: cfg.TrustAD, timeout: cfg.Timeout}
	if r.timeout <= 0 {
		r.timeout = defaultTimeout
	}
	if len(r.servers) == 0 {
		var err error
		if r.servers, err = systemServers(resolvConf); err != nil {
			return nil, fmt.Errorf("find a DNS resolver: %w", err)
		}
	}
	if len(r.servers) > maxServers {
		return nil, fmt.Errorf("%d DNS resolvers are configured, want at most %d", len(r.servers), maxServers)
	}
	for _, s := range r.servers {
		if !s.IsValid() || s.Port() == 0 {
			return nil, fmt.Errorf("%v is no address and port of a DNS resolver", s)
		}
	}
	return r, nil
}

func systemServers(name string) ([]netip.AddrPort, error) {
	conf, err := dns.ClientConfigFromFile(name)
	if err != nil {
		return nil, err
	}
	var list []netip.AddrPort
	for _, s := range conf.Servers[:min(len(conf.Servers), maxServers)] {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return nil, fmt.Errorf("%s: nameserver %q is no address", name, s)
		}
		list = append(list, netip.AddrPortFrom(a, 53))
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s names no server", name)
	}
	return list, nil
}

// Answer to one question.
type Answer[T any] struct {
	// Records are those of the name after all aliases; none if it has none of the
	// type.
	Records []T
	// Name is the name after all aliases, in lower case without the final dot.
	Name string
	// Secure says that a validating resolver vouches for the answer, an empty one
	// included.
	Secure bool
}

// MX is one mail exchanger. Host is in lower case without the final dot; the
// empty Host is that of a null MX (RFC 7505).
type MX struct {
	Host       string
	Preference uint16
}

// TLSA is one association of RFC 6698, section 2.1.
type TLSA struct {
	Usage, Selector, Matching uint8
	Data                      []byte
}

// MX looks up the mail exchangers of domain, in no order.
func (r *Resolver) MX(ctx context.Context, domain string) (Answer[MX], error) {
	return collect(ctx, r, domain, dns.TypeMX, func(rr dns.RR) (MX, bool) {
		mx, ok := rr.(*dns.MX)
		if !ok {
			return MX{}, false
		}
		return MX{Host: plain(mx.Mx), Preference: mx.Preference}, true
	})
}

// TXT looks up the text records of name, each with its parts joined.
func (r *Resolver) TXT(ctx context.Context, name string) (Answer[string], error) {
	return collect(ctx, r, name, dns.TypeTXT, func(rr dns.RR) (string, bool) {
		txt, ok := rr.(*dns.TXT)
		if !ok {
			return "", false
		}
		return strings.Join(txt.Txt, ""), true
	})
}

// TLSA looks up the associations at name, which has the port and the protocol in
// front (RFC 6698, section 3).
func (r *Resolver) TLSA(ctx context.Context, name string) (Answer[TLSA], error) {
	return collect(ctx, r, name, dns.TypeTLSA, func(rr dns.RR) (TLSA, bool) {
		t, ok := rr.(*dns.TLSA)
		if !ok {
			return TLSA{}, false
		}
		return TLSA{t.Usage, t.Selector, t.MatchingType, unhex(t.Certificate)}, true
	})
}

// Addresses looks up the IPv6 and IPv4 addresses of host, in that order. If only
// one of the two questions is answered, that has to do.
func (r *Resolver) Addresses(ctx context.Context, host string) (Answer[netip.Addr], error) {
	six, errSix := collect(ctx, r, host, dns.TypeAAAA, address)
	four, errFour := collect(ctx, r, host, dns.TypeA, address)
	switch {
	case errSix != nil && errFour != nil:
		return Answer[netip.Addr]{}, errFour
	case errSix != nil && len(four.Records) == 0:
		return Answer[netip.Addr]{}, errSix
	case errFour != nil && len(six.Records) == 0:
		return Answer[netip.Addr]{}, errFour
	case errSix != nil:
		return four, nil
	case errFour != nil:
		return six, nil
	}
	return Answer[netip.Addr]{
		Records: append(append([]netip.Addr(nil), six.Records...), four.Records...),
		Name:    four.Name,
		Secure:  six.Secure && four.Secure && six.Name == four.Name,
	}, nil
}

func address(rr dns.RR) (a netip.Addr, ok bool) {
	switch rr := rr.(type) {
	case *dns.A:
		a, ok = netip.AddrFromSlice(rr.A.To4())
	case *dns.AAAA:
		a, ok = netip.AddrFromSlice(rr.AAAA.To16())
	}
	return a, ok
}

// collect asks one question and converts the records.
func collect[T any](ctx context.Context, r *Resolver, name string, qtype uint16, convert func(dns.RR) (T, bool)) (Answer[T], error) {
	found, err := r.lookup(ctx, name, qtype)
	if err != nil {
		return Answer[T]{}, fmt.Errorf("%s of %s: %w", dns.TypeToString[qtype], name, err)
	}
	a := Answer[T]{Name: plain(found.name), Secure: found.secure}
	for _, rr := range found.records {
		if v, ok := convert(rr); ok {
			a.Records = append(a.Records, v)
		}
	}
	return a, nil
}

// result is the answer to a question as it is remembered.
type result struct {
	records []dns.RR
	name    string // fully qualified, in lower case
	secure  bool
	absent  bool // the name does not exist
	ttl     time.Duration
}

func (r *Resolver) lookup(ctx context.Context, name string, qtype uint16) (result, error) {
	fqdn := dns.CanonicalName(name)
	if _, ok := dns.IsDomainName(fqdn); !ok || fqdn == "." {
		return result{}, fmt.Errorf("%w: not a domain name", ErrNotExist)
	}
	q := question{fqdn, qtype}
	found, known := r.cache.get(q, time.Now())
	if !known {
		var err error
		if found, err = r.follow(ctx, fqdn, qtype); err != nil {
			return result{}, err
		}
		r.cache.put(q, found, time.Now())
	}
	if found.absent {
		return result{}, ErrNotExist
	}
	return found, nil
}

// follow asks, and asks again for the target of an alias that came without its
// records.
func (r *Resolver) follow(ctx context.Context, name string, qtype uint16) (result, error) {
	whole := result{name: name, secure: true, ttl: maxTTL}
	for range maxAliases {
		msg, trusted, err := r.ask(ctx, whole.name, qtype)
		if err != nil {
			return result{}, err
		}
		whole.secure = whole.secure && trusted && msg.AuthenticatedData
		whole.ttl = min(whole.ttl, messageTTL(msg))
		records, last, err := chase(msg.Answer, whole.name, qtype)
		if err != nil {
			return result{}, err
		}
		alias := last != whole.name
		whole.records, whole.name = records, last
		if msg.Rcode == dns.RcodeNameError {
			whole.absent = true
			return whole, nil
		}
		if len(records) > 0 || !alias {
			return whole, nil
		}
	}
	return result{}, errAliases
}

var errAliases = fmt.Errorf("more than %d aliases, or a loop of them", maxAliases)

// chase follows aliases within one answer: only records of the name asked for,
// or of what it is an alias of, count. It returns the records of the type and the
// name at the end.
func chase(answer []dns.RR, name string, qtype uint16) (records []dns.RR, last string, err error) {
	for range maxAliases + 1 {
		target := ""
		for _, rr := range answer {
			h := rr.Header()
			if h.Class != dns.ClassINET || dns.CanonicalName(h.Name) != name {
				continue
			}
			if h.Rrtype == qtype {
				records = append(records, rr)
			} else if cname, ok := rr.(*dns.CNAME); ok && target == "" {
				target = dns.CanonicalName(cname.Target)
			}
		}
		if len(records) > 0 || target == "" {
			return records, name, nil
		}
		name = target
	}
	return nil, "", errAliases
}

// ask puts one question to the servers in turn until one has an answer. trusted
// says whether its AD bit may be believed.
func (r *Resolver) ask(ctx context.Context, name string, qtype uint16) (msg *dns.Msg, trusted bool, err error) {
	err = errors.New("no server answered")
	for range rounds {
		for _, server := range r.servers {
			if ctx.Err() != nil {
				return nil, false, context.Cause(ctx)
			}
			var failed error
			if msg, failed = r.exchange(ctx, server, name, qtype); failed == nil {
				return msg, r.trusts(server), nil
			}
			err = fmt.Errorf("ask %s: %w", server, failed)
		}
	}
	return nil, false, err
}

// trusts reports whether the AD bit of a server may be believed.
func (r *Resolver) trusts(server netip.AddrPort) bool {
	return r.trustAD || server.Addr().IsLoopback()
}

func (r *Resolver) exchange(ctx context.Context, server netip.AddrPort, name string, qtype uint16) (*dns.Msg, error) {
	q := new(dns.Msg)
	q.SetQuestion(name, qtype)
	q.AuthenticatedData = true
	q.SetEdns0(udpSize, false)
	for _, network := range []string{"udp", "tcp"} {
		client := dns.Client{Net: network, Timeout: r.timeout, UDPSize: udpSize}
		msg, _, err := client.ExchangeContext(ctx, q, server.String())
		switch {
		case err != nil:
			return nil, err
		case msg.Truncated && network == "udp":
			continue
		case !msg.Response || len(msg.Question) != 1 || dns.CanonicalName(msg.Question[0].Name) != name || msg.Question[0].Qtype != qtype:
			return nil, errors.New("the answer is to another question")
		case msg.Rcode != dns.RcodeSuccess && msg.Rcode != dns.RcodeNameError:
			return nil, fmt.Errorf("answered %s", dns.RcodeToString[msg.Rcode])
		}
		return msg, nil
	}
	return nil, errors.New("the answer is cut off by TCP, too")
}

// plain is a name without the final dot, "" for the root.
func plain(name string) string { return strings.TrimSuffix(dns.CanonicalName(name), ".") }
