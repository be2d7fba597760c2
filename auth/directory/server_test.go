package directory

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// entry is one of a fake directory.
type entry struct {
	dn, password string
	attributes   map[string]string
}

// fake is a directory that knows entries by the filter that finds them.
type fake struct {
	t        *testing.T
	cert     tls.Certificate
	startTLS bool
	found    map[string][]entry
	refuse   uint16 // if set, what a bind of an entry is answered with

	mu    sync.Mutex
	binds []string // who bound; "" is anonymous
}

const service = "cn=gateway,dc=example,dc=com"

// serve starts a fake, and returns the Config by which it is asked.
func (f *fake) serve(t *testing.T) Config {
	t.Helper()
	f.t = t
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	f.cert = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { f.converse(conn) })
		}
	})
	t.Cleanup(func() { _ = ln.Close(); serving.Wait() })
	sum := sha256.Sum256(der)
	return Config{
		Name: "fake", Address: ln.Addr().String(), StartTLS: f.startTLS, Pin: hex.EncodeToString(sum[:]), BindDN: service, BindPassword: secret("of the service"),
		Base: "dc=example,dc=com", Filter: "(uid={user})", Mapping: Mapping{Groups: map[string]string{"ftp": "users"}},
	}
}

// converse answers one connection (RFC 4511, section 4).
func (f *fake) converse(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	cfg := &tls.Config{Certificates: []tls.Certificate{f.cert}}
	if !f.startTLS {
		conn = tls.Server(conn, cfg)
	}
	for {
		packet, err := ber.ReadPacket(conn)
		if err != nil || len(packet.Children) < 2 {
			return
		}
		id, op := packet.Children[0].Value.(int64), packet.Children[1]
		switch op.Tag {
		case ldap.ApplicationExtendedRequest: // StartTLS
			reply(conn, id, result(ldap.ApplicationExtendedResponse, ldap.LDAPResultSuccess))
			conn = tls.Server(conn, cfg)
		case ldap.ApplicationBindRequest:
			reply(conn, id, result(ldap.ApplicationBindResponse, f.bind(op.Children[1].Value.(string), op.Children[2].Data.String())))
		case ldap.ApplicationSearchRequest:
			filter, err := ldap.DecompileFilter(op.Children[6])
			if err != nil {
				f.t.Errorf("filter: %v", err)
			}
			for _, e := range f.found[filter] {
				reply(conn, id, e.packet())
			}
			reply(conn, id, result(ldap.ApplicationSearchResultDone, ldap.LDAPResultSuccess))
		default:
			return
		}
	}
}

func (f *fake) bind(dn, password string) uint16 {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.binds = append(f.binds, dn)
	if dn == service && password == "of the service" {
		return ldap.LDAPResultSuccess
	}
	for _, list := range f.found {
		for _, e := range list {
			switch {
			case e.dn != dn:
			case password == "": // RFC 4513, section 5.1.2: it is anonymous, and good
				return ldap.LDAPResultSuccess
			case f.refuse != 0:
				return f.refuse
			case e.password == password:
				return ldap.LDAPResultSuccess
			}
		}
	}
	return ldap.LDAPResultInvalidCredentials
}

func (f *fake) bound() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	binds := f.binds
	f.binds = nil
	return binds
}

func reply(conn net.Conn, id int64, op *ber.Packet) {
	p := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, id, ""))
	p.AppendChild(op)
	_, _ = conn.Write(p.Bytes())
}

func octets(s string) *ber.Packet {
	return ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, s, "")
}

func result(tag ber.Tag, code uint16) *ber.Packet {
	p := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tag, nil, "")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, int64(code), ""))
	p.AppendChild(octets(""))
	p.AppendChild(octets(""))
	return p
}

func (e entry) packet() *ber.Packet {
	p := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationSearchResultEntry, nil, "")
	p.AppendChild(octets(e.dn))
	list := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
	for name, value := range e.attributes {
		attribute := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
		attribute.AppendChild(octets(name))
		values := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSet, nil, "")
		values.AppendChild(octets(value))
		attribute.AppendChild(values)
		list.AppendChild(attribute)
	}
	p.AppendChild(list)
	return p
}
