package ftp

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"gateway/session"
)

// ticketPrefix marks our entry among the extra data of a TLS ticket.
const ticketPrefix = "gateway-ftp-control:"

// boundTLS are the TLS settings of one control connection and its data
// connections. Their tickets carry a secret of the connection, so that a data
// connection that resumes was made by whoever speaks on the control connection.
type boundTLS struct {
	control, data *tls.Config
}

// bind makes the settings for one connection. It is called before the first
// handshake and its result is kept until the connection ends: the ticket keys
// belong to base, and a certificate renewed in between must not void them.
func bind(base *tls.Config) *boundTLS {
	mark := ticketPrefix + rand.Text()
	return &boundTLS{
		control: bindConfig(base, base, mark, "ftp"),
		data:    bindConfig(base, base, mark, "ftp-data", "ftp"),
	}
}

// extensionPSK is the number of pre_shared_key (RFC 8446, section 4.2).
const extensionPSK = 41

// withoutTicket returns a copy of c that takes a TLS 1.3 client's ticket but gives
// it no new one. A client that only sends never reads it, and when it closes with
// the ticket unread its system resets the connection: the tail of the upload is
// lost, or cannot be told from a cut one. Clients have the tickets of their control
// connection and of downloads. Under TLS 1.2 the ticket is part of the handshake.
func withoutTicket(c *tls.Config) *tls.Config {
	s := c.Clone()
	s.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		var own *tls.Config // nobody else's, so that it may be changed below
		if c.GetConfigForClient != nil {
			var err error
			if own, err = c.GetConfigForClient(hello); err != nil {
				return nil, err
			}
		}
		if own == nil {
			own = c.Clone()
			own.GetConfigForClient = nil
		}
		switch {
		case !slices.Contains(hello.SupportedVersions, tls.VersionTLS13), own.MaxVersion != 0 && own.MaxVersion < tls.VersionTLS13:
		case !slices.Contains(hello.Extensions, extensionPSK):
			own.SessionTicketsDisabled = true
		default:
			// Tickets disabled from the start would not be taken either.
			unwrap := own.UnwrapSession
			own.UnwrapSession = func(ticket []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
				own.SessionTicketsDisabled = true
				return unwrap(ticket, cs)
			}
		}
		return own, nil
	}
	return s
}

// bindConfig returns a copy of c whose tickets, encrypted with the keys of base,
// carry mark. The ALPN protocols keep out a client that meant to speak something
// else (ALPACA); a client that names none is taken.
func bindConfig(base, c *tls.Config, mark string, protocols ...string) *tls.Config {
	b := c.Clone()
	b.NextProtos = protocols
	b.SessionTicketsDisabled = false
	b.DynamicRecordSizingDisabled = true // files are read whole, not awaited byte by byte
	if b.MinVersion < tls.VersionTLS12 {
		b.MinVersion = tls.VersionTLS12
	}
	b.WrapSession = func(cs tls.ConnectionState, ss *tls.SessionState) ([]byte, error) {
		ss.Extra = append(ss.Extra, []byte(mark))
		return base.EncryptTicket(cs, ss)
	}
	// No session and no error: a full handshake follows, which can then be refused
	// with a reply.
	b.UnwrapSession = func(ticket []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
		ss, err := base.DecryptTicket(ticket, cs)
		if err != nil || ss == nil || !marked(ss, mark) {
			return nil, nil
		}
		return ss, nil
	}
	if choose := b.GetConfigForClient; choose != nil {
		// What it returns replaces b, so it needs the same hooks.
		b.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			chosen, err := choose(hello)
			if err != nil || chosen == nil {
				return nil, err
			}
			chosen = bindConfig(base, chosen, mark, protocols...)
			chosen.GetConfigForClient = nil
			return chosen, nil
		}
	}
	return b
}

// marked reports whether the ticket carries mark and no other of our marks.
func marked(ss *tls.SessionState, mark string) bool {
	found := false
	for _, extra := range ss.Extra {
		if entry := string(extra); strings.HasPrefix(entry, ticketPrefix) {
			if entry != mark {
				return false
			}
			found = true
		}
	}
	return found
}

