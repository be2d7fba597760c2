package relay

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"gateway/queue/relay/dns"
	"gateway/queue/relay/mtasts"
)

// zone is DNS for tests. A name that is in none of the maps does not exist; one
// in broken cannot be looked up.
type zone struct {
	mx        map[string][]dns.MX
	addresses map[string][]netip.Addr
	alias     map[string]string
	tlsa      map[string][]dns.TLSA
	broken    map[string]bool
	insecure  bool
}

var errBroken = errors.New("SERVFAIL")

func (z zone) exists(name string) bool {
	return z.mx[name] != nil || z.addresses[name] != nil
}

func (z zone) MX(_ context.Context, name string) (dns.Answer[dns.MX], error) {
	switch {
	case z.broken[name]:
		return dns.Answer[dns.MX]{}, errBroken
	case !z.exists(name):
		return dns.Answer[dns.MX]{}, fmt.Errorf("MX of %s: %w", name, dns.ErrNotExist)
	}
	return dns.Answer[dns.MX]{Records: z.mx[name], Name: name, Secure: !z.insecure}, nil
}

func (z zone) Addresses(_ context.Context, name string) (dns.Answer[netip.Addr], error) {
	target := name
	if a := z.alias[name]; a != "" {
		target = a
	}
	switch {
	case z.broken[name]:
		return dns.Answer[netip.Addr]{}, errBroken
	case !z.exists(target):
		return dns.Answer[netip.Addr]{}, dns.ErrNotExist
	}
	return dns.Answer[netip.Addr]{Records: z.addresses[target], Name: target, Secure: !z.insecure}, nil
}

func (z zone) TLSA(_ context.Context, name string) (dns.Answer[dns.TLSA], error) {
	if z.broken[name] {
		return dns.Answer[dns.TLSA]{}, errBroken
	}
	records, ok := z.tlsa[name]
	if !ok {
		return dns.Answer[dns.TLSA]{}, dns.ErrNotExist
	}
	return dns.Answer[dns.TLSA]{Records: records, Secure: !z.insecure}, nil
}

type policies map[string]mtasts.Policy

func (p policies) Lookup(_ context.Context, domain string) (mtasts.Policy, error) {
	return p[domain], nil
}

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

func addr(s string) []netip.Addr { return []netip.Addr{netip.MustParseAddr(s)} }

// pair is two mail exchangers of y.test at two addresses and one port.
func pair(t *testing.T, first, second *sink) (*Client, zone) {
	t.Helper()
	a := first.start(t, "127.0.0.1:0")
	z := zone{
		mx:        map[string][]dns.MX{"y.test": {{Host: "mx2.y.test", Preference: 20}, {Host: "mx1.y.test", Preference: 10}}},
		addresses: map[string][]netip.Addr{"mx1.y.test": addr("127.0.0.1"), "mx2.y.test": addr("127.0.0.2")},
		insecure:  true,
	}
	if second != nil {
		second.start(t, fmt.Sprintf("127.0.0.2:%d", a.Port()))
	}
	c := &Client{Hostname: "gw.example.com", Resolver: z, MXPort: a.Port(), SpecialNetworks: loopback}
	t.Cleanup(func() { _ = c.Close() })
	return c, z
}

func TestBestMXTakesTheMail(t *testing.T) {
	t.Parallel()
	first, second := &sink{}, &sink{}
	c, _ := pair(t, first, second)
	r := c.Deliver(t.Context(), Target{Domain: "Y.test."}, letter("b@y.test"))
	wantStatus(t, r.Statuses[0], Delivered, "2.0.0", "taken")
	if r.RemoteName != "mx1.y.test" || !strings.HasPrefix(r.RemoteHost, "127.0.0.1:") || r.Down {
		t.Errorf("got %+v", r)
	}
	if _, n := second.count(); n != 0 {
		t.Errorf("the second host got %d messages", n)
	}
}

// A host that does not take part is passed over; one that refuses the message is
// not.
func TestWhenTheNextMXIsTried(t *testing.T) {
	t.Parallel()
	refuse := func(verb, answer string) func(string) string {
		return func(line string) string {
			if strings.HasPrefix(line, verb) {
				return answer
			}
			return ""
		}
	}
	for name, c := range map[string]struct {
		first  *sink
		passed bool
	}{
		"greets with 554":    {&sink{greeting: "554 no"}, true},
		"greets with 421":    {&sink{greeting: "421 busy"}, true},
		"talks nonsense":     {&sink{greeting: "HTTP/1.1 400 Bad Request"}, true},
		"refuses EHLO":       {&sink{answer: refuse("EHLO", "421 no")}, true},
		"closing at MAIL":    {&sink{answer: refuse("MAIL", "421 4.3.2 no")}, true},
		"hangs up at RCPT":   {&sink{answer: refuse("RCPT", "drop")}, true},
		"hangs up at DATA":   {&sink{answer: refuse("DATA", "drop")}, true},
		"is ourselves":       {&sink{greeting: "220 gw.example.com ESMTP"}, true},
		"refuses MAIL":       {&sink{answer: refuse("MAIL", "451 4.7.1 later")}, false},
		"refuses RCPT":       {&sink{answer: refuse("RCPT", "450 4.2.0 later")}, false},
		"refuses DATA":       {&sink{answer: refuse("DATA", "451 4.3.0 later")}, false},
		"hangs up after dot": {&sink{answer: refuse(".", "drop")}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			second := &sink{}
			client, _ := pair(t, c.first, second)
			r := client.Deliver(t.Context(), Target{Domain: "y.test"}, letter("b@y.test"))
			if got := r.Statuses[0].Outcome == Delivered; got != c.passed {
				t.Errorf("delivered %t, want %t: %+v", got, c.passed, r)
			}
			if _, n := second.count(); (n == 1) != c.passed {
				t.Errorf("the second host got %d messages", n)
			}
		})
	}
}

