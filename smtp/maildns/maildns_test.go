package maildns

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"gateway/smtp/dkim"
)

// zone is a Resolver over what stands in it.
type zone struct {
	txt  map[string][]string
	mx   map[string][]*net.MX
	ip   map[string][]string
	down bool
}

func (z zone) gone(name string) error {
	if z.down {
		return &net.DNSError{Err: "server misbehaving", Name: name, IsTemporary: true}
	}
	return &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

func (z zone) LookupTXT(_ context.Context, name string) ([]string, error) {
	if texts, found := z.txt[name]; found && !z.down {
		return texts, nil
	}
	return nil, z.gone(name)
}

func (z zone) LookupMX(_ context.Context, name string) ([]*net.MX, error) {
	if list, found := z.mx[name]; found && !z.down {
		return list, nil
	}
	return nil, z.gone(name)
}

func (z zone) LookupIPAddr(_ context.Context, name string) (list []net.IPAddr, err error) {
	for _, ip := range z.ip[name] {
		list = append(list, net.IPAddr{IP: net.ParseIP(ip)})
	}
	if list == nil || z.down {
		return nil, z.gone(name)
	}
	return list, nil
}

func (z zone) LookupAddr(_ context.Context, addr string) ([]string, error) { return nil, z.gone(addr) }

func testKey(selector string, state dkim.State) dkim.Key {
	return dkim.Key{
		Domain: "example.com", Selector: selector, Algorithm: dkim.Ed25519, State: state,
		Made: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), Since: time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC),
		Name: selector + "._domainkey.example.com", Record: "v=DKIM1; k=ed25519; p=" + selector,
	}
}

func domain() Domain {
	return Domain{Name: "example.com", Hostname: "mx.example.com", Keys: []dkim.Key{testKey("a", dkim.Active)}, MX: []string{"mx.example.com"}}
}

// good is a zone in which everything is as it should be.
func good() zone {
	z := zone{txt: map[string][]string{}, ip: map[string][]string{"mx.example.com.": {"192.0.2.25", "2001:db8::25"}}}
	for _, r := range domain().Records() {
		z.txt[r.Name+"."] = []string{r.Value}
	}
	return z
}

