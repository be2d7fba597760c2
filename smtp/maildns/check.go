package maildns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"blitiri.com.ar/go/spf"

	"gateway/smtp/dkim"
)

// Resolver asks the DNS. *net.Resolver is one.
type Resolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
	LookupMX(ctx context.Context, name string) ([]*net.MX, error)
	LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error)
	LookupAddr(ctx context.Context, addr string) (names []string, err error)
}

// Status is how a record stands in the DNS.
type Status string

// The statuses.
const (
	OK      Status = "ok"
	Missing Status = "missing"
	Differs Status = "differs"
	// Unknown: the DNS did not answer, or what must be known for a verdict is not.
	Unknown Status = "unknown"
)

// Finding is what was found of one record.
type Finding struct {
	Record
	Status Status `json:"status"`
	// Found are the texts in the DNS, as far as they are of this kind.
	Found []string `json:"found,omitempty"`
	// Advice says what to do, where something is to be done, or what else was seen.
	Advice string `json:"advice,omitempty"`
	// Optional is a record without which mail is delivered as well.
	Optional bool `json:"optional,omitempty"`
}

// Wrong reports whether somebody has to do something.
func (f Finding) Wrong() bool {
	return f.Status == Differs || f.Status == Unknown || f.Status == Missing && !f.Optional
}

// Check compares what should be published for d with what is.
func Check(ctx context.Context, r Resolver, d Domain) []Finding {
	var list []Finding
	if len(d.Keys) == 0 {
		list = append(list, Finding{
			Record: Record{Kind: DKIM, Name: "_domainkey." + d.Name}, Status: Missing,
			Advice: "mail of the domain is not signed: 'gateway mail key add " + d.Name + "'",
		})
	}
	records := d.Records()
	if len(d.MX) == 0 {
		records = append(records, Record{Kind: MTASTS, Name: "_mta-sts." + d.Name})
	}
	slices.SortStableFunc(records, func(a, b Record) int { return order(a.Kind) - order(b.Kind) })
	for _, record := range records {
		f := Finding{Record: record, Optional: record.Kind == MTASTS || record.Kind == TLSRPT}
		texts, err := lookup(ctx, r, record.Name)
		if err != nil {
			f.Status, f.Advice = Unknown, "the DNS does not answer: "+err.Error()
			list = append(list, f)
			continue
		}
		f.Found = slices.DeleteFunc(texts, func(text string) bool { return !ofKind(record.Kind, text) })
		judge(ctx, r, d, &f)
		list = append(list, f)
	}
	return list
}

func order(k Kind) int { return slices.Index([]Kind{DKIM, SPF, DMARC, MTASTS, TLSRPT}, k) }

// Published reports whether the DNS has the record of a key. The error says what is
// wrong with it.
func Published(ctx context.Context, r Resolver, k dkim.Key) error {
	f := Finding{Record: Record{Kind: DKIM, Name: k.Name, Value: k.Record}}
	texts, err := lookup(ctx, r, k.Name)
	if err != nil {
		return fmt.Errorf("look up %s: %w", k.Name, err)
	}
	f.Found = texts
	judgeKey(&f)
	if f.Status != OK {
		return fmt.Errorf("the TXT record of %s is not right: %s", k.Name, f.Advice)
	}
	return nil
}

// lookup returns the texts of a name, none if it has none.
func lookup(ctx context.Context, r Resolver, name string) ([]string, error) {
	texts, err := r.LookupTXT(ctx, name+".")
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return nil, nil
	}
	return slices.Clone(texts), err
}

// ofKind reports whether a text is a record of the kind. At the name of a key
// nothing else may be.
func ofKind(k Kind, text string) bool {
	first, _, _ := strings.Cut(text, ";")
	first = strings.ReplaceAll(first, " ", "")
	switch k {
	case DKIM:
		return true
	case SPF:
		// RFC 7208, section 4.5: the version is followed by a blank or nothing.
		version, _, _ := strings.Cut(text, " ")
		return strings.EqualFold(version, "v=spf1")
	case DMARC:
		return first == "v=DMARC1"
	case MTASTS:
		return first == "v=STSv1"
	default:
		return first == "v=TLSRPTv1"
	}
}

