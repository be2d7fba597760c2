package config

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclparse"

	"gateway/audit"
	"gateway/auth/oldserver"
	"gateway/certs"
	"gateway/ftp"
	"gateway/limits"
	"gateway/queue"
	"gateway/queue/relay/dns"
	"gateway/session"
	"gateway/sftp"
	"gateway/smtp"
	"gateway/smtp/milter"
	"gateway/storage/local"
	"gateway/transfer"
)

// Config is what gateway.hcl says, with paths made absolute. In the Config of
// each package only the settings are filled in; what connects the parts is set
// where they are wired.
type Config struct {
	File     string // the file it was read from, absolute
	Hostname string
	Node     string // the node's name in the record; the host name if not set
	State    string // folder of the database, the record, keys and the queue
	Policy   string // file of the rules

	Listeners []Listener
	Storage   Storage
	Remote    []RemoteStorage // by their order in the file

	Certificates certs.Config
	Limits       limits.Config
	Hashing      limits.HashingConfig
	Gate         session.Config
	Transfer     transfer.Limits
	Audit        audit.Config
	FTP          ftp.Config
	Passive      PortRange
	SFTP         sftp.Config
	// HostKeyOverlap is certs.HostKeyConfig.Overlap.
	HostKeyOverlap time.Duration
	SMTP           smtp.Config
	Mail           queue.Config
	Milters        []milter.Config
	OldServers     []oldserver.Config
	Sources        []Source   // in their order
	DNS            dns.Config // for mail exchangers
	Log            Log

	routeBlocks     []routeBlock // of Mail.Routes
	oldServerBlocks []oldServerBlock

	// ShutdownGrace is how long transfers may go on after the first signal.
	ShutdownGrace time.Duration
}

// TLSMode is how a listener comes to TLS.
type TLSMode string

const (
	TLSNone     TLSMode = "none"     // never
	TLSExplicit TLSMode = "explicit" // after AUTH TLS or STARTTLS
	TLSImplicit TLSMode = "implicit" // from the first byte
)

// Listener is one address that the gateway listens on.
type Listener struct {
	Name     string
	Protocol session.Protocol
	Address  string
	TLS      TLSMode
	// Proxies are the networks of load balancers in front of the listener; see
	// ftp.Config, as ProxyData.
	Proxies   []netip.Prefix
	ProxyData bool
	// AllowPublic lets Metrics listen on more than loopback.
	AllowPublic bool

	// Of FTP only.
	Resumption    session.Resumption
	PublicAddress []string // as ftp.ParsePublicAddresses reads them

	// SSHProfile is sftp.Config.Profile, of SFTP only.
	SSHProfile session.SSHProfile

	// ClientCertificates is off, request or require; ClientCA a file, or "".
	ClientCertificates string
	ClientCA           string
	// Bandwidth is how many bytes a second of files all its connections may move
	// together in each direction. Zero is no limit.
	Bandwidth int64

	// Milters are names of Config.Milters, in the order in which they are asked.
	Milters []string

	at hcl.Range
}

// Metrics is the protocol of a listener that serves /metrics over HTTP. It lets
// nobody in, so rules and record do not know it.
const Metrics session.Protocol = "metrics"

// Storage says where accounts keep their files.
type Storage struct {
	Type  string // "local"
	Path  string // folder that holds one folder per account
	Local local.Config
}

// Log says what the log holds.
type Log struct {
	Level  string // debug, info, warn, error
	Format string // text, json
}

// PortRange is a range of TCP ports, both ends included. The zero value is no
// range.
type PortRange struct{ Low, High uint16 }

// An Error is everything that is wrong with a configuration, as it is shown to
// people: with file, line and excerpt.
type Error struct {
	File  string
	Count int
	Text  string
}

func (e *Error) Error() string {
	if e.Count == 1 {
		return fmt.Sprintf("%s is not usable:\n\n%s", e.File, e.Text)
	}
	return fmt.Sprintf("%s is not usable, for %d reasons:\n\n%s", e.File, e.Count, e.Text)
}

const maxFileSize = 1 << 20

// Load reads the file at path. What is wrong in it is an *Error.
func Load(path string) (*Config, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	info, err := os.Stat(abs)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	if info.Size() > maxFileSize {
		return nil, fmt.Errorf("read the configuration: %s has %d bytes, more than the %d that a configuration may have", path, info.Size(), maxFileSize)
	}
	src, err := os.ReadFile(abs)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	return Parse(src, abs)
}

// Parse reads src as if it were the file of that name.
func Parse(src []byte, file string) (*Config, error) {
	parser := hclparse.NewParser()
	shown := shortName(file)
	parsed, diags := parser.ParseHCL(src, shown)
	d := &decoder{dir: filepath.Dir(file), diags: diags}
	d.eval = &hcl.EvalContext{Functions: d.functions()}
	c := &Config{File: file}
	if parsed != nil && !diags.HasErrors() {
		d.decode(parsed.Body, c.section())
		c.complete(d)
	}
	if !d.diags.HasErrors() {
		return c, nil
	}
	var text bytes.Buffer
	errs := d.diags.Errs()
	if err := hcl.NewDiagnosticTextWriter(&text, parser.Files(), errorWidth, false).WriteDiagnostics(d.diags); err != nil {
		return nil, errors.Join(errs...)
	}
	return nil, &Error{File: shown, Count: len(errs), Text: text.String()}
}

