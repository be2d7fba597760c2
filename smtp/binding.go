package smtp

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"net"
)

// The kinds of channel binding (RFC 9266; RFC 5929, sections 3 and 4).
const (
	bindingExporter = "tls-exporter"
	bindingUnique   = "tls-unique"
	bindingEndPoint = "tls-server-end-point"

	exporterLabel = "EXPORTER-Channel-Binding"
	exporterBytes = 32
)

// bindings are what this connection can be told by. Which of them crypto/tls gives
// depends on the version, and on whether the session was resumed.
func (c *conn) bindings() map[string][]byte {
	if c.tls == nil {
		return nil
	}
	found := make(map[string][]byte)
	state := c.tls.ConnectionState()
	if data, err := state.ExportKeyingMaterial(exporterLabel, nil, exporterBytes); err == nil {
		found[bindingExporter] = data
	}
	if len(state.TLSUnique) > 0 {
		found[bindingUnique] = state.TLSUnique
	}
	if o, ok := c.tls.NetConn().(*offering); ok && o.certificate != nil {
		if data := endPoint(o.certificate); data != nil {
			found[bindingEndPoint] = data
		}
	}
	return found
}

// endPoint is the hash of a certificate as tls-server-end-point has it: by the hash
// of its signature, SHA-256 instead of one that is too weak; nil if that has none.
func endPoint(der []byte) []byte {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil
	}
	switch cert.SignatureAlgorithm {
	case x509.SHA384WithRSA, x509.SHA384WithRSAPSS, x509.ECDSAWithSHA384:
		sum := sha512.Sum384(der)
		return sum[:]
	case x509.SHA512WithRSA, x509.SHA512WithRSAPSS, x509.ECDSAWithSHA512:
		sum := sha512.Sum512(der)
		return sum[:]
	case x509.PureEd25519, x509.UnknownSignatureAlgorithm:
		return nil
	default:
		sum := sha256.Sum256(der)
		return sum[:]
	}
}

// offering is a connection below TLS that notes which certificate it was shown.
type offering struct {
	net.Conn
	certificate []byte // nil if a session was resumed
}

// notingCertificates makes cfg tell the connection which certificate was chosen:
// crypto/tls does not. It asks a function for one only if it has none, or is told a
// name by the client, so that the choice becomes ours.
func notingCertificates(cfg *tls.Config) {
	choose, certificates := cfg.GetCertificate, cfg.Certificates
	cfg.Certificates = nil
	cfg.GetCertificate = func(hello *tls.ClientHelloInfo) (cert *tls.Certificate, err error) {
		if choose != nil {
			if cert, err = choose(hello); err != nil {
				return nil, err
			}
		}
		for i := range certificates {
			if cert == nil && hello.SupportsCertificate(&certificates[i]) == nil {
				cert = &certificates[i]
			}
		}
		if cert == nil && len(certificates) > 0 {
			cert = &certificates[0] // as crypto/tls does
		}
		if o, ok := hello.Conn.(*offering); ok && cert != nil {
			o.certificate = cert.Certificate[0]
		}
		return cert, nil
	}
}
