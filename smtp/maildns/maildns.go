// Package maildns says what the DNS should hold for a domain whose mail leaves
// through the gateway, and compares that with what it holds.
//
// It follows RFC 6376, section 3.6.1 and RFC 8463 (DKIM keys), RFC 7208 (SPF), RFC
// 7489 (DMARC), RFC 8461 (MTA-STS) and RFC 8460 (TLS reports). SPF is evaluated by
// blitiri.com.ar/go/spf. The last two are about mail that the domain receives, which
// is not the gateway's business; they are printed since they belong together.
package maildns

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"gateway/smtp/dkim"
)

// Domain is what is known of a domain.
type Domain struct {
	// Name in its canonical form (dkim.Canonical).
	Name string
	// Keys are its DKIM keys.
	Keys []dkim.Key
	// Hostname is the gateway's own name, Addresses those from which its mail leaves,
	// where they are not those of the name.
	Hostname  string
	Addresses []netip.Addr
	// SmartHost is the host by which mail leaves, if it does not leave from here.
	SmartHost string
	// MX are the hosts that receive the domain's mail, for MTA-STS. None leaves that
	// out.
	MX []string
	// Reports is the mail address that reports shall go to. Empty means postmaster
	// of the domain.
	Reports string
}

// Kind is what a record is for.
type Kind string

// The kinds, in the order in which they are shown.
const (
	DKIM   Kind = "DKIM"
	SPF    Kind = "SPF"
	DMARC  Kind = "DMARC"
	MTASTS Kind = "MTA-STS"
	TLSRPT Kind = "TLSRPT"
)

// Record is a TXT record as it should be.
type Record struct {
	Kind  Kind   `json:"kind"`
	Name  string `json:"name"` // without the dot at its end
	Value string `json:"value"`
	// Note says to people what there is to know.
	Note string `json:"note,omitempty"`
}

// Records are what should be published for d.
func (d Domain) Records() []Record {
	var list []Record
	for _, k := range d.Keys {
		list = append(list, Record{Kind: DKIM, Name: k.Name, Value: k.Record, Note: keyNote(k)})
	}
	list = append(list, d.spf(), d.dmarc())
	if len(d.MX) > 0 {
		list = append(list, Record{
			Kind: MTASTS, Name: "_mta-sts." + d.Name, Value: "v=STSv1; id=" + d.policyID() + ";",
			Note: "for mail that the domain receives; publish the policy at " + d.PolicyURL() + " first",
		})
	}
	return append(list, Record{
		Kind: TLSRPT, Name: "_smtp._tls." + d.Name, Value: "v=TLSRPTv1; rua=mailto:" + d.reports(),
		Note: "for mail that the domain receives",
	})
}

func keyNote(k dkim.Key) string {
	switch k.State {
	case dkim.Next:
		return "next key, made on " + k.Made.Format(time.DateOnly) + ": publish it, then 'gateway mail key rotate " + k.Domain + "'"
	case dkim.Retired:
		return "retired: keep it until " + k.Since.Add(dkim.Lifetime).Format(time.DateOnly) + ", then 'gateway mail key remove " + k.Domain + " " + k.Selector + "'"
	default:
		return ""
	}
}

// spf lets the gateway send, and asks receivers to be wary of others: ~all and not
// -all, since somebody who pastes the record may have forgotten a sender.
func (d Domain) spf() Record {
	r := Record{Kind: SPF, Name: d.Name, Note: "add whoever else sends for the domain; a domain has one SPF record"}
	var from []string
	switch {
	case d.SmartHost != "" && len(d.Addresses) == 0:
		// The name of a smart host says nothing of the addresses that it sends from.
		from = []string{"a:" + d.SmartHost}
		r.Note = "mail leaves through " + d.SmartHost + ": take what its operator asks for, often an include"
	case len(d.Addresses) > 0:
		for _, a := range d.Addresses {
			from = append(from, ipMechanism(a))
		}
	default:
		if a, err := netip.ParseAddr(d.Hostname); err == nil {
			from = []string{ipMechanism(a)}
		} else {
			from = []string{"a:" + d.Hostname}
		}
	}
	r.Value = "v=spf1 " + strings.Join(from, " ") + " ~all"
	return r
}

func ipMechanism(a netip.Addr) string {
	if a = a.Unmap(); a.Is4() {
		return "ip4:" + a.String()
	}
	return "ip6:" + a.String()
}

func (d Domain) dmarc() Record {
	return Record{
		Kind: DMARC, Name: "_dmarc." + d.Name, Value: "v=DMARC1; p=none; rua=mailto:" + d.reports(),
		Note: "p=none only observes: once the reports show no sender that you forgot, p=quarantine, then p=reject",
	}
}

func (d Domain) reports() string {
	if d.Reports != "" {
		return d.Reports
	}
	return "postmaster@" + d.Name
}

// maxAge is how long senders may keep an MTA-STS policy: a week, as long as it is
// tested.
const maxAge = 7 * 24 * time.Hour

// Policy is the MTA-STS policy (RFC 8461, section 3.2); empty without MX.
func (d Domain) Policy() string {
	if len(d.MX) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("version: STSv1\r\nmode: testing\r\n")
	for _, mx := range d.MX {
		fmt.Fprintf(&b, "mx: %s\r\n", mx)
	}
	fmt.Fprintf(&b, "max_age: %d\r\n", int(maxAge.Seconds()))
	return b.String()
}

// PolicyURL is where the policy has to be.
func (d Domain) PolicyURL() string { return "https://mta-sts." + d.Name + "/.well-known/mta-sts.txt" }

// policyID tells one policy from another (RFC 8461, section 3.1).
func (d Domain) policyID() string {
	sum := sha256.Sum256([]byte(d.Policy()))
	return hex.EncodeToString(sum[:8])
}

// maxString is the longest text within a TXT record (RFC 1035, section 3.3).
const maxString = 255

// Zone is the record as a zone file has it (RFC 1035, section 5.1): a text that is
// too long for one string becomes several, which readers join.
func (r Record) Zone() string {
	var parts []string
	for rest := r.Value; rest != ""; {
		n := min(len(rest), maxString)
		parts = append(parts, quote(rest[:n]))
		rest = rest[n:]
	}
	if len(parts) == 1 {
		return r.Name + ". IN TXT " + parts[0]
	}
	return r.Name + ". IN TXT ( " + strings.Join(parts, "\n    ") + " )"
}

func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
