package config

import (
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"gateway/certs"
	"gateway/ftp"
	"gateway/queue"
	"gateway/session"
)

// section is everything that gateway.hcl may hold.
func (c *Config) section() section {
	hostname := parsed("hostname", "name", &c.Hostname, parseHostname, "", "Name that clients use for this host. It is in the greeting, in the internal certificate and in hints to clients.")
	hostname.required = true
	return section{
		settings: []setting{
			hostname,
			text("node", &c.Node, "the host name", "Name of this node in the record."),
			file("state", &c.State, "state", "Folder of the database, the record, the keys and the mail queue. Nobody else may read it."),
			file("policy", &c.Policy, "policy.hcl", "File of the rules."),
			duration("shutdown_grace", &c.ShutdownGrace, "5m", "How long transfers may go on after the first stop signal. The second one ends them at once."),
		},
		blocks: []block{
			{name: "listener", label: "name", many: true, doc: "An address to listen on. The label names it in rules and in the record.", open: c.listener},
			{name: "ftp", doc: "FTP and FTPS.", open: fixed(c.ftp)},
			{name: "sftp", doc: "SSH and SFTP.", open: fixed(c.sftp)},
			{name: "smtp", doc: "Submission and relay: what is accepted.", open: fixed(c.smtp)},
			{name: "milter", label: "name", many: true, doc: "A content filter such as rspamd or clamav-milter. It looks at the mail of the listeners that name it in milters.", open: c.milter},
			{name: "mail", doc: "The queue: where accepted mail goes.", open: fixed(c.mail)},
			{name: "route", label: "name", many: true, doc: "A way for mail that has a name. Mail goes by the route of the sender's account, by that of the recipient's domain, or else by the one in mail.", open: c.route},
			{name: "old_server", label: "name", many: true, doc: "Another server that is asked whether a password is right, of accounts that have none here: the one that they come from, or a directory.", open: c.oldServer},
			{name: "source", label: "name", many: true, doc: "Where else accounts are: a directory (LDAP, Active Directory), or a program that is asked over HTTP. Names that the store does not have are asked about at each source, in the order of the file. See docs/operations.md.", open: c.source},
			{name: "storage", doc: "Where accounts keep their files.", open: fixed(c.storage)},
			{name: "storage", label: "name", many: true, beside: true, doc: "An SFTP or FTP server behind the gateway that keeps the files of some accounts. Quotas are not kept there, and files are not resumed by others than the gateway.", open: c.remoteStorage},
			{name: "certificates", doc: "The TLS certificate. Without this block the gateway makes one by an authority of its own.", open: fixed(c.certificates)},
			{name: "limits", doc: "How much is too much. Each limit holds for the whole node.", open: fixed(c.limits)},
			{name: "audit", doc: "The record.", open: fixed(c.audit)},
			{name: "log", doc: "The log, on standard error.", open: fixed(c.log)},
		},
	}
}

// fixed opens a block that has no label.
func fixed(s func() section) func(*decoder, hcl.Range, string) (section, error) {
	return func(*decoder, hcl.Range, string) (section, error) { return s(), nil }
}

