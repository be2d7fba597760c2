package queue

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"strings"

	"gateway/queue/relay"
)

// The schemes of a route.
const (
	schemeSMTP    = "smtp"
	schemeSMTPS   = "smtps"
	schemeLMTP    = "lmtp"
	schemeMaildir = "maildir"
	// schemeMX is the recipient domain's mail exchangers, schemeName a route block.
	schemeMX   = "mx"
	schemeName = "name"
)

const (
	maxRouteBytes = 1024
	// maxSocketBytes is the longest name of a unix socket (sun_path of Linux).
	maxSocketBytes = 107
)

// ErrRoute is a route that cannot be used. The text says why, without the route:
// it might hold a password that belongs elsewhere.
var ErrRoute = errors.New("mail route not accepted")

// Route says where mail goes. The zero Route is none. Routes are comparable.
//
//	smtp://host[:port]      a smart host, port 25 if none is given; STARTTLS wherever it is
//	                        offered. A certificate that cannot be verified is accepted, and
//	                        recorded as such: anyone who could forge it could also hide
//	                        STARTTLS. A handshake that fails is retried later, never
//	                        replaced by clear text.
//	smtps://host[:port]     a smart host with TLS from the first byte (RFC 8314), port 465 if
//	                        none is given; the certificate must be valid.
//	lmtp://host:port        a mail store by LMTP (RFC 2033), with TLS as for smtp.
//	lmtp:///path/to/socket  the same by a unix socket.
//	maildir://folder        a maildir below Config.MaildirDir, made when first used.
//	mx                      the mail exchangers of each recipient's domain (RFC 5321, section 5).
//	name                    the one of Config.Routes with that name.
//
// A host is connected to as it is named; only mx looks up MX records.
type Route struct {
	scheme string
	host   string // without brackets
	port   string
	path   string // of a socket, or a folder of a maildir, or a name
}

// ParseRoute reads a route as written in the configuration or in an account.
// Errors are ErrRoute.
func ParseRoute(s string) (Route, error) {
	if len(s) > maxRouteBytes {
		return Route{}, refuseRoute("longer than %d bytes", maxRouteBytes)
	}
	scheme, rest, found := strings.Cut(s, "://")
	switch {
	case s == schemeMX:
		return Route{scheme: schemeMX}, nil
	case !found && ValidRouteName(s):
		return Route{scheme: schemeName, path: s}, nil
	case !found:
		return Route{}, refuseRoute("want mx, smtp://host, smtps://host, lmtp://host:port, lmtp:///socket, maildir://folder, or the name of a route")
	}
	for i := range len(rest) {
		if rest[i] <= ' ' || rest[i] >= 0x7f {
			return Route{}, refuseRoute("spaces, control characters and characters beyond ASCII are not allowed")
		}
	}
	switch scheme {
	case schemeMaildir:
		return maildirRoute(rest)
	case schemeSMTP, schemeSMTPS, schemeLMTP:
		return networkRoute(scheme, s)
	default:
		return Route{}, refuseRoute("unknown scheme: want smtp, smtps, lmtp or maildir")
	}
}

// ValidRouteName reports whether s may name a route: small letters, digits and
// hyphens, and not mx.
func ValidRouteName(s string) bool {
	return s != "" && s != schemeMX && len(s) <= maxLabelBytes && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

func networkRoute(scheme, s string) (Route, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		// What url says quotes s, which may hold a password.
		return Route{}, refuseRoute("want %s://host:port", scheme)
	case u.User != nil:
		return Route{}, refuseRoute("it holds a user name or password; they belong into a route block of the configuration")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return Route{}, refuseRoute("it has options, and %s has none", scheme)
	case scheme == schemeLMTP && u.Host == "":
		return socketRoute(u.Path)
	case u.Path != "":
		return Route{}, refuseRoute("it has a path after the host")
	}
	r := Route{scheme: scheme, host: strings.ToLower(u.Hostname()), port: u.Port()}
	if err := checkHost(r.host); err != nil {
		return Route{}, err
	}
	if r.port == "" {
		if r.port = defaultPort(scheme); r.port == "" {
			return Route{}, refuseRoute("%s needs a port: %s://host:port", scheme, scheme)
		}
	}
	port, err := strconv.ParseUint(r.port, 10, 16)
	if err != nil || port == 0 {
		return Route{}, refuseRoute("the port is not in 1-65535")
	}
	r.port = strconv.FormatUint(port, 10)
	return r, nil
}