const errorWidth = 100

// shortName is the file as people would name it from where they are.
func shortName(file string) string {
	if wd, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(wd, file); err == nil && len(rel) < len(file) {
			return rel
		}
	}
	return file
}

// complete fills in defaults that depend on others, and checks what no setting
// can check alone.
func (c *Config) complete(d *decoder) {
	if c.Node == "" {
		c.Node = c.Hostname
	}
	for to, def := range map[*string]string{&c.State: "state", &c.Policy: "policy.hcl", &c.Storage.Path: "files"} {
		if *to == "" {
			*to = d.path(def)
		}
	}
	if c.Storage.Type == "" {
		c.Storage.Type = "local"
	}
	if c.Passive == (PortRange{}) {
		c.Passive = PortRange{42000, 42099}
	}
	if c.ShutdownGrace == 0 {
		c.ShutdownGrace = 5 * time.Minute
	}
	c.checkRoutes(d)
	c.checkOldServers(d)
	c.checkSources(d)
	c.checkRemote(d)
	names := map[string]bool{}
	for _, l := range c.Listeners {
		if names[l.Name] {
			d.fault(l.at, "Duplicate listener", fmt.Sprintf("There is a listener %q already; each needs a name of its own.", l.Name))
		}
		names[l.Name] = true
		c.checkListener(d, l)
	}
	if len(c.Listeners) == 0 && !d.diags.HasErrors() {
		d.diags = append(d.diags, &hcl.Diagnostic{Severity: hcl.DiagError, Summary: "No listener",
			Detail: "Add at least one block such as: listener \"sftp\" { protocol = \"sftp\" address = \":2222\" }"})
	}
}

func (c *Config) checkListener(d *decoder, l Listener) {
	switch {
	case l.Protocol == session.SFTP && l.TLS != "" && l.TLS != TLSNone:
		d.fault(l.at, "No TLS under SSH", "An sftp listener is protected by SSH; leave tls out.")
	case l.Protocol == session.Submission && l.TLS == TLSNone:
		d.fault(l.at, "Submission without TLS", "Passwords would cross in clear; set tls = \"explicit\" or \"implicit\", and let old devices in by an exemption in the policy.")
	case l.Protocol == Metrics:
		c.checkMetrics(d, l)
	case l.AllowPublic:
		d.fault(l.at, "Not for this listener", "allow_public is for a listener with protocol = \"metrics\"; leave it out.")
	}
	if _, err := ftp.ParsePublicAddresses(l.PublicAddress); err != nil {
		d.fault(l.at, "Public addresses that contradict each other", sentence(err.Error()))
	}
	if len(l.PublicAddress) > 0 && l.Protocol != session.FTP {
		d.fault(l.at, "Public address without FTP", "public_address is what PASV tells: it belongs to an ftp listener.")
	}
	if l.ClientCertificates != "" && l.ClientCertificates != "off" && (l.Protocol == session.SFTP || l.Protocol == Metrics) {
		d.fault(l.at, "No login by certificate", "FTP and mail listeners log in by a TLS client certificate; an sftp listener takes SSH keys.")
	}
	if l.Bandwidth > 0 && l.Protocol != session.FTP && l.Protocol != session.SFTP {
		d.fault(l.at, "No bandwidth for mail", "Only what ftp and sftp listeners move is limited by bandwidth; leave it out.")
	}
	if l.SSHProfile != session.SSHUnset && l.Protocol != session.SFTP {
		d.fault(l.at, "SSH profile without SSH", "ssh_profile is for an sftp listener; leave it out.")
	}
	if (l.Protocol == session.Submission || l.Protocol == session.Relay) && c.Mail.DefaultRoute.IsZero() {
		d.fault(l.at, "Mail has nowhere to go", "This listener accepts mail: add mail { route = \"smtp://mail.example.com:25\" }, or \"mx\" for the mail exchangers of each recipient.")
	}
	c.checkMilters(d, l)
	if l.ProxyData && (l.Protocol != session.FTP || len(l.Proxies) == 0) {
		d.fault(l.at, "No data ports behind a proxy", "proxy_data is for an ftp listener with proxy_protocol; leave it out.")
	}
}

func (c *Config) checkMetrics(d *decoder, l Listener) {
	if l.TLS != TLSNone {
		d.fault(l.at, "No TLS for metrics", "A metrics listener speaks plain HTTP; leave tls out.")
	}
	if len(l.Proxies) > 0 {
		d.fault(l.at, "No proxy for metrics", "A metrics listener takes no PROXY header; leave proxy_protocol out.")
	}
	if !l.AllowPublic && !loopback(l.Address) {
		d.fault(l.at, "Metrics for everybody", "Whoever reaches a metrics listener can read it: listen on \"127.0.0.1:9100\", or set allow_public = true and let the firewall decide.")
	}
}

// loopback reports whether only this host can reach address, one that parseAddress
// took.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

// Listens returns the names of the listeners, for the rules that name them.
func (c *Config) Listens() []string {
	return c.names(func(l Listener) bool { return l.Protocol != Metrics })
}

// Relays returns the names of those that serve devices.
func (c *Config) Relays() []string {
	return c.names(func(l Listener) bool { return l.Protocol == session.Relay })
}

func (c *Config) names(which func(Listener) bool) []string {
	var names []string
	for _, l := range c.Listeners {
		if which(l) {
			names = append(names, l.Name)
		}
	}
	return names
}