func (c *Config) listener(_ *decoder, at hcl.Range, name string) (section, error) {
	if name == "" || strings.ContainsAny(name, " \t\r\n\"") {
		return section{}, fmt.Errorf("the name of a listener is a word without spaces")
	}
	// Room for all, so that the pointers taken below stay good.
	if c.Listeners == nil {
		c.Listeners = make([]Listener, 0, maxListeners)
	}
	if len(c.Listeners) == maxListeners {
		return section{}, fmt.Errorf("there are more than %d listeners", maxListeners)
	}
	c.Listeners = append(c.Listeners, Listener{Name: name, TLS: TLSExplicit, Resumption: session.ResumptionPreferred, at: at})
	l := &c.Listeners[len(c.Listeners)-1]
	protocol := choice("protocol", (*string)(&l.Protocol), []string{"ftp", "sftp", "submission", "relay", "metrics"}, "", "What the listener speaks. metrics is /metrics for Prometheus, over HTTP.")
	protocol.required = true
	set := protocol.set
	address := parsed("address", "address", &l.Address, parseAddress, "", "Where it listens: \":2222\", \"192.0.2.1:22\" or \"[2001:db8::1]:22\".")
	address.required = true
	protocol.set = func(d *decoder, v cty.Value) error {
		err := set(d, v)
		if l.Protocol == session.SFTP || l.Protocol == Metrics {
			l.TLS = TLSNone
		}
		return err
	}
	return section{settings: []setting{
		protocol, address,
		parsed("tls_resumption", "required | preferred | off", &l.Resumption, session.ParseResumption, "preferred", "Of an ftp listener: whether a TLS data connection must resume the TLS session of its control connection, so that nobody else can take it over. preferred takes and records those that do not; rules can ask for more or less (docs/policy.md)."),
		list("public_address", "address, name or NETWORK=address", &l.PublicAddress, parsePublicAddress, "the address of the control connection", "Of an ftp listener: the IPv4 address that PASV tells to clients where NAT hides the real one, or a name that has it. NETWORK=address holds for clients of that network, \"own\" as the address for the real one."),
		choice("client_certificates", &l.ClientCertificates, []string{"off", "request", "require"}, "off", "Whether TLS clients are asked for a certificate. A user whose account has its key (gateway user key add) needs no password."),
		file("client_ca", &l.ClientCA, "", "PEM file of the authorities that must have issued client certificates; their names are told to clients. Without it any certificate will do, since only enrolled keys log in."),
		choice("tls", (*string)(&l.TLS), []string{"explicit", "implicit", "none"}, "explicit; none for sftp and metrics", "How the listener comes to TLS: by AUTH TLS or STARTTLS, from the first byte, or never."),
		list("proxy_protocol", "network", &l.Proxies, parseProxies, "", "Networks of load balancers. Each connection from there must begin with a PROXY header, version 1 or 2, which tells the client's address; from elsewhere none is believed. See docs/operations.md."),
		flag("proxy_data", &l.ProxyData, "false", "ftp behind proxy_protocol: the balancer forwards the passive ports too, with a header on each connection."),
		flag("allow_public", &l.AllowPublic, "false", "metrics: listen on an address that is not loopback. There is no login; whoever reaches it can read it."),
		parsed("ssh_profile", "compatible | modern", &l.SSHProfile, parseSSHProfile, "compatible", "Of an sftp listener: the SSH algorithms that it offers. compatible has nothing with SHA-1 and works with the clients of today; modern has only mlkem768x25519, curve25519 and AES-GCM. Rules can ask for less, or exempt one device for a while (docs/policy.md)."),
		list("milters", "name", &l.Milters, parseMilterName, "", "Of a submission or relay listener: the milters that look at each message, one after the other."),
		size("bandwidth", &l.Bandwidth, "no limit", "Bytes of files that all its connections together may move in a second, in each direction; for ftp and sftp."),
	}}, nil
}

const maxListeners = 64

func (c *Config) ftp() section {
	return section{settings: []setting{
		parsed("passive_ports", "ports", &c.Passive, parsePorts, "42000-42099", "Ports of passive data connections; open them in the firewall."),
		parsed("tls_truncation", "refuse | warn", &c.FTP.TakeTruncated, parseTruncation, "refuse", "What becomes of an upload over TLS whose client did not say that it was complete (close_notify), so that it cannot be told from one that was cut: refused and kept to be resumed, or taken with a warning in the log."),
		duration("data_timeout", &c.FTP.DataTimeout, "30s", "Time for a data connection to be there."),
		duration("transfer_stall", &c.FTP.TransferStall, "60s", "Time without a byte after which a transfer is ended."),
		size("least_rate", &c.FTP.LeastRate, "64", "Bytes a second that a transfer must move, averaged over five times transfer_stall; a slower one is ended."),
		flag("convert_ascii", &c.FTP.ConvertASCII, "false", "Translate line ends in TYPE A, as RFC 959 has it; by default the bytes move as they are."),
		duration("login_grace", &c.FTP.LoginGrace, "30s", "Time to log in."),
		duration("idle_timeout", &c.FTP.IdleTimeout, "5m", "Silence after which a control connection without a transfer is closed (RFC 1123, section 4.1.3.2)."),
	}}
}