func defaultPort(scheme string) string {
	switch scheme {
	case schemeSMTP:
		return "25"
	case schemeSMTPS:
		return "465"
	default:
		return ""
	}
}

func checkHost(host string) error {
	if host == "" {
		return refuseRoute("no host")
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		if ip.Zone() != "" {
			return refuseRoute("a network address with a zone")
		}
		return nil
	}
	if len(host) > maxDomainBytes {
		return refuseRoute("host longer than %d bytes", maxDomainBytes)
	}
	for label := range strings.SplitSeq(host, ".") {
		// Underscores are no host name, but internal names have them.
		if err := checkLabel(strings.ReplaceAll(label, "_", "x"), false); err != nil {
			return refuseRoute("not a host name or address")
		}
	}
	return nil
}

func socketRoute(name string) (Route, error) {
	switch {
	case len(name) < 2 || path.Clean(name) != name:
		return Route{}, refuseRoute("want lmtp://host:port, or the absolute path of a socket as lmtp:///run/lmtp")
	case len(name) > maxSocketBytes:
		return Route{}, refuseRoute("path of the socket longer than %d bytes", maxSocketBytes)
	}
	return Route{scheme: schemeLMTP, path: name}, nil
}

func maildirRoute(folder string) (Route, error) {
	if folder == "" {
		return Route{}, refuseRoute("want maildir://folder")
	}
	if folder[0] == '/' {
		return Route{}, refuseRoute("the folder of a maildir is relative: maildir://folder, with two slashes")
	}
	for part := range strings.SplitSeq(folder, "/") {
		switch {
		case part == "" || len(part) > 255:
			return Route{}, refuseRoute("a part of the maildir's path is empty or too long")
		case part[0] == '.':
			return Route{}, refuseRoute("a part of the maildir's path begins with a dot")
		case part == "tmp" || part == "new" || part == "cur":
			return Route{}, refuseRoute("a part of the maildir's path is named tmp, new or cur")
		case strings.ContainsFunc(part, func(r rune) bool {
			return !strings.ContainsRune(maildirLetters, r)
		}):
			return Route{}, refuseRoute("the maildir's path holds other characters than letters, digits and . _ @ + = -")
		}
	}
	return Route{scheme: schemeMaildir, path: folder}, nil
}

const maildirLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._@+=-"

// String is the route as it is written; "" for none. Parsing it gives the same
// Route.
func (r Route) String() string {
	switch {
	case r.IsZero():
		return ""
	case r.scheme == schemeMX:
		return schemeMX
	case r.scheme == schemeName:
		return r.path
	case r.scheme == schemeMaildir, r.path != "":
		return r.scheme + "://" + r.path
	default:
		return r.scheme + "://" + net.JoinHostPort(r.host, r.port)
	}
}

// IsZero reports whether r is no route.
func (r Route) IsZero() bool { return r == Route{} }

func (r Route) maildir() bool { return r.scheme == schemeMaildir }

// local reports whether r leads into mailboxes, and not to another host that hands on.
func (r Route) local() bool { return r.scheme == schemeMaildir || r.scheme == schemeLMTP }

// IsName reports whether r is the name of a route.
func (r Route) IsName() bool { return r.scheme == schemeName }

// endpoint is where to connect for a route with a host of its own.
func (r Route) endpoint() relay.Endpoint {
	e := relay.Endpoint{Network: "tcp", Address: net.JoinHostPort(r.host, r.port), ServerName: r.host}
	if r.path != "" {
		e = relay.Endpoint{Network: "unix", Address: r.path}
	}
	e.LMTP = r.scheme == schemeLMTP
	e.ImplicitTLS = r.scheme == schemeSMTPS
	return e
}

func refuseRoute(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrRoute}, args...)...)
}