// judge compares a record with what was found.
func judge(ctx context.Context, r Resolver, d Domain, f *Finding) {
	switch {
	case len(f.Found) == 0:
		f.Status, f.Advice = Missing, "publish it"
		if f.Kind == MTASTS && f.Value == "" {
			f.Advice = "the MX of the domain is not known: 'gateway mail dns " + d.Name + " --mx HOST' writes it"
		}
	case f.Kind == DKIM:
		judgeKey(f)
	case len(f.Found) > 1:
		f.Status, f.Advice = Differs, fmt.Sprintf("there are %d records, of which receivers take none: leave one", len(f.Found))
	case f.Kind == SPF:
		judgeSPF(ctx, r, d, f)
	case f.Kind == DMARC:
		judgeDMARC(d, f)
	case f.Kind == MTASTS:
		judgeTags(f, "id", func(string) bool { return true })
	default:
		judgeTags(f, "rua", func(v string) bool { return strings.HasPrefix(v, "mailto:") || strings.HasPrefix(v, "https:") })
	}
}

// judgeKey wants the same key, of the same kind, usable for mail.
func judgeKey(f *Finding) {
	f.Status = Differs
	switch {
	case len(f.Found) == 0:
		f.Status, f.Advice = Missing, "it is missing: publish it"
		return
	case len(f.Found) > 1:
		f.Advice = fmt.Sprintf("there are %d records, and one is to be there", len(f.Found))
		return
	}
	found, err := parseTags(f.Found[0])
	if err != nil {
		f.Advice = "it cannot be read: " + err.Error()
		return
	}
	want, _ := parseTags(f.Value) // ours
	kind := found["k"]
	if kind == "" {
		kind = string(dkim.RSA) // RFC 6376, section 3.6.1
	}
	version, versioned := found["v"]
	services := strings.Split(strings.ReplaceAll(found["s"], " ", ""), ":")
	hashes := strings.Split(strings.ReplaceAll(found["h"], " ", ""), ":")
	switch {
	case versioned && version != "DKIM1":
		f.Advice = "it is of another version"
	case strings.Join(strings.Fields(found["p"]), "") == "":
		f.Advice = "it says that the key was withdrawn (p= is empty): publish the key"
	case kind != want["k"] || strings.Join(strings.Fields(found["p"]), "") != want["p"]:
		f.Advice = "it is another key: publish this one"
	case found["s"] != "" && !slices.Contains(services, "*") && !slices.Contains(services, "email"):
		f.Advice = "the key is not for mail (s=)"
	case found["h"] != "" && !slices.Contains(hashes, "sha256"):
		f.Advice = "the key is not for SHA-256 (h=)"
	default:
		f.Status = OK
		if slices.Contains(strings.Split(strings.ReplaceAll(found["t"], " ", ""), ":"), "y") {
			f.Advice = "it says that signatures are only tested (t=y)"
		}
	}
}

func judgeDMARC(d Domain, f *Finding) {
	judgeTags(f, "p", func(v string) bool { return slices.Contains([]string{"none", "quarantine", "reject"}, v) })
	if f.Status != OK {
		return
	}
	tags, _ := parseTags(f.Found[0]) // judgeTags read them
	var notes []string
	if strings.EqualFold(tags["p"], "none") {
		notes = append(notes, "p=none only observes")
	}
	if tags["rua"] == "" {
		notes = append(notes, "nobody gets reports (rua)")
	}
	f.Advice = strings.Join(notes, "; ")
}

// judgeTags wants a record that can be read and has a tag with such a value.
func judgeTags(f *Finding, tag string, good func(string) bool) {
	tags, err := parseTags(f.Found[0])
	switch {
	case err != nil:
		f.Status, f.Advice = Differs, "it cannot be read: "+err.Error()
	case tags[tag] == "" || !good(strings.ToLower(tags[tag])):
		f.Status, f.Advice = Differs, fmt.Sprintf("its %s= is not one that receivers take", tag)
	default:
		f.Status = OK
	}
}