func (c *Config) sftp() section {
	return section{settings: []setting{
		duration("login_grace", &c.SFTP.LoginGrace, "30s", "Time to log in."),
		duration("idle_timeout", &c.SFTP.IdleTimeout, "5m", "Time without a request after which a connection is closed."),
		count("max_sessions", &c.SFTP.MaxSessions, 100, "10", "SSH channels that one connection may have open."),
		text("banner", &c.SFTP.Banner, "", "Text shown before login."),
		duration("keepalive", &c.SFTP.Keepalive, "60s", "Silence after which a client is asked whether it is there."),
		count("keepalive_count", &c.SFTP.KeepaliveCount, 1000, "3", "After how many times keepalive of silence it is cut off."),
		parsed("rekey_after", "size", &c.SFTP.RekeyAfter, parseRekey, "64GiB with AES, else 1GiB", "Bytes in one direction after which new keys are exchanged; at least 64KiB. Clients may do it earlier, also by time."),
		flag("chacha20", &c.SFTP.ChaCha20, "false", "Offer chacha20-poly1305 although the processor has AES; OpenSSH then takes it, at several times the cost. Without AES it is always offered."),
		duration("host_key_overlap", &c.HostKeyOverlap, "720h", "How long new host keys (gateway cert renew --host-keys) are announced before they take over."),
	}}
}

func (c *Config) smtp() section {
	return section{settings: []setting{
		size("max_message", &c.SMTP.MaxMessageBytes, "35MiB", "Largest message that is accepted."),
		count("max_recipients", &c.SMTP.MaxRecipients, 3000, "1000", "Recipients that one message may have; so many still fit into one line of the record."),
		duration("login_grace", &c.SMTP.LoginGrace, "30s", "Time to log in."),
		parsed("bare_lf", "normalize | refuse", &c.SMTP.RefuseBareLF, parseBareLF, "normalize", "What becomes of a line end in a message that is a LF alone: it becomes CRLF, or the message is refused. A CR alone is always refused."),
		flag("hide_source", &c.SMTP.HideSource, "false", "Leave the sender's address out of the Received field; the record has it in any case."),
		duration("idle_timeout", &c.SMTP.IdleTimeout, "5m", "Silence after which a connection is closed (RFC 5321, section 4.5.3.2.7)."),
	}}
}

func (c *Config) mail() section {
	return section{settings: []setting{
		parsed("route", "route", &c.Mail.DefaultRoute, queue.ParseRoute, "", "Where mail goes unless the account or the recipient's domain has a route: mx (the mail exchangers of each recipient's domain), smtp://host:port (STARTTLS where offered), smtps://host:port, lmtp://host:port, lmtp:///socket, maildir://folder relative to the configuration file, or the name of a route block."),
		duration("expire", &c.Mail.Expire, "72h", "How long delivery is tried before the sender is told that it failed."),
		list("retry", "duration", &c.Mail.Retry, parseDuration, "1m, 5m, 15m, 30m, 1h, 2h, 4h", "Waits between attempts; the last one repeats."),
		list("resolvers", "address", &c.DNS.Servers, parseResolver, "those of /etc/resolv.conf", "DNS resolvers that are asked for mail exchangers, at most three: \"127.0.0.1:53\" or an address alone. What one on this host says of DNSSEC is believed (DANE)."),
		flag("trust_resolvers", &c.DNS.TrustAD, "false", "Believe what resolvers on other hosts say of DNSSEC too. It is safe only where nobody can forge packets on the way."),
		duration("warn_after", &c.Mail.WarnAfter, "4h", "How long mail waits before its sender is told that it is delayed."),
		count("concurrency", &c.Mail.Concurrency, 1000, "50", "Deliveries at the same time."),
		count("concurrency_per_destination", &c.Mail.PerDestination, 1000, "10", "How many of them to one destination: a route, or with mx a domain."),
	}}
}

