package admin

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"gateway/certs"
	"gateway/session"
)

// Keys are the certificates and host keys of an installation.
type Keys struct {
	Certificates []certs.Info `json:"certificates"`
	HostKeys     []string     `json:"host_keys"` // fingerprints
	// NextHostKeys take the place of HostKeys at Takeover.
	NextHostKeys []string   `json:"next_host_keys,omitempty"`
	Takeover     *time.Time `json:"takeover,omitempty"`
}

// CertQuery asks for a certificate: that of the internal authority, or the one
// that clients are shown.
type CertQuery struct {
	Authority bool `json:"authority"`
}

// PEM is a certificate as text.
type PEM struct {
	PEM string `json:"pem"`
}

// withKeys calls do with the keys of the running gateway, or opened for it.
func (s *Service) withKeys(ctx context.Context, do func(*certs.Source, *certs.HostKeys) error) (err error) {
	if s.Certificates != nil {
		return do(s.Certificates, s.HostKeys)
	}
	source, keys, err := s.OpenKeys(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	return do(source, keys)
}

func (s *Service) certList(ctx context.Context, _ Nothing) (out Keys, err error) {
	err = s.withKeys(ctx, func(source *certs.Source, keys *certs.HostKeys) error {
		set := keys.Set()
		out = Keys{Certificates: source.Describe(), HostKeys: certs.Fingerprints(set.Serving)}
		if len(set.Next) > 0 {
			takeover := set.Takeover.UTC()
			out.NextHostKeys, out.Takeover = certs.Fingerprints(set.Next), &takeover
		}
		return nil
	})
	return out, err
}

func (s *Service) certShow(ctx context.Context, in CertQuery) (out PEM, err error) {
	err = s.withKeys(ctx, func(source *certs.Source, _ *certs.HostKeys) error {
		if !in.Authority {
			var err error
			out.PEM, err = served(source)
			return err
		}
		authority := source.CA()
		if authority == nil {
			return fmt.Errorf("the certificate comes from files, so there is no internal authority: %w", session.ErrNotExist)
		}
		out.PEM = string(authority)
		return nil
	})
	return out, err
}

// served is the certificate with its chain as a client is shown it.
func served(source *certs.Source) (string, error) {
	cert, err := source.TLSConfig().GetCertificate(&tls.ClientHelloInfo{SupportedVersions: []uint16{tls.VersionTLS13}})
	if err != nil {
		return "", err
	}
	var text strings.Builder
	for _, der := range cert.Certificate {
		if err := pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: der}); err != nil {
			return "", err
		}
	}
	return text.String(), nil
}

func (s *Service) certRenew(ctx context.Context, _ Nothing) (list []certs.Info, err error) {
	err = s.withKeys(ctx, func(source *certs.Source, _ *certs.HostKeys) error {
		return s.record(ctx, verbRenew, "certificate", func() (any, any, error) {
			before := source.Describe()
			err := source.Renew(ctx)
			list = source.Describe()
			return before, list, err
		})
	})
	return list, err
}

// HostKeyRenewal asks for new host keys.
type HostKeyRenewal struct {
	// Now has them take over at once, for when an old one is known to others.
	Now bool `json:"now"`
}

func (s *Service) hostKeyList(ctx context.Context, _ Nothing) (list []certs.HostKeyInfo, err error) {
	err = s.withKeys(ctx, func(_ *certs.Source, keys *certs.HostKeys) error {
		list = keys.Set().Describe()
		return nil
	})
	return list, err
}

func (s *Service) hostKeyRenew(ctx context.Context, in HostKeyRenewal) (list []certs.HostKeyInfo, err error) {
	err = s.withKeys(ctx, func(_ *certs.Source, keys *certs.HostKeys) error {
		return s.record(ctx, verbRenew, "host keys", func() (any, any, error) {
			before := keys.Set().Describe()
			err := keys.Renew(in.Now)
			list = keys.Set().Describe()
			return before, list, err
		})
	})
	return list, err
}