// Who has an answer keeps it when the rest goes to the next host.
func TestNextMXGetsTheRest(t *testing.T) {
	t.Parallel()
	first := &sink{answer: func(line string) string {
		switch line {
		case "RCPT TO:<b@y.test>":
			return "550 5.1.1 who"
		case "RCPT TO:<c@y.test>":
			return "421 4.3.2 closing"
		default:
			return ""
		}
	}}
	second := &sink{}
	client, _ := pair(t, first, second)
	r := client.Deliver(t.Context(), Target{Domain: "y.test"}, letter("b@y.test", "c@y.test"))
	wantStatus(t, r.Statuses[0], Failed, "5.1.1", "who")
	wantStatus(t, r.Statuses[1], Delivered, "2.0.0", "taken")
	if got := second.heard("RCPT"); !slices.Equal(got, []string{"RCPT TO:<c@y.test>"}) {
		t.Errorf("the second host heard %q", got)
	}
}

func TestAllHostsDown(t *testing.T) {
	t.Parallel()
	client, _ := pair(t, &sink{greeting: "421 4.3.2 one"}, &sink{greeting: "421 4.3.2 two"})
	r := client.Deliver(t.Context(), Target{Domain: "y.test"}, letter("b@y.test"))
	wantStatus(t, r.Statuses[0], Deferred, "4.3.2", "mx2.y.test: greeting: two")
	if !r.Down {
		t.Error("the target is not called down")
	}
}

// What DNS may say, and lies among it.
func TestDNS(t *testing.T) {
	t.Parallel()
	mx := func(hosts ...string) []dns.MX {
		var list []dns.MX
		for i, h := range hosts {
			list = append(list, dns.MX{Host: h, Preference: uint16(i)})
		}
		return list
	}
	for name, c := range map[string]struct {
		domain   string
		zone     zone
		outcome  Outcome
		enhanced string
		text     string
	}{
		"no such domain":   {"y.test", zone{}, Failed, "5.1.2", "does not exist"},
		"null MX":          {"y.test", zone{mx: map[string][]dns.MX{"y.test": mx("")}}, Failed, "5.1.10", "null MX"},
		"nothing at all":   {"y.test", zone{mx: map[string][]dns.MX{"y.test": {}}, addresses: map[string][]netip.Addr{"y.test": {}}}, Failed, "5.4.4", "no address"},
		"server failure":   {"y.test", zone{broken: map[string]bool{"y.test": true}}, Deferred, "4.4.3", "SERVFAIL"},
		"host unknown":     {"y.test", zone{mx: map[string][]dns.MX{"y.test": mx("mx.y.test")}}, Deferred, "4.4.4", "no address"},
		"host broken":      {"y.test", zone{mx: map[string][]dns.MX{"y.test": mx("mx.y.test")}, broken: map[string]bool{"mx.y.test": true}}, Deferred, "4.4.3", "SERVFAIL"},
		"no host name":     {"y.test", zone{mx: map[string][]dns.MX{"y.test": mx("", `a\032b`, "127.0.0.1", "-->")}}, Deferred, "4.4.4", "name no host"},
		"only ourselves":   {"y.test", zone{mx: map[string][]dns.MX{"y.test": mx("GW.example.com", "other.test")}}, Failed, "5.4.6", "loops back"},
		"our other name":   {"y.test", zone{mx: map[string][]dns.MX{"y.test": mx("alias.example.com")}}, Failed, "5.4.6", "loops back"},
		"we are implied":   {"gw.example.com", zone{addresses: map[string][]netip.Addr{"gw.example.com": addr("192.0.2.1")}}, Failed, "5.4.6", "loops back"},
		"loopback":         {"y.test", zone{mx: map[string][]dns.MX{"y.test": mx("mx.y.test")}, addresses: map[string][]netip.Addr{"mx.y.test": append(addr("127.0.0.1"), addr("::1")...)}}, Deferred, "4.4.4", "special use"},
		"nowhere":          {"y.test", zone{addresses: map[string][]netip.Addr{"y.test": append(addr("0.0.0.0"), addr("::")...)}}, Deferred, "4.4.4", "special use"},
		"loopback, mapped": {"y.test", zone{addresses: map[string][]netip.Addr{"y.test": append(addr("::ffff:127.0.0.1"), addr("64:ff9b::7f00:1")...)}}, Deferred, "4.4.4", "special use"},
		"link and many":    {"y.test", zone{addresses: map[string][]netip.Addr{"y.test": append(append(addr("169.254.169.254"), addr("fe80::1")...), append(addr("224.0.0.1"), addr("ff02::1")...)...)}}, Deferred, "4.4.4", "special use"},
		"literal":          {"[127.0.0.1]", zone{}, Deferred, "4.4.4", "special use"},
		"literal, IPv6":    {"[IPv6:::1]", zone{}, Deferred, "4.4.4", "special use"},
		"bad literal":      {"[300.1.1.1]", zone{}, Failed, "5.1.2", "no domain name"},
		"no domain":        {"a b", zone{}, Failed, "5.1.2", "no domain name"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := &Client{Hostname: "gw.example.com", OwnNames: []string{"alias.example.com."}, Resolver: c.zone, MXPort: 1}
			r := client.Deliver(t.Context(), Target{Domain: c.domain}, letter("b@y.test"))
			wantStatus(t, r.Statuses[0], c.outcome, c.enhanced, c.text)
			if !r.Down {
				t.Error("the target is not called down")
			}
		})
	}
}