// judgeSPF evaluates the record for the addresses that mail leaves from.
func judgeSPF(ctx context.Context, r Resolver, d Domain, f *Finding) {
	addresses := d.Addresses
	if len(addresses) == 0 {
		if d.SmartHost != "" {
			f.Status = OK
			f.Advice = "mail leaves through " + d.SmartHost + ", whose addresses are not known: say them by --address to have the record evaluated"
			return
		}
		var err error
		if addresses, err = addressesOf(ctx, r, d.Hostname); err != nil {
			f.Status, f.Advice = Unknown, fmt.Sprintf("the addresses of %s are not known (%v): say by --address what mail leaves from", d.Hostname, err)
			return
		}
	}
	f.Status = OK
	var refused []string
	for _, a := range addresses {
		result, err := spf.CheckHostWithSender(net.IP(a.Unmap().AsSlice()), d.Hostname, "postmaster@"+d.Name, spf.WithContext(ctx), spf.WithResolver(rooted{r}))
		switch {
		case result == spf.Pass:
		case result == spf.TempError:
			f.Status, f.Advice = Unknown, fmt.Sprintf("the DNS does not answer: %v", err)
			return
		case result == spf.PermError:
			f.Status, f.Advice = Differs, fmt.Sprintf("receivers cannot evaluate it: %v", err)
			return
		default:
			refused = append(refused, fmt.Sprintf("%s (%s)", a, result))
		}
	}
	if len(refused) > 0 {
		f.Status, f.Advice = Differs, "it does not let mail leave from "+strings.Join(refused, ", ")+": add what stands above to it"
	}
}

// addressesOf are the public addresses of a host: a name, or an address itself.
func addressesOf(ctx context.Context, r Resolver, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	found, err := r.LookupIPAddr(ctx, host+".")
	if err != nil {
		return nil, err
	}
	var list []netip.Addr
	for _, ip := range found {
		if a, ok := netip.AddrFromSlice(ip.IP); ok {
			list = append(list, a.Unmap())
		}
	}
	if len(list) == 0 {
		return nil, errors.New("it has none")
	}
	return list, nil
}

// rooted asks for names as they are, whatever search list this host has.
type rooted struct{ Resolver }

func (r rooted) LookupTXT(ctx context.Context, name string) ([]string, error) {
	return r.Resolver.LookupTXT(ctx, dot(name))
}

func (r rooted) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	return r.Resolver.LookupMX(ctx, dot(name))
}

func (r rooted) LookupIPAddr(ctx context.Context, name string) ([]net.IPAddr, error) {
	return r.Resolver.LookupIPAddr(ctx, dot(name))
}

func dot(name string) string { return strings.TrimSuffix(name, ".") + "." }

// MX are the hosts that receive mail for a domain, for Domain.MX; none if it has no
// MX record, or one that says that it gets no mail (RFC 7505).
func MX(ctx context.Context, r Resolver, domain string) ([]string, error) {
	found, err := r.LookupMX(ctx, dot(domain))
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var hosts []string
	for _, mx := range found {
		if host := strings.ToLower(strings.TrimSuffix(mx.Host, ".")); host != "" {
			hosts = append(hosts, host)
		}
	}
	return hosts, nil
}

const (
	// maxRecord is the longest record that is read, in bytes.
	maxRecord = 16 << 10
	// maxTags bounds the tags of a record.
	maxTags = 64
)

// parseTags reads a list of tags (RFC 6376, section 3.2). A tag that is there twice
// makes the list unreadable.
func parseTags(text string) (map[string]string, error) {
	if len(text) > maxRecord {
		return nil, fmt.Errorf("it has %d bytes", len(text))
	}
	tags := make(map[string]string)
	for part := range strings.SplitSeq(text, ";") {
		if strings.TrimSpace(part) == "" {
			continue
		}
		name, value, found := strings.Cut(part, "=")
		name = strings.TrimSpace(name)
		_, twice := tags[name]
		switch {
		case !found || name == "":
			return nil, fmt.Errorf("%q is not of the form name=value", clip(strings.TrimSpace(part)))
		case twice:
			return nil, fmt.Errorf("%q is there twice", clip(name))
		case len(tags) == maxTags:
			return nil, fmt.Errorf("it has more than %d parts", maxTags)
		}
		tags[name] = strings.TrimSpace(value)
	}
	return tags, nil
}

// maxClip bounds what is quoted of a record.
const maxClip = 80

func clip(s string) string { return s[:min(len(s), maxClip)] }