func (c *Config) storage() section {
	return section{settings: []setting{
		choice("type", &c.Storage.Type, []string{"local"}, "local", "Kind of storage."),
		file("path", &c.Storage.Path, "files", "Folder that holds one folder per account."),
		duration("keep_partial", &c.Storage.Local.KeepPartial, "168h", "How long an interrupted upload can be resumed before it is removed."),
		parsed("file_mode", "mode", &c.Storage.Local.FileMode, modeWith(0o600), "0640", "Permissions of a new file for which the client asks for none."),
		parsed("folder_mode", "mode", &c.Storage.Local.FolderMode, modeWith(0o700), "0750", "Permissions of a new folder."),
		parsed("umask", "mode", &c.Storage.Local.Umask, parseUmask, "0", "Permissions that no new file or folder gets, whoever asks for them."),
	}}
}

func (c *Config) certificates() section {
	return section{
		settings: []setting{
			flag("rsa", &c.Certificates.RSA, "false", "Use RSA keys instead of ECDSA, for devices too old for it."),
		},
		blocks: []block{
			{name: "internal", doc: "The gateway's own authority, which clients trust by `gateway cert show --ca`. It also serves while ACME has not issued anything yet.", open: fixed(c.internalCA)},
			{name: "files", doc: "PEM files that somebody else takes care of. They are read again when they change.", open: c.certFiles},
			{name: "acme", doc: "A public authority such as Let's Encrypt. Using this block accepts its terms of service.", open: c.acme},
		},
	}
}

func (c *Config) internalCA() section {
	return section{settings: []setting{
		list("names", "name or IP address", &c.Certificates.Internal.Names, parseHostname, "", "What the certificate is for, besides hostname, localhost and loopback."),
	}}
}

func (c *Config) certFiles(*decoder, hcl.Range, string) (section, error) {
	if c.Certificates.ACME != nil {
		return section{}, fmt.Errorf("choose between files and acme")
	}
	c.Certificates.Files = &certs.Files{}
	cert := file("cert", &c.Certificates.Files.Cert, "", "The certificate, followed by its intermediates.")
	key := file("key", &c.Certificates.Files.Key, "", "Its private key; nobody but the gateway's user may read it.")
	cert.required, key.required = true, true
	return section{settings: []setting{cert, key}}, nil
}

func (c *Config) acme(*decoder, hcl.Range, string) (section, error) {
	if c.Certificates.Files != nil {
		return section{}, fmt.Errorf("choose between files and acme")
	}
	a := &certs.ACME{Agree: true}
	c.Certificates.ACME = a
	return section{settings: []setting{
		text("email", &a.Email, "", "Where the authority writes to."),
		text("directory", &a.Directory, "Let's Encrypt", "The authority's directory URL."),
		list("names", "name or IP address", &a.Names, parseHostname, "hostname", "Names and bare IP addresses to get certificates for."),
		file("roots", &a.Roots, "", "PEM file of roots to trust for the directory itself, for an authority inside the organisation."),
		text("listen_host", &a.ListenHost, "all", "Address on which challenges are answered."),
		count("http_port", &a.HTTPPort, 65535, "80", "Port for HTTP-01. The authority always connects to 80: with another port here, something must forward."),
		count("tls_alpn_port", &a.TLSALPNPort, 65535, "443", "Port for TLS-ALPN-01; likewise, the authority connects to 443."),
		text("profile", &a.Profile, "", "Certificate profile; Let's Encrypt wants \"shortlived\" for IP addresses."),
	}}, nil
}

