package session

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"net/netip"
)

// Protocol is what a listener speaks.
type Protocol string

const (
	FTP        Protocol = "ftp"
	SFTP       Protocol = "sftp"
	Submission Protocol = "submission"
	Relay      Protocol = "relay"
	Console    Protocol = "console"
	CLI        Protocol = "cli"
)

// ChannelKind is what protects the bytes of a connection. The zero value is
// Plain: a channel that nobody vouched for is not protected.
type ChannelKind uint8

const (
	Plain ChannelKind = iota
	TLS
	SSH
)

// Encrypted reports whether a credential sent over the channel is hidden from
// the network.
func (k ChannelKind) Encrypted() bool { return k == TLS || k == SSH }

func (k ChannelKind) String() string {
	switch k {
	case TLS:
		return "tls"
	case SSH:
		return "ssh"
	default:
		return "plain"
	}
}

// MarshalText writes the word used in the record and in the rules.
func (k ChannelKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads the word back; anything unknown is an error.
func (k *ChannelKind) UnmarshalText(text []byte) error {
	switch string(text) {
	case "plain":
		*k = Plain
	case "tls":
		*k = TLS
	case "ssh":
		*k = SSH
	default:
		return fmt.Errorf("channel kind %q: want plain, tls or ssh", text)
	}
	return nil
}

// Channel is the protection that a connection has at this moment, as recorded.
type Channel struct {
	Kind    ChannelKind `json:"kind"`
	Version string      `json:"version,omitempty"` // "TLS 1.3"
	Cipher  string      `json:"cipher,omitempty"`  // IANA name of the TLS suite
	Group   string      `json:"group,omitempty"`   // TLS key exchange group
	Resumed bool        `json:"resumed,omitempty"`
	// ClientCert is the SHA-256 of the client certificate's public key info, in hex.
	ClientCert string `json:"client_cert,omitempty"`
	SSHKex     string `json:"ssh_kex,omitempty"`
	SSHCipher  string `json:"ssh_cipher,omitempty"`
	SSHMAC     string `json:"ssh_mac,omitempty"`
	// SSHProfile is the word of the SSHProfile that was offered.
	SSHProfile string `json:"ssh_profile,omitempty"`
}

// oldTLS reports whether c is TLS of a version that is offered to devices only.
func (c Channel) oldTLS() bool {
	return c.Kind == TLS && (c.Version == tls.VersionName(tls.VersionTLS10) || c.Version == tls.VersionName(tls.VersionTLS11))
}

// facts are what rules may look at; none of a channel that is not TLS.
func (c Channel) facts() TLSFacts {
	if c.Kind != TLS {
		return TLSFacts{}
	}
	return TLSFacts{Version: c.Version, Cipher: c.Cipher, Group: c.Group, Resumed: c.Resumed, Certificate: c.ClientCert != ""}
}

// TLSChannel describes a TLS connection whose handshake is complete.
func TLSChannel(state tls.ConnectionState) Channel {
	c := Channel{
		Kind:    TLS,
		Version: tls.VersionName(state.Version),
		Cipher:  tls.CipherSuiteName(state.CipherSuite),
		Resumed: state.DidResume,
	}
	if state.CurveID != 0 {
		c.Group = state.CurveID.String()
	}
	if len(state.PeerCertificates) > 0 {
		sum := sha256.Sum256(state.PeerCertificates[0].RawSubjectPublicKeyInfo)
		c.ClientCert = hex.EncodeToString(sum[:])
	}
	return c
}

// Peer is one accepted connection, before anything is known of who it is.
type Peer struct {
	Conn     string // unique id of the connection, from NewID
	Listener string // the listener's name in the configuration
	Protocol Protocol
	Remote   netip.AddrPort
	Local    netip.AddrPort
}

// SourcePrefix is the network that stands for the peer when sources are counted:
// the address itself for IPv4, its /64 for IPv6, where one host may use any
// address of it.
func (p Peer) SourcePrefix() netip.Prefix { return SourcePrefix(p.Remote.Addr()) }

// SourcePrefix is Peer.SourcePrefix for a bare address.
func SourcePrefix(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	prefix, err := addr.Prefix(bits)
	if err != nil { // the zero Addr, in tests without a network
		return netip.Prefix{}
	}
	return prefix
}