// Ourselves among the MX: only those that are preferred to us are tried.
func TestLoopIsCut(t *testing.T) {
	t.Parallel()
	s := &sink{}
	c, z := pair(t, s, nil)
	z.mx["y.test"] = []dns.MX{
		{Host: "mx2.y.test", Preference: 20}, {Host: "mx3.y.test", Preference: 30}, {Host: "gw.example.com", Preference: 20}, {Host: "mx1.y.test", Preference: 10},
	}
	hosts, err := c.findHosts(t.Context(), "y.test")
	if err != nil || !slices.Equal(hosts.list, []string{"mx1.y.test"}) {
		t.Errorf("got %v, %v", hosts.list, err)
	}
}

func TestEqualPreferencesHaveNoOrder(t *testing.T) {
	t.Parallel()
	c := &Client{Hostname: "gw.example.com"}
	first := map[string]bool{}
	for range 200 {
		list, err := c.order("y.test", []dns.MX{{Host: "a.test", Preference: 5}, {Host: "b.test", Preference: 5}, {Host: "z.test", Preference: 1}})
		if err != nil || len(list) != 3 || list[0] != "z.test" {
			t.Fatalf("got %v, %v", list, err)
		}
		first[list[1]] = true
	}
	if len(first) != 2 {
		t.Errorf("always in the order %v", first)
	}
}

// A domain of a thousand hosts with a thousand addresses each costs no more than
// one of ten.
func TestHostsAreBounded(t *testing.T) {
	t.Parallel()
	c := &Client{Hostname: "gw.example.com"}
	var records []dns.MX
	var addresses []netip.Addr
	for i := range 1000 {
		records = append(records, dns.MX{Host: fmt.Sprintf("mx%d.y.test", i)})
		addresses = append(addresses, netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}))
	}
	if list, err := c.order("y.test", records); err != nil || len(list) != maxHosts {
		t.Errorf("got %d hosts, %v", len(list), err)
	}
	if list := c.reachable(addresses); len(list) != maxAddresses {
		t.Errorf("got %d addresses", len(list))
	}
	six := netip.MustParseAddr("2001:db8::1")
	if list := c.reachable(append(addresses[:2:2], six)); len(list) != 3 || list[0].Addr() != six || !list[1].Addr().Is4() {
		t.Errorf("got %v: want both families in turn", list)
	}
}

func TestImplicitMXLiteralAndIDN(t *testing.T) {
	t.Parallel()
	for _, domain := range []string{"y.test", "[127.0.0.1]", "bücher.test", "xn--bcher-kva.test"} {
		t.Run(domain, func(t *testing.T) {
			t.Parallel()
			s := &sink{extensions: []string{"SMTPUTF8"}}
			a := s.start(t, "127.0.0.1:0")
			z := zone{addresses: map[string][]netip.Addr{"y.test": addr("127.0.0.1"), "xn--bcher-kva.test": addr("127.0.0.1")}}
			c := &Client{Hostname: "gw.example.com", Resolver: z, MXPort: a.Port(), SpecialNetworks: loopback}
			r := c.Deliver(t.Context(), Target{Domain: domain}, letter("b@y.test"))
			wantStatus(t, r.Statuses[0], Delivered, "2.0.0", "taken")
			_ = c.Close()
		})
	}
}
