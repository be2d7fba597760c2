package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// server answers with the lines of a zone file for each question, "NAME TYPE".
// A line may be "NXDOMAIN" or "SERVFAIL"; "AD" vouches for the answer, "SILENT"
// gives none, "TC" one that is cut off by UDP, "OTHER" one to another question.
type server struct {
	answers map[string][]string
	asked   atomic.Int32
}

func (s *server) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	s.asked.Add(1)
	m := new(dns.Msg).SetReply(q)
	_, udp := w.RemoteAddr().(*net.UDPAddr)
	for _, line := range s.answers[q.Question[0].Name+" "+dns.TypeToString[q.Question[0].Qtype]] {
		switch line {
		case "NXDOMAIN":
			m.Rcode = dns.RcodeNameError
		case "SERVFAIL":
			m.Rcode = dns.RcodeServerFailure
		case "AD":
			m.AuthenticatedData = q.AuthenticatedData
		case "SILENT":
			return
		case "TC":
			if udp {
				m.Truncated = true
				_ = w.WriteMsg(m)
				return
			}
		case "OTHER":
			m.Question[0].Name = "other.test."
		default:
			rr, err := dns.NewRR(line)
			if err != nil {
				panic(err)
			}
			if rr.Header().Rrtype == dns.TypeSOA {
				m.Ns = append(m.Ns, rr)
			} else {
				m.Answer = append(m.Answer, rr)
			}
		}
	}
	_ = w.WriteMsg(m)
}

func (s *server) start(t *testing.T) netip.AddrPort {
	t.Helper()
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stream, err := net.Listen("tcp", packets.LocalAddr().String())
	if err != nil {
		t.Skipf("the TCP port of the same number is taken: %v", err)
	}
	var serving sync.WaitGroup
	t.Cleanup(serving.Wait) // after the shutdowns: the last cleanup comes first
	for _, d := range []*dns.Server{{PacketConn: packets, Handler: s}, {Listener: stream, Handler: s}} {
		ready := make(chan struct{})
		d.NotifyStartedFunc = func() { close(ready) }
		serving.Go(func() { _ = d.ActivateAndServe() })
		<-ready
		t.Cleanup(func() { _ = d.Shutdown() })
	}
	return netip.MustParseAddrPort(packets.LocalAddr().String())
}

