package property

import (
	"crypto/tls"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"gateway/session"
)

// A situation is one connection: where and when it comes from, and what its client
// says. Everything that a rule may look at follows from it and from the world.
type situation struct {
	Listener string
	At       time.Time
	Remote   string
	// Upgrade is AUTH TLS or STARTTLS.
	Upgrade bool
	TLS     tlsChoice
	// Software is what the client says it is: by CLNT, EHLO, or its version of SSH.
	Software string
	// First is a name that is said before User, or "". Early is a client that says it,
	// and over FTP what it is, before the upgrade and not after it.
	First  string
	Early  bool
	User   string
	Proofs []proof
	// Ways are how a client of SMTP logs in, until it is, one with each of its Proofs: a
	// mechanism, with "initial" if its first message comes with AUTH.
	Ways []string
	// Insist is a client of FTP that sends its password although the name was refused. It
	// says its name anew for each of its Proofs.
	Insist bool
	// Slow is a client that takes its time between a name and its password, so that the
	// rules may change meanwhile.
	Slow bool
}

// A proof is what the client has. Secret is a name of keyNames for a key, or
// knownCertificate or strangeCertificate.
type proof struct {
	Method session.Method
	Secret string
}

// tlsChoice is what the client wants of TLS.
type tlsChoice struct {
	Version     uint16
	Group       tls.CurveID
	Certificate string
	// Again is a client that has spoken to the server before, and resumes.
	Again bool
}

func listeners() []string { return []string{"ftp", "ftps", "sftp", "submission", "submissions"} }

func (s *situation) protocol() session.Protocol {
	switch s.Listener {
	case "ftp", "ftps":
		return session.FTP
	case "sftp":
		return session.SFTP
	default:
		return session.Submission
	}
}

// implicit reports whether TLS comes first.
func (s *situation) implicit() bool { return s.Listener == "ftps" || s.Listener == "submissions" }

func (s *situation) addr() netip.Addr { return netip.MustParseAddr(s.Remote) }

// software are the clients of each protocol, with the class that each is of.
func software(p session.Protocol) map[string]session.Client {
	switch p {
	case session.FTP:
		return map[string]session.Client{"": session.ClientUnknown, "WinSCP-release-6.3": session.ClientWinSCP, "curl": session.ClientCurl, "something": session.ClientOther}
	case session.SFTP:
		return map[string]session.Client{"SSH-2.0-WinSCP_release_6.3": session.ClientWinSCP, "SSH-2.0-OpenSSH_9.9": session.ClientOpenSSH, "SSH-2.0-x": session.ClientOther}
	default:
		return map[string]session.Client{"scanner-7": session.ClientPrinter, "curl.local": session.ClientCurl, "host.example.net": session.ClientOther}
	}
}

func (s *situation) kind() kind {
	switch over := s.Upgrade || s.implicit(); {
	case s.protocol() == session.SFTP:
		return kindSSH
	case s.protocol() == session.FTP && over:
		return kindFTPS
	case s.protocol() == session.FTP:
		return kindFTP
	case over:
		return kindMails
	default:
		return kindMail
	}
}

// class is the class of the client.
func (s *situation) class() session.Client { return software(s.protocol())[s.Software] }

// A kind is a way in: each costs the test something else.
type kind string

const (
	kindFTP   kind = "ftp in clear"
	kindFTPS  kind = "ftp over TLS"
	kindMail  kind = "submission in clear"
	kindMails kind = "submission over TLS"
	kindSSH   kind = "sftp"
)

func kinds() []kind { return []kind{kindFTP, kindFTPS, kindMail, kindMails, kindSSH} }