// What is printed is what check wants.
func TestRecordsPassTheirOwnCheck(t *testing.T) {
	t.Parallel()
	findings := Check(t.Context(), good(), domain())
	var kinds []Kind
	for _, f := range findings {
		kinds = append(kinds, f.Kind)
		if f.Status != OK || f.Wrong() {
			t.Errorf("%s: got %s (%s), want ok for %v", f.Kind, f.Status, f.Advice, f.Found)
		}
	}
	if want := []Kind{DKIM, SPF, DMARC, MTASTS, TLSRPT}; !slices.Equal(kinds, want) {
		t.Errorf("got %v, want %v", kinds, want)
	}
	for _, k := range domain().Keys {
		if err := Published(t.Context(), good(), k); err != nil {
			t.Error(err)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	const name = "a._domainkey.example.com."
	for what, c := range map[string]struct {
		name   string   // whose texts are replaced
		texts  []string // nil: there are none
		domain func(*Domain)
		kind   Kind
		want   Status
		advice string
	}{
		"no key":                 {name: name, kind: DKIM, want: Missing, advice: "publish it"},
		"another key":            {name: name, texts: []string{"v=DKIM1; k=ed25519; p=zz"}, kind: DKIM, want: Differs, advice: "another key"},
		"key of another kind":    {name: name, texts: []string{"v=DKIM1; p=a"}, kind: DKIM, want: Differs, advice: "another key"},
		"withdrawn key":          {name: name, texts: []string{"v=DKIM1; k=ed25519; p="}, kind: DKIM, want: Differs, advice: "withdrawn"},
		"two keys":               {name: name, texts: []string{"p=a", "p=b"}, kind: DKIM, want: Differs, advice: "2 records"},
		"key in other words":     {name: name, texts: []string{" k = ed25519;p=a ; s=email:* ;h=sha1:sha256;n=hello"}, kind: DKIM, want: OK},
		"blanks in the key":      {name: name, texts: []string{"k=ed25519; p= a "}, kind: DKIM, want: OK},
		"testing":                {name: name, texts: []string{"k=ed25519; p=a; t=y:s"}, kind: DKIM, want: OK, advice: "t=y"},
		"key not for mail":       {name: name, texts: []string{"k=ed25519; p=a; s=tlsrpt"}, kind: DKIM, want: Differs, advice: "not for mail"},
		"key for SHA-1":          {name: name, texts: []string{"k=ed25519; p=a; h=sha1"}, kind: DKIM, want: Differs, advice: "SHA-256"},
		"another version":        {name: name, texts: []string{"v=DKIM2; k=ed25519; p=a"}, kind: DKIM, want: Differs, advice: "version"},
		"no tags":                {name: name, texts: []string{"hello"}, kind: DKIM, want: Differs, advice: "cannot be read"},
		"tag twice":              {name: name, texts: []string{"p=a; p=b"}, kind: DKIM, want: Differs, advice: "twice"},
		"no SPF":                 {name: "example.com.", texts: []string{"google-site-verification=x"}, kind: SPF, want: Missing, advice: "publish it"},
		"two SPF":                {name: "example.com.", texts: []string{"v=spf1 -all", "V=SPF1 a -all", "x"}, kind: SPF, want: Differs, advice: "2 records"},
		"SPF of others":          {name: "example.com.", texts: []string{"v=spf1 ip4:192.0.2.1 -all"}, kind: SPF, want: Differs, advice: "192.0.2.25 (fail)"},
		"SPF of half of us":      {name: "example.com.", texts: []string{"v=spf1 ip4:192.0.2.0/24 ~all"}, kind: SPF, want: Differs, advice: "2001:db8::25 (softfail)"},
		"SPF by address":         {name: "example.com.", texts: []string{"v=spf1 ip4:192.0.2.25 ip6:2001:db8::25 -all"}, kind: SPF, want: OK},
		"broken SPF":             {name: "example.com.", texts: []string{"v=spf1 ip4:nonsense -all"}, kind: SPF, want: Differs, advice: "cannot evaluate"},
		"SPF that loops":         {name: "example.com.", texts: []string{"v=spf1 include:example.com -all"}, kind: SPF, want: Differs, advice: "cannot evaluate"},
		"SPF for a named place":  {name: "example.com.", texts: []string{"v=spf1 ip4:198.51.100.7 -all"}, domain: func(d *Domain) { d.Addresses = []netip.Addr{netip.MustParseAddr("198.51.100.7")} }, kind: SPF, want: OK},
		"SPF of a smart host":    {name: "example.com.", texts: []string{"v=spf1 include:_spf.isp.test -all"}, domain: func(d *Domain) { d.SmartHost = "smtp.isp.test" }, kind: SPF, want: OK, advice: "--address"},
		"host without addresses": {name: "x.", domain: func(d *Domain) { d.Hostname = "nowhere.example.com" }, kind: SPF, want: Unknown, advice: "--address"},
		"no DMARC":               {name: "_dmarc.example.com.", kind: DMARC, want: Missing, advice: "publish it"},
		"DMARC without policy":   {name: "_dmarc.example.com.", texts: []string{"v=DMARC1; rua=mailto:a@b.c"}, kind: DMARC, want: Differs, advice: "p="},
		"strict DMARC":           {name: "_dmarc.example.com.", texts: []string{"v=DMARC1;p=reject;rua=mailto:a@b.c"}, kind: DMARC, want: OK},
		"DMARC of nobody":        {name: "_dmarc.example.com.", texts: []string{"v=DMARC1; p=reject"}, kind: DMARC, want: OK, advice: "nobody gets reports"},
		"broken MTA-STS":         {name: "_mta-sts.example.com.", texts: []string{"v=STSv1;"}, kind: MTASTS, want: Differs, advice: "id="},
		"another MTA-STS id":     {name: "_mta-sts.example.com.", texts: []string{"v=STSv1; id=1;"}, kind: MTASTS, want: OK},
		"no MTA-STS":             {name: "_mta-sts.example.com.", kind: MTASTS, want: Missing, advice: "publish it"},
		"nothing about MTA-STS":  {name: "_mta-sts.example.com.", domain: func(d *Domain) { d.MX = nil }, kind: MTASTS, want: Missing, advice: "--mx"},
		"broken TLSRPT":          {name: "_smtp._tls.example.com.", texts: []string{"v=TLSRPTv1; rua=nobody"}, kind: TLSRPT, want: Differs, advice: "rua="},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			z, d := good(), domain()
			if delete(z.txt, c.name); c.texts != nil {
				z.txt[c.name] = c.texts
			}
			if c.domain != nil {
				c.domain(&d)
			}
			for _, f := range Check(t.Context(), z, d) {
				if f.Kind != c.kind {
					continue
				}
				if f.Status != c.want || c.advice == "" && f.Advice != "" || !strings.Contains(f.Advice, c.advice) {
					t.Errorf("got %s %q, want %s %q", f.Status, f.Advice, c.want, c.advice)
				}
				if wrong := f.Status != OK && !(f.Status == Missing && f.Optional); f.Wrong() != wrong {
					t.Errorf("wrong: got %v, want %v", f.Wrong(), wrong)
				}
			}
		})
	}
}

