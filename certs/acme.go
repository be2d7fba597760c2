package certs

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// acme is a CA that is asked over the network, and what it has issued.
type acme struct {
	names  []string
	magic  *certmagic.Config
	cache  *certmagic.Cache
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func (a *ACME) validate(hostname string) error {
	var errs []error
	if !a.Agree {
		errs = append(errs, errors.New("acme: the terms of the CA are not agreed to: set agree"))
	}
	if len(a.Names) == 0 && hostname == "" {
		errs = append(errs, errors.New("acme: no name to get a certificate for"))
	}
	if a.HTTPPort < 0 && a.TLSALPNPort < 0 {
		errs = append(errs, errors.New("acme: every challenge is switched off"))
	}
	if a.HTTPPort > 65535 || a.TLSALPNPort > 65535 {
		errs = append(errs, errors.New("acme: a port is above 65535"))
	}
	if a.Directory != "" {
		if u, err := url.Parse(a.Directory); err != nil || u.Scheme != "https" || u.Host == "" {
			errs = append(errs, fmt.Errorf("acme: directory %q is no https URL", a.Directory))
		}
	}
	return errors.Join(errs...)
}

// openACME loads what was issued before and begins to manage the names.
func openACME(ctx context.Context, cfg Config, log *slog.Logger) (*acme, error) {
	settings := *cfg.ACME
	var names []string
	for _, name := range settings.Names {
		names = append(names, strings.ToLower(name))
	}
	if len(names) == 0 {
		names = []string{strings.ToLower(cfg.Hostname)}
	}
	var roots *x509.CertPool
	if settings.Roots != "" {
		content, err := readCertFile(settings.Roots)
		if err != nil {
			return nil, fmt.Errorf("acme: read roots: %w", err)
		}
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM(content) {
			return nil, fmt.Errorf("acme: %s holds no certificate", settings.Roots)
		}
	}
	keyType := certmagic.P256
	if cfg.RSA {
		keyType = certmagic.RSA2048
	}
	// The context of Open may end with the start; the work goes on until Close.
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	a := &acme{names: names, cancel: cancel}
	logger := zap.New(bridge{log: log})
	a.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert:   func(certmagic.Certificate) (*certmagic.Config, error) { return a.magic, nil },
		RenewCheckInterval: settings.CheckInterval,
		Logger:             logger,
	})
	a.magic = certmagic.New(a.cache, certmagic.Config{
		Storage:            &certmagic.FileStorage{Path: filepath.Join(cfg.Dir, "acme")},
		KeySource:          certmagic.StandardKeyGenerator{KeyType: keyType},
		DefaultServerName:  names[0], // clients of FTP and SMTP often send no name
		FallbackServerName: names[0],
		Logger:             logger,
	})
	a.magic.Issuers = []certmagic.Issuer{certmagic.NewACMEIssuer(a.magic, certmagic.ACMEIssuer{
		CA:                      settings.Directory,
		Email:                   settings.Email,
		Agreed:                  settings.Agree,
		Profile:                 settings.Profile,
		TrustedRoots:            roots,
		ListenHost:              settings.ListenHost,
		AltHTTPPort:             max(settings.HTTPPort, 0),
		AltTLSALPNPort:          max(settings.TLSALPNPort, 0),
		DisableHTTPChallenge:    settings.HTTPPort < 0,
		DisableTLSALPNChallenge: settings.TLSALPNPort < 0,
		Logger:                  logger,
	})}
	a.load(work, log)
	if err := a.magic.ManageAsync(work, names); err != nil {
		a.close()
		return nil, fmt.Errorf("acme: manage certificates: %w", err)
	}
	return a, nil
}

// loadTimeout bounds what a start waits for certificates that are in storage
// already: certmagic may ask for their OCSP status.
const loadTimeout = 10 * time.Second

// load puts in force what was issued before, so that a start does not show the
// internal certificate first. ManageAsync leaves alone what it finds loaded, so
// that what is due is renewed from here.
func (a *acme) load(work context.Context, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(work, loadTimeout)
	defer cancel()
	due := false
	for _, name := range a.names {
		cert, err := a.magic.CacheManagedCertificate(ctx, name)
		switch {
		case err == nil:
			due = due || cert.NeedsRenewal(a.magic)
		case !errors.Is(err, fs.ErrNotExist):
			log.Warn("acme: load certificate", "name", name, "err", err)
		}
	}
	if !due {
		return
	}
	a.wg.Go(func() {
		if err := a.cache.RenewManagedCertificates(work); err != nil {
			log.Error("acme: renew certificates", "err", err)
		}
	})
}

// certificates lists what is in force, each once.
func (a *acme) certificates() []*x509.Certificate {
	var list []*x509.Certificate
	seen := make(map[string]bool)
	for _, name := range a.names {
		for _, cert := range a.cache.AllMatchingCertificates(name) {
			if !seen[cert.Hash()] && cert.Leaf != nil {
				seen[cert.Hash()] = true
				list = append(list, cert.Leaf)
			}
		}
	}
	return list
}

// renew asks for new certificates now and puts them in force: RenewCertSync
// only writes them to storage, and as long as the old one is in the cache it is
// served. The new one goes in before the old one goes out, so that there is
// always one.
func (a *acme) renew(ctx context.Context) error {
	var errs []error
	for _, name := range a.names {
		var old []string
		for _, cert := range a.cache.AllMatchingCertificates(name) {
			old = append(old, cert.Hash())
		}
		var err error
		if len(old) == 0 {
			err = a.magic.ObtainCertSync(ctx, name)
		} else {
			err = a.magic.RenewCertSync(ctx, name, true)
		}
		if err == nil {
			_, err = a.magic.CacheManagedCertificate(ctx, name)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("acme: renew %s: %w", name, err))
			continue
		}
		a.cache.Remove(old)
	}
	return errors.Join(errs...)
}

func (a *acme) close() {
	a.cancel()
	a.wg.Wait()
	a.cache.Stop()
}
