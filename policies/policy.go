package policies

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gateway/session"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclwrite"
)

// maxSource is the size in bytes of the largest policy that is read.
const maxSource = 256 << 10

// Options are what a policy needs to know of the node that it is for.
type Options struct {
	// Hostname replaces {hostname} in replies. Empty leaves "this server".
	Hostname string
	// Listeners are the names of the node's listeners; a policy that names another
	// is refused. Nil means that names of listeners are not checked.
	Listeners []string
	// Relays are those of the Listeners that serve devices.
	Relays []string
	// Now is the time for expectations without one of their own and for warnings
	// about exemptions that end. Zero means the time of the call.
	Now time.Time
}

// A Policy is a set of rules that was checked and compiled. It never changes, and
// its methods may be called from any goroutine. The nil Policy refuses everything.
type Policy struct {
	filename string
	hostname string // Options.Hostname, or words for it
	source   []byte
	hash     string

	allows, requires, exempts []*statement // each by name; the requires about logins
	acts                      []*statement // the requires about what sessions do
	rates                     []*statement // the requires about how often one may try
	grants, demands           []*statement // the allows and requires about data connections
	sshDemands                []*statement // the requires about SSH algorithms
	factorRules               []*statement // the requires that want several proofs
	devices                   []*device    // by name
	relays                    []string     // Options.Relays, not nil if the listeners are known
	networks                  []network    // by name
	profiles                  []profile    // by name
	listeners                 []string     // that are named, or Options.Listeners
	warnings                  []Warning
	admins                    []string // the groups that must be able to come in
	defaultRule               string   // for verdicts that no statement is the cause of

	tables tables
}

var _ session.Policy = (*Policy)(nil)

// Load reads a policy from a file. What is wrong with its text is an *Error.
func Load(path string, opts Options) (*Policy, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read policy: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	src, err := io.ReadAll(io.LimitReader(f, maxSource+1))
	if err != nil {
		return nil, fmt.Errorf("read policy: %w", err)
	}
	return Parse(src, path, opts)
}

// Parse reads a policy from its text. filename is what messages call it. Every
// error is an *Error that holds all that is wrong at once.
func Parse(src []byte, filename string, opts Options) (*Policy, error) {
	if opts.Now.IsZero() {
		opts.Now = time.Now()
	}
	if opts.Hostname == "" {
		opts.Hostname = "this server"
	}
	d := &decoder{
		filename: filename, opts: opts,
		networks: make(map[string]network), profiles: make(map[string]profile), seen: make(map[string]int), zone: time.UTC,
	}
	file := d.read(src)
	if d.diags.HasErrors() {
		return nil, newError(d.diags, file, filename)
	}
	p := d.policy(src)
	d.expect(p)
	d.assert(p)
	if d.diags.HasErrors() {
		return nil, newError(d.diags, file, filename)
	}
	p.warnings = p.lint(opts.Now)
	return p, nil
}

// policy compiles what was read without a fault.
func (d *decoder) policy(src []byte) *Policy {
	base := filepath.Base(d.filename)
	p := &Policy{
		filename: base, hostname: d.opts.Hostname, source: slices.Clone(src), hash: hash(src, d.opts.Hostname),
		allows: d.allows, exempts: d.exempts,
		listeners:   d.opts.Listeners,
		admins:      d.admins,
		defaultRule: "default deny (" + base + ")",
	}
	p.requires, p.acts = divideActs(d.requires)
	for _, n := range d.networks {
		p.networks = append(p.networks, n)
	}
	slices.SortFunc(p.networks, func(a, b network) int { return strings.Compare(a.name, b.name) })
	for _, pr := range d.profiles {
		p.profiles = append(p.profiles, pr)
	}
	slices.SortFunc(p.profiles, func(a, b profile) int { return strings.Compare(a.name, b.name) })
	// By name, so that which of several statements is said to have decided does
	// not depend on their order in the file either.
	byName := func(a, b *statement) int { return strings.Compare(a.name+"\x00"+a.own, b.name+"\x00"+b.own) }
	for _, list := range [][]*statement{p.allows, p.requires, p.acts, p.exempts} {
		slices.SortFunc(list, byName)
		for _, s := range list {
			s.setTexts(base)
		}
	}
	p.devices = d.devices
	slices.SortFunc(p.devices, func(a, b *device) int { return strings.Compare(a.name, b.name) })
	for _, dev := range p.devices {
		dev.setTexts(base, d.opts.Hostname)
		for _, q := range p.requires {
			if dev.exemptedFrom(q) && !q.absolute {
				q.exempts = append(q.exempts, dev.login)
			}
		}
	}
	if d.opts.Listeners != nil {
		p.relays = append([]string{}, d.opts.Relays...)
	}
	for _, e := range p.exempts {
		for _, q := range p.everyRequire() {
			if q.name == e.name {
				q.exempts = append(q.exempts, e)
			}
		}
	}
	if p.listeners == nil {
		p.listeners = d.namedListeners()
	}
	p.grants, p.demands = sayingData(p.allows), sayingData(p.requires)
	p.sshDemands = demandingSSH(p.requires)
	p.factorRules, p.rates = askingFactors(p.requires), limitingLogins(p.requires)
	p.tables = compile(p.allows, p.everyRequire(), p.exempts, p.devices, d.zone)
	return p
}

// everyRequire lists the requires about logins, and those about what sessions do.
func (p *Policy) everyRequire() []*statement { return slices.Concat(p.requires, p.acts) }

// hash identifies a policy: its text in the form that Format gives it, and what
// its replies were filled with.
func hash(src []byte, hostname string) string {
	h := sha256.New()
	h.Write(hclwrite.Format(src))
	h.Write([]byte("\x00hostname=" + hostname))
	return hex.EncodeToString(h.Sum(nil))
}

// Hash implements session.Policy: a SHA-256 in hex over the formatted text and
// the host name.
func (p *Policy) Hash() string {
	if p == nil {
		return ""
	}
	return p.hash
}

// LooksAtClient reports whether anybody is let in or refused by what software they
// have.
func (p *Policy) LooksAtClient() bool {
	return p != nil && slices.ContainsFunc(p.conditions(), func(c *condition) bool { return c.sets[dimClient] != 0 })
}

// Source returns the text that the policy was read from.
func (p *Policy) Source() []byte { return slices.Clone(p.source) }

// Warnings are the parts of the policy that are allowed and probably not meant.
func (p *Policy) Warnings() []Warning { return slices.Clone(p.warnings) }

// Format returns a policy's text with its lines indented and aligned. Text that
// is not HCL is an *Error.
func Format(src []byte, filename string) ([]byte, error) {
	d := &decoder{filename: filename}
	if file := d.syntax(src); d.diags.HasErrors() {
		return nil, newError(d.diags, file, filename)
	}
	return hclwrite.Format(src), nil
}

//go:embed default.hcl
var defaultSource string

// Default is the policy that a new installation starts with: encryption for
// everybody, file transfer for the group users and mail for the group mail.
func Default() []byte { return []byte(defaultSource) }

// fault notes an error at a place of the file.
func (d *decoder) fault(at hcl.Range, summary, detail string, args ...any) {
	if len(args) > 0 {
		detail = fmt.Sprintf(detail, args...)
	}
	d.diags = append(d.diags, &hcl.Diagnostic{
		Severity: hcl.DiagError, Summary: summary, Detail: detail, Subject: at.Ptr(),
	})
}