// randomSituation is one of a kind, without its time.
func randomSituation(r *rand.Rand, w *world, k kind) situation {
	s := situation{
		Remote: pick(r, "10.1.2.3", "10.1.9.9", "10.2.0.1", "192.0.2.7", "192.0.2.200", "2001:db8:1::7", "2001:db8:2::7"),
		User:   pick(r, allNames()...),
	}
	if r.IntN(2) == 0 {
		s.User = pick(r, knownNames()...)
	}
	switch k {
	case kindFTP, kindFTPS:
		s.Listener, s.Insist = "ftp", r.IntN(2) == 0
	case kindMail, kindMails:
		s.Listener = "submission"
		for range 1 + r.IntN(2) {
			s.Ways = append(s.Ways, pick(r, "PLAIN", "PLAIN initial", "LOGIN", "LOGIN initial", "SCRAM-SHA-256", "SCRAM-SHA-256 initial"))
		}
	default:
		s.Listener = "sftp"
	}
	if k != kindSSH && r.IntN(3) == 0 {
		s.First = pick(r, allNames()...)
	}
	s.Early = k != kindSSH && r.IntN(3) == 0
	if k == kindFTPS || k == kindMails {
		if s.Upgrade = r.IntN(2) == 0; !s.Upgrade {
			s.Listener += "s"
		}
		s.TLS = tlsChoice{
			Version: pick[uint16](r, tls.VersionTLS12, tls.VersionTLS13), Group: pick(r, tls.X25519, tls.CurveP256, tls.X25519MLKEM768),
			Certificate: pick(r, "", "", "", knownCertificate, strangeCertificate), Again: r.IntN(4) == 0,
		}
		if s.TLS.Certificate != "" && s.Ways != nil && r.IntN(3) > 0 {
			s.Ways[0] = pick(r, "EXTERNAL", "EXTERNAL initial")
		}
	}
	s.Software = pick(r, slices.Sorted(maps.Keys(software(s.protocol())))...)
	s.Proofs, s.Slow = s.randomProofs(r, w), r.IntN(10) == 0
	return s
}

// hesitation is how long a slow client waits, less than the gateway does.
const hesitation = 10 * time.Second

// hesitate waits if the client is slow.
func (s *situation) hesitate() {
	if s.Slow {
		time.Sleep(hesitation)
	}
}

// randomProofs are mostly right.
func (s *situation) randomProofs(r *rand.Rand, w *world) []proof {
	one := func(m session.Method) proof {
		who, _ := w.subject(s.User)
		p := proof{Method: m, Secret: who.password}
		switch m {
		case session.MethodPublicKey:
			if p.Secret = who.key; who.key == "" || r.IntN(5) == 0 {
				p.Secret = strangeKey
			}
			return p
		case session.MethodCode:
			p.Secret = who.code
		}
		if m == session.MethodPassword && who.token != "" && r.IntN(4) == 0 {
			p = proof{Method: session.MethodToken, Secret: who.token}
		}
		if r.IntN(5) == 0 {
			p = proof{Method: m, Secret: "wrong"}
		}
		return p
	}
	const password, key, asked = session.MethodPassword, session.MethodPublicKey, session.MethodKeyboardInteractive
	switch s.protocol() {
	case session.FTP:
		return []proof{one(password), one(password)}[:1+r.IntN(2)]
	case session.Submission:
		var out []proof
		for _, way := range s.Ways {
			p := one(password)
			switch mechanism, _, _ := strings.Cut(way, " "); mechanism {
			case "SCRAM-SHA-256":
				p.Method = session.MethodSCRAM
			case "EXTERNAL":
				p = proof{key, s.TLS.Certificate}
			}
			out = append(out, p)
		}
		return out
	}
	var out []proof
	for _, m := range pick(r, []session.Method{password}, []session.Method{key}, []session.Method{asked}, []session.Method{key, password},
		[]session.Method{password, session.MethodCode}, []session.Method{key, session.MethodCode}, []session.Method{key, asked}) {
		out = append(out, one(m))
	}
	return out
}

// String writes the situation as it stands in a test.
func (s *situation) String() string {
	var proofs []string
	for _, p := range s.Proofs {
		proofs = append(proofs, fmt.Sprintf("{%q, %q}", p.Method, p.Secret))
	}
	return fmt.Sprintf("situation{\n\tListener: %q, At: at(%q), Remote: %q, Upgrade: %v,\n\tTLS: tlsChoice{Version: %#x, Group: %d, Certificate: %q, Again: %v},\n"+
		"\tSoftware: %q, First: %q, Early: %v, User: %q, Proofs: []proof{%s}, Ways: %#v, Insist: %v, Slow: %v,\n}",
		s.Listener, s.At.Format(time.RFC3339), s.Remote, s.Upgrade, s.TLS.Version, s.TLS.Group, s.TLS.Certificate, s.TLS.Again,
		s.Software, s.First, s.Early, s.User, strings.Join(proofs, ", "), s.Ways, s.Insist, s.Slow)
}