func resolver(t *testing.T, answers map[string][]string) (*Resolver, *server) {
	t.Helper()
	s := &server{answers: answers}
	r, err := New(Config{Servers: []netip.AddrPort{s.start(t)}, Timeout: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return r, s
}

// Each case is one MX lookup of y.test.
func TestMX(t *testing.T) {
	t.Parallel()
	var loop []string
	for i := range 20 {
		loop = append(loop, fmt.Sprintf("a%d.test. 60 IN CNAME a%d.test.", i, i+1))
	}
	for name, c := range map[string]struct {
		answers map[string][]string
		want    string
		absent  bool
		err     string
	}{
		"two":               {answers: map[string][]string{"y.test. MX": {"y.test. 60 IN MX 10 MX1.y.test.", "y.test. 60 IN MX 20 mx2.y.test."}}, want: "y.test false [{mx1.y.test 10} {mx2.y.test 20}]"},
		"vouched for":       {answers: map[string][]string{"y.test. MX": {"AD", "y.test. 60 IN MX 10 mx1.y.test."}}, want: "y.test true [{mx1.y.test 10}]"},
		"none":              {answers: map[string][]string{"y.test. MX": {}}, want: "y.test false []"},
		"none, vouched":     {answers: map[string][]string{"y.test. MX": {"AD"}}, want: "y.test true []"},
		"null":              {answers: map[string][]string{"y.test. MX": {"y.test. 60 IN MX 0 ."}}, want: "y.test false [{ 0}]"},
		"no domain":         {answers: map[string][]string{"y.test. MX": {"NXDOMAIN"}}, absent: true},
		"alias":             {answers: map[string][]string{"y.test. MX": {"y.test. 60 IN CNAME z.test.", "z.test. 60 IN MX 1 m.test."}}, want: "z.test false [{m.test 1}]"},
		"alias to follow":   {answers: map[string][]string{"y.test. MX": {"AD", "y.test. 60 IN CNAME z.test."}, "z.test. MX": {"z.test. 60 IN MX 1 m.test."}}, want: "z.test false [{m.test 1}]"},
		"alias to nothing":  {answers: map[string][]string{"y.test. MX": {"y.test. 60 IN CNAME z.test.", "NXDOMAIN"}}, absent: true},
		"alias to itself":   {answers: map[string][]string{"y.test. MX": {"y.test. 60 IN CNAME y.test."}}, err: "aliases"},
		"alias in a ring":   {answers: map[string][]string{"y.test. MX": {"y.test. 60 IN CNAME z.test.", "z.test. 60 IN CNAME y.test."}}, err: "aliases"},
		"alias without end": {answers: map[string][]string{"y.test. MX": append([]string{"y.test. 60 IN CNAME a0.test."}, loop...)}, err: "aliases"},
		"somebody else's":   {answers: map[string][]string{"y.test. MX": {"evil.test. 60 IN MX 1 m.evil.test.", "y.test. 60 CH MX 1 m.evil.test."}}, want: "y.test false []"},
		"another question":  {answers: map[string][]string{"y.test. MX": {"OTHER", "y.test. 60 IN MX 1 m.test."}}, err: "another question"},
		"broken server":     {answers: map[string][]string{"y.test. MX": {"SERVFAIL"}}, err: "SERVFAIL"},
		"silent server":     {answers: map[string][]string{"y.test. MX": {"SILENT"}}, err: "timeout"},
		"by TCP":            {answers: map[string][]string{"y.test. MX": {"TC", "y.test. 60 IN MX 10 mx1.y.test."}}, want: "y.test false [{mx1.y.test 10}]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, _ := resolver(t, c.answers)
			a, err := r.MX(t.Context(), "Y.test")
			switch {
			case c.absent:
				if !errors.Is(err, ErrNotExist) {
					t.Errorf("got %v, %v; want %v", a, err, ErrNotExist)
				}
			case c.err != "":
				if err == nil || errors.Is(err, ErrNotExist) || !strings.Contains(err.Error(), c.err) {
					t.Errorf("got %v, %v; want %s", a, err, c.err)
				}
			case err != nil || fmt.Sprintf("%s %t %v", a.Name, a.Secure, a.Records) != c.want:
				t.Errorf("got %v, %v; want %s", a, err, c.want)
			}
		})
	}
}

func TestAddressesTXTAndTLSA(t *testing.T) {
	t.Parallel()
	r, _ := resolver(t, map[string][]string{
		"both.test. A":          {"AD", "both.test. 60 IN A 192.0.2.1"},
		"both.test. AAAA":       {"AD", "both.test. 60 IN AAAA 2001:db8::1"},
		"half.test. A":          {"AD", "half.test. 60 IN A 192.0.2.1"},
		"half.test. AAAA":       {"SERVFAIL"},
		"none.test. A":          {},
		"none.test. AAAA":       {"SERVFAIL"},
		"txt.test. TXT":         {`txt.test. 60 IN TXT "v=STSv1; " "id=1;"`},
		"_25._tcp.d.test. TLSA": {"AD", "_25._tcp.d.test. 60 IN TLSA 3 1 1 00FF"},
	})
	a, err := r.Addresses(t.Context(), "both.test")
	if err != nil || !a.Secure || fmt.Sprint(a.Records) != "[2001:db8::1 192.0.2.1]" || a.Name != "both.test" {
		t.Errorf("both: got %v, %v", a, err)
	}
	if a, err = r.Addresses(t.Context(), "half.test"); err != nil || fmt.Sprint(a.Records) != "[192.0.2.1]" {
		t.Errorf("half: got %v, %v", a, err)
	}
	if a, err = r.Addresses(t.Context(), "none.test"); err == nil {
		t.Errorf("none: got %v; a question without an answer is not an empty answer", a)
	}
	texts, err := r.TXT(t.Context(), "txt.test")
	if err != nil || !slices.Equal(texts.Records, []string{"v=STSv1; id=1;"}) {
		t.Errorf("TXT: got %v, %v", texts, err)
	}
	tlsa, err := r.TLSA(t.Context(), "_25._tcp.d.test")
	if err != nil || !tlsa.Secure || len(tlsa.Records) != 1 || string(tlsa.Records[0].Data) != "\x00\xff" {
		t.Errorf("TLSA: got %v, %v", tlsa, err)
	}
}

// AD is a bit that anybody on the way can set.
func TestADIsTrustedOfLoopbackOnly(t *testing.T) {
	t.Parallel()
	r, _ := resolver(t, nil)
	far := netip.MustParseAddrPort("192.0.2.53:53")
	for _, c := range []struct {
		server netip.AddrPort
		trust  bool
		want   bool
	}{{r.servers[0], false, true}, {far, false, false}, {far, true, true}} {
		r := &Resolver{servers: []netip.AddrPort{c.server}, trustAD: c.trust}
		if got := r.trusts(c.server); got != c.want {
			t.Errorf("%+v: got %t", c, got)
		}
	}
}

// The next server is asked when one does not answer.
func TestNextServer(t *testing.T) {
	t.Parallel()
	bad := &server{answers: map[string][]string{"y.test. MX": {"SERVFAIL"}}}
	good := &server{answers: map[string][]string{"y.test. MX": {"y.test. 60 IN MX 1 m.test."}}}
	r, err := New(Config{Servers: []netip.AddrPort{bad.start(t), good.start(t)}})
	if err != nil {
		t.Fatal(err)
	}
	if a, err := r.MX(t.Context(), "y.test"); err != nil || len(a.Records) != 1 {
		t.Errorf("got %v, %v", a, err)
	}
}

// Answers are remembered for their time, absent ones too, and failures are not.
func TestCache(t *testing.T) {
	t.Parallel()
	const soa = "test. 3600 IN SOA ns.test. root.test. 1 1 1 1 60"
	r, s := resolver(t, map[string][]string{
		"y.test. MX":    {"y.test. 60 IN MX 1 m.test."},
		"zero.test. MX": {"zero.test. 0 IN MX 1 m.test."},
		"gone.test. MX": {"NXDOMAIN", soa},
		"none.test. MX": {soa},
		"bad.test. MX":  {"SERVFAIL"},
	})
	for name, want := range map[string]int32{"y.test": 1, "zero.test": 3, "gone.test": 1, "none.test": 1, "bad.test": 3 * rounds} {
		before := s.asked.Load()
		for range 3 {
			_, _ = r.MX(t.Context(), name)
		}
		if got := s.asked.Load() - before; got != want {
			t.Errorf("%s: asked %d times, want %d", name, got, want)
		}
	}
	now := time.Now()
	q := question{"y.test.", dns.TypeMX}
	if _, known := r.cache.get(q, now.Add(time.Minute)); known {
		t.Error("remembered for longer than its time")
	}
	for i := range 2 * maxEntries {
		r.cache.put(question{fmt.Sprint(i), dns.TypeMX}, result{ttl: time.Hour}, now)
	}
	if len(r.cache.entries) > maxEntries {
		t.Errorf("%d entries", len(r.cache.entries))
	}
}

func TestContextEnds(t *testing.T) {
	t.Parallel()
	r, _ := resolver(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.MX(ctx, "y.test"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestServersOfTheSystem(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(name, []byte("nameserver 127.0.0.53\nnameserver ::1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	list, err := systemServers(name)
	if err != nil || fmt.Sprint(list) != "[127.0.0.53:53 [::1]:53]" {
		t.Errorf("got %v, %v", list, err)
	}
	for _, bad := range []Config{{Servers: make([]netip.AddrPort, 1)}, {Servers: make([]netip.AddrPort, maxServers+1)}} {
		if _, err := New(bad); err == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
}

// Whatever a server sends, following its aliases ends, at records of the name.
func FuzzChase(f *testing.F) {
	m := new(dns.Msg)
	m.SetQuestion("y.test.", dns.TypeMX)
	for _, line := range []string{"y.test. 60 IN CNAME z.test.", "z.test. 60 IN MX 1 m.test."} {
		rr, err := dns.NewRR(line)
		if err != nil {
			f.Fatal(err)
		}
		m.Answer = append(m.Answer, rr)
	}
	packed, err := m.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packed)
	f.Fuzz(func(t *testing.T, packet []byte) {
		m := new(dns.Msg)
		if m.Unpack(packet) != nil {
			return
		}
		records, last, err := chase(m.Answer, "y.test.", dns.TypeMX)
		for _, rr := range records {
			if err != nil || dns.CanonicalName(rr.Header().Name) != last || rr.Header().Rrtype != dns.TypeMX {
				t.Fatalf("got %v for %s, %v", rr, last, err)
			}
		}
		_ = messageTTL(m)
	})
}