func (c *Config) limits() section {
	l, h := &c.Limits, &c.Hashing
	return section{settings: []setting{
		count("connections", &l.MaxConnections, 1000000, "4096", "Connections at once, over all listeners."),
		count("connections_per_source", &l.MaxPerSource, 1000000, "64", "Connections at once of one source: an IPv4 address, or the /64 of an IPv6 address."),
		count("unauthenticated", &l.MaxUnauthenticated, 1000000, "512", "Connections at once on which nobody has logged in yet."),
		count("unauthenticated_per_source", &l.MaxUnauthenticatedPerSource, 1000000, "32", "The same, of one source."),
		count("early_drop_from", &l.DropFrom, 1000000, "half of unauthenticated", "From how many of the unauthenticated on a new one is refused at random, unless somebody has logged in from its source."),
		count("early_drop_percent", &l.DropPercent, 100, "30", "How many of a hundred are refused then. It rises to all at unauthenticated."),
		count("sessions_per_user", &l.MaxSessionsPerUser, 1000000, "100", "Sessions at once of one account, over all protocols."),
		count("attempts_per_connection", &c.Gate.MaxAttempts, 100, "6", "Wrong proofs on one connection before it is closed."),
		flag("ignore_refused", &c.Gate.IgnoreRefused, "false", "Do not find out whether a password that was sent in clear although it was refused is a right one. It is found out after the answer, when nothing else is hashed, so that gateway report exposed lists real passwords."),
		count("guesses", &l.MaxGuesses, 100000, "10", "Failed logins of one account, from places where its owner never logged in, within guess_window. Further ones from such places are refused unchecked. The same wrong password again is not a further guess."),
		duration("guess_window", &l.GuessWindow, "15m", "See guesses."),
		duration("known_for", &l.KnownFor, "2160h", "How long a place is remembered after a login from it."),
		duration("penalty_threshold", &l.PenaltyThreshold, "15s", "What a source must owe to be banned. A failed login adds 5s; see docs/operations.md."),
		duration("penalty_max", &l.PenaltyMax, "10m", "The most that a source can owe, and so the longest ban that is not made by hand."),
		list("trusted", "network", &l.Trusted, parseNetwork, "", "Networks that are never charged or banned and have no limits per source: a load balancer, a health check."),
		count("hashes", &h.MaxAtOnce, 1024, "the number of processors", "Password hashes computed at once."),
		kib("hash_memory", &h.MaxMemory, "256MiB", "Memory that they may use together."),
		count("hash_queue", &h.MaxWaiting, 100000, "64", "Logins that may wait for a hash; beyond it they are refused for the moment, never as a wrong password."),
		duration("hash_wait", &h.MaxWait, "5s", "How long one waits."),
		count("open_files", &c.Transfer.OpenFiles, 100000, "128", "Files that one session may have open at once."),
		size("line_length", &c.FTP.MaxLine, "4KiB", "Longest FTP command line."),
	}}
}

func (c *Config) audit() section {
	return section{settings: []setting{
		size("segment_size", &c.Audit.SegmentSize, "64MiB", "Length at which a segment is followed by the next. So much space, and a reserve, is taken in advance."),
		duration("checkpoint_interval", &c.Audit.CheckpointInterval, "1m", "How often the state of the proof is written while there is something new."),
	}}
}

func (c *Config) log() section {
	return section{settings: []setting{
		choice("level", &c.Log.Level, []string{"debug", "info", "warn", "error"}, "info", "The least important messages shown."),
		choice("format", &c.Log.Format, []string{"text", "json"}, "text", "How a message is written."),
	}}
}

// parseHostname takes a DNS name or an IP address.
func parseHostname(s string) (string, error) {
	if _, err := netip.ParseAddr(s); err == nil {
		return s, nil
	}
	bad := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.')
	}
	if s == "" || len(s) > 253 || strings.ContainsFunc(s, bad) || strings.HasPrefix(s, ".") || strings.HasSuffix(s, ".") || strings.Contains(s, "..") {
		return "", fmt.Errorf("%q is not a host name such as \"files.example.com\"", s)
	}
	return strings.ToLower(s), nil
}

// parseSSHProfile takes what a listener may offer to everybody.
func parseSSHProfile(s string) (session.SSHProfile, error) {
	switch p, err := session.ParseSSHProfile(s); {
	case err != nil:
		return p, fmt.Errorf("%q is not one of: compatible, modern", s)
	case p == session.SSHLegacy:
		return p, fmt.Errorf("legacy algorithms are granted to one device for a while, by an exempt in the policy; a listener takes compatible or modern")
	default:
		return p, nil
	}
}