// A DNS that does not answer is no missing record.
func TestDNSIsDown(t *testing.T) {
	t.Parallel()
	z := good()
	z.down = true
	for _, f := range Check(t.Context(), z, domain()) {
		if f.Status != Unknown || !f.Wrong() {
			t.Errorf("%s: got %s, want unknown", f.Kind, f.Status)
		}
	}
	if err := Published(t.Context(), z, domain().Keys[0]); err == nil {
		t.Error("published: got nil")
	}
	if _, err := MX(t.Context(), z, "example.com"); err == nil {
		t.Error("MX: got nil")
	}
}

func TestNoKeys(t *testing.T) {
	t.Parallel()
	d := domain()
	d.Keys = nil
	if f := Check(t.Context(), good(), d)[0]; f.Status != Missing || !f.Wrong() || !strings.Contains(f.Advice, "gateway mail key add example.com") {
		t.Errorf("got %+v, want advice", f)
	}
}

func TestMX(t *testing.T) {
	t.Parallel()
	z := good()
	z.mx = map[string][]*net.MX{"example.com.": {{Host: "MX1.example.com."}, {Host: "mx2.example.com."}}, "null.test.": {{Host: "."}}}
	for domain, want := range map[string][]string{"example.com": {"mx1.example.com", "mx2.example.com"}, "null.test": nil, "none.test": nil} {
		if got, err := MX(t.Context(), z, domain); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %v %v, want %v", domain, got, err, want)
		}
	}
}

func TestZone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		value, want string
	}{
		{"v=spf1 -all", `x.test. IN TXT "v=spf1 -all"`},
		{`a "b" \`, `x.test. IN TXT "a \"b\" \\"`},
		{strings.Repeat("a", 300), `x.test. IN TXT ( "` + strings.Repeat("a", 255) + "\"\n    \"" + strings.Repeat("a", 45) + `" )`},
	} {
		if got := (Record{Name: "x.test", Value: c.value}).Zone(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

// The id of an MTA-STS record follows its policy.
func TestPolicyID(t *testing.T) {
	t.Parallel()
	one, other := domain(), domain()
	other.MX = []string{"mx2.example.com"}
	if one.policyID() == other.policyID() || one.policyID() != domain().policyID() || len(one.policyID()) > 32 {
		t.Errorf("got %q and %q", one.policyID(), other.policyID())
	}
	if want := "version: STSv1\r\nmode: testing\r\nmx: mx.example.com\r\nmax_age: 604800\r\n"; one.Policy() != want {
		t.Errorf("got %q, want %q", one.Policy(), want)
	}
}

func TestSPFRecord(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*Domain){
		"v=spf1 a:mx.example.com ~all": func(*Domain) {},
		"v=spf1 ip4:192.0.2.7 ~all":    func(d *Domain) { d.Hostname = "192.0.2.7" },
		"v=spf1 ip4:192.0.2.8 ip6:2001:db8::8 ~all": func(d *Domain) {
			d.Addresses = []netip.Addr{netip.MustParseAddr("::ffff:192.0.2.8"), netip.MustParseAddr("2001:db8::8")}
		},
		"v=spf1 a:smtp.isp.test ~all": func(d *Domain) { d.SmartHost = "smtp.isp.test" },
	} {
		d := domain()
		change(&d)
		if got := d.spf().Value; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func FuzzParseTags(f *testing.F) {
	for _, seed := range []string{"v=DKIM1; k=rsa; p=abc", "v=spf1 a -all", ";;;", "a=;a=", "=", "a==b;b = c "} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tags, err := parseTags(text)
		if err == nil && len(tags) > maxTags {
			t.Errorf("%d tags", len(tags))
		}
		finding := Finding{Record: Record{Kind: DKIM, Value: "v=DKIM1; k=rsa; p=QUJD"}, Found: []string{text}}
		judgeKey(&finding)
		if finding.Status == OK && !strings.Contains(strings.Join(strings.Fields(text), ""), "QUJD") {
			t.Errorf("%q is taken for the key", text)
		}
	})
}