// secure does the TLS handshake after AUTH, and forgets everything said in clear.
func (c *conn) secure(ctx context.Context) {
	if err := c.handshake(ctx); err != nil {
		c.close(err)
		return
	}
	c.logout()
	c.reset()
	c.pbsz = false
}

// handshake puts TLS on the control connection.
func (c *conn) handshake(ctx context.Context) error {
	limit := time.Now().Add(handshakeTimeout)
	if grace := c.began.Add(c.cfg.LoginGrace); grace.Before(limit) {
		limit = grace
	}
	ctx, cancel := context.WithDeadline(ctx, limit)
	defer cancel()
	_ = c.accept.SetDeadline(limit)
	c.bound = bind(c.cfg.TLS)
	secured := tls.Server(c.accept, c.bound.control)
	if err := secured.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("%w: %w", session.ErrHandshake, err)
	}
	_ = c.accept.SetDeadline(time.Time{})
	c.tls = secured
	c.speak(secured)
	c.attempt.Upgraded(session.TLSChannel(secured.ConnectionState()))
	return nil
}

// secured reports whether the control connection is encrypted.
func (c *conn) secured() bool { return c.tls != nil && !c.clear }

// unsecure ends TLS on the control connection after CCC. The session goes on; a
// credential that came now would come in clear.
func (c *conn) unsecure() {
	if err := c.tls.CloseWrite(); err != nil {
		c.close(fmt.Errorf("end TLS: %w", err))
		return
	}
	c.clear = true
	c.speak(&pastTLS{Conn: c.accept})
	c.attempt.Cleared()
}

// pastTLS reads what a client says in clear behind the end of its TLS session. The
// close_notify before it is skipped, which some clients send and some do not (curl
// has both): no command begins with a byte that begins a TLS record. A read that a
// deadline ended goes on where it was.
type pastTLS struct {
	net.Conn
	clear   bool // the first byte of clear text was seen
	header  [5]byte
	have    int   // of the header
	left    int64 // of the record behind it
	skipped int64
}

// maxTrailing is how many bytes of TLS records may come before.
const maxTrailing = 64 << 10

func (p *pastTLS) Read(b []byte) (int, error) {
	for !p.clear && len(b) > 0 {
		switch {
		case p.left > 0:
			n, err := io.CopyN(io.Discard, p.Conn, p.left)
			if p.left -= n; err != nil {
				return 0, err
			}
		case p.have < len(p.header):
			n, err := p.Conn.Read(p.header[p.have : p.have+1])
			if err != nil {
				return 0, err
			}
			if p.have == 0 && n == 1 && (p.header[0] < recordFirst || p.header[0] > recordLast) {
				p.clear = true
				b[0] = p.header[0]
				return 1, nil
			}
			p.have += n
		default:
			p.left, p.have = int64(binary.BigEndian.Uint16(p.header[3:])), 0
			if p.skipped += p.left; p.skipped > maxTrailing {
				return 0, fmt.Errorf("%w: TLS goes on behind its end", session.ErrProtocol)
			}
		}
	}
	return p.Conn.Read(b)
}

// The types of TLS records (RFC 8446, appendix B.1).
const (
	recordFirst = 20
	recordLast  = 24
)

// certificate is the key of the certificate that the client showed, if that is
// valid now.
func (c *conn) certificate() (session.Key, bool) {
	if !c.secured() {
		return session.Key{}, false
	}
	shown := c.tls.ConnectionState().PeerCertificates
	if len(shown) == 0 {
		return session.Key{}, false
	}
	if now := time.Now(); now.Before(shown[0].NotBefore) || now.After(shown[0].NotAfter) {
		c.log.Warn("client certificate not valid now", "from", shown[0].NotBefore, "to", shown[0].NotAfter)
		return session.Key{}, false
	}
	return session.CertificateKey(shown[0]), true
}

// sameCertificate reports whether two connections showed the same client
// certificate, or both none.
func sameCertificate(a, b tls.ConnectionState) bool {
	if len(a.PeerCertificates) == 0 || len(b.PeerCertificates) == 0 {
		return len(a.PeerCertificates) == len(b.PeerCertificates)
	}
	return a.PeerCertificates[0].Equal(b.PeerCertificates[0])
}
