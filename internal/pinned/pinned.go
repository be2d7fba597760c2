// Package pinned makes sure that a server which the gateway connects to is who it is said
// to be: by a pinned certificate, by an authority that vouches for it, or, where nothing is
// protected, by an address that does not leave one's own network.
package pinned

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// TLS is for a client of the server at address, HOST:PORT. pin is the SHA-256 of its
// certificate in hex, with or without colons. An empty one trusts roots; nil are those of
// the system.
func TLS(address, pin string, roots *x509.CertPool) *tls.Config {
	host, _, _ := net.SplitHostPort(address)
	cfg := &tls.Config{ServerName: host, RootCAs: roots}
	if pin == "" {
		return cfg
	}
	// The pin says more than any authority could.
	cfg.InsecureSkipVerify = true
	cfg.VerifyConnection = func(state tls.ConnectionState) error {
		sum := sha256.Sum256(state.PeerCertificates[0].Raw)
		got, want := hex.EncodeToString(sum[:]), plain(pin)
		if subtle.ConstantTimeCompare([]byte(got), []byte(want)) != 1 {
			return fmt.Errorf("its certificate is %s, and pinned is %s: if it was replaced, change pin; else somebody is between", got, want)
		}
		return nil
	}
	return cfg
}

// Handshake makes a connection one over TLS.
func Handshake(ctx context.Context, conn net.Conn, cfg *tls.Config) (net.Conn, error) {
	over := tls.Client(conn, cfg)
	if err := over.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return over, nil
}

func plain(pin string) string { return strings.ToLower(strings.ReplaceAll(pin, ":", "")) }

// Valid reports whether a pin could be that of a certificate.
func Valid(pin string) bool {
	sum, err := hex.DecodeString(plain(pin))
	return err == nil && len(sum) == sha256.Size
}

// Private reports whether a host is an address that does not leave one's own network.
func Private(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && (a.IsPrivate() || a.IsLoopback())
}