// parseRekey takes a size that leaves time for something else than key exchanges.
func parseRekey(s string) (int64, error) {
	n, err := ParseSize(s)
	if err == nil && n < minRekey {
		err = fmt.Errorf("%q is less than 64KiB", s)
	}
	return n, err
}

// minRekey is the least that sftp.Config.RekeyAfter takes.
const minRekey = 64 << 10

// parseProxies takes a network, but not all of one family.
func parseProxies(s string) (netip.Prefix, error) {
	p, err := parseNetwork(s)
	if err == nil && p.Bits() == 0 {
		return p, fmt.Errorf("%q is everybody, who could then claim any address; name the balancers", s)
	}
	return p, err
}

// parseAddress takes host:port with an IP address, or no host for all addresses.
func parseAddress(s string) (string, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", fmt.Errorf("%q is not an address such as \":2222\" or \"192.0.2.1:22\"", s)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return "", fmt.Errorf("%q is not a port number from 0 to 65535", port)
	}
	if host != "" && host != "localhost" {
		if _, err := netip.ParseAddr(host); err != nil {
			return "", fmt.Errorf("%q is not an IP address of this host", host)
		}
	}
	return s, nil
}

// parsePublicAddress checks one entry; all of them are read together.
func parsePublicAddress(s string) (string, error) {
	_, err := ftp.ParsePublicAddresses([]string{s})
	return s, err
}

// parseResolver takes an address with or without a port.
func parseResolver(s string) (netip.AddrPort, error) {
	if addr, err := netip.ParseAddr(s); err == nil {
		return netip.AddrPortFrom(addr, 53), nil
	}
	a, err := netip.ParseAddrPort(s)
	if err != nil || a.Port() == 0 {
		return a, fmt.Errorf("%q is not the address of a resolver such as \"127.0.0.1:53\"", s)
	}
	return a, nil
}

func parseTruncation(s string) (take bool, err error) {
	switch s {
	case "refuse":
		return false, nil
	case "warn":
		return true, nil
	default:
		return false, fmt.Errorf("%q is not one of: refuse, warn", s)
	}
}

func parseBareLF(s string) (refuse bool, err error) {
	switch s {
	case "normalize":
		return false, nil
	case "refuse":
		return true, nil
	default:
		return false, fmt.Errorf("%q is not one of: normalize, refuse", s)
	}
}

func parseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is not a duration such as \"30s\", \"5m\" or \"12h\"", s)
	}
	return d, nil
}

// parsePermissions takes permission bits in octal digits, as chmod(1) does.
func parsePermissions(s string) (fs.FileMode, error) {
	n, err := strconv.ParseUint(s, 8, 16)
	if err != nil {
		return 0, fmt.Errorf("%q is not a mode such as \"0640\"", s)
	}
	if n > 0o777 {
		return 0, fmt.Errorf("%q has more than permissions: setuid, setgid and sticky are given to nothing", s)
	}
	return fs.FileMode(n), nil
}

// modeWith takes permissions that the gateway itself must have.
func modeWith(owner fs.FileMode) func(string) (fs.FileMode, error) {
	return func(s string) (fs.FileMode, error) {
		mode, err := parsePermissions(s)
		if err == nil && mode&owner != owner {
			err = fmt.Errorf("%q shuts out the gateway itself; take %#o and more", s, owner)
		}
		return mode, err
	}
}

func parseUmask(s string) (fs.FileMode, error) {
	mask, err := parsePermissions(s)
	if err == nil && mask&0o700 != 0 {
		err = fmt.Errorf("%q shuts out the gateway itself; take 0077 or less", s)
	}
	return mask, err
}

// parsePorts takes "low-high", or one port.
func parsePorts(s string) (PortRange, error) {
	low, high, ranged := strings.Cut(s, "-")
	if !ranged {
		high = low
	}
	l, errLow := strconv.ParseUint(low, 10, 16)
	h, errHigh := strconv.ParseUint(high, 10, 16)
	if errLow != nil || errHigh != nil || l == 0 || l > h {
		return PortRange{}, fmt.Errorf("%q is not a range of ports such as \"42000-42099\"", s)
	}
	return PortRange{uint16(l), uint16(h)}, nil
}
