package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"gateway/config"
	"gateway/ftp"
	"gateway/metrics"
	"gateway/session"
	"gateway/sftp"
	"gateway/smtp"
	"gateway/transfer"
)

// A frontend serves one listener.
type frontend interface {
	Serve(ctx context.Context, ln net.Listener) error
	Shutdown(ctx context.Context) error
}

// door is a listener with the front-end behind it.
type door struct {
	config.Listener
	ln    net.Listener
	front frontend
}

// exposed is how many accounts have a password that crossed in clear.
func (n *node) exposed(ctx context.Context) (int, error) {
	list, err := n.accounts.Exposures(ctx)
	return len(list), err
}

// listen binds every listener, or none.
func (n *node) listen() error {
	var err error
	if n.passive, err = ftp.NewPassivePorts(n.cfg.Passive.Low, n.cfg.Passive.High); err != nil {
		return fmt.Errorf("passive ports: %w", err)
	}
	n.metrics.Watch(metrics.Sources{Sessions: n.gate, Queue: n.queue, Passive: n.passive,
		Exposed: n.exposed, Policy: func() string { return n.gate.Policy().Hash() }})
	var errs []error
	for _, l := range n.cfg.Listeners {
		front, err := n.frontend(l)
		if err != nil {
			errs = append(errs, fmt.Errorf("listener %q: %w", l.Name, err))
			continue
		}
		ln, err := net.Listen("tcp", l.Address)
		if err != nil {
			errs = append(errs, listenError(l, err))
			continue
		}
		n.doors = append(n.doors, door{Listener: l, ln: ln, front: front})
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	socket := filepath.Join(n.cfg.State, "control.sock")
	if err := removeStale(socket); err != nil {
		return err
	}
	old := unix.Umask(0o177) // nobody else may open the socket, from its first moment
	control, err := net.Listen("unix", socket)
	unix.Umask(old)
	if err != nil {
		return fmt.Errorf("make the control socket: %w", err)
	}
	n.control = control
	return nil
}

// listenError says which listener, where, and what to do.
func listenError(l config.Listener, err error) error {
	advice := "see the address in gateway.hcl"
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		advice = "another program listens there: stop it, or give the listener another address in gateway.hcl"
	case errors.Is(err, unix.EACCES):
		advice = "ports below 1024 need CAP_NET_BIND_SERVICE: start it by deploy/gateway.service, or use the ports of 'gateway init --ports high'"
	case errors.Is(err, unix.EADDRNOTAVAIL):
		advice = "this host does not have that address"
	}
	if sys, ok := errors.AsType[*os.SyscallError](err); ok {
		err = sys.Err
	}
	return fmt.Errorf("listener %q cannot listen on %s: %w; %s", l.Name, l.Address, err, advice)
}

// frontend makes the server of one listener.
func (n *node) frontend(l config.Listener) (frontend, error) {
	tlsConfig, err := n.tlsConfig(l)
	if err != nil {
		return nil, err
	}
	switch l.Protocol {
	case session.FTP:
		cfg := n.cfg.FTP
		cfg.Gate, cfg.Name, cfg.Files, cfg.Log = n.gate, l.Name, n.files(l), n.log
		cfg.TLS, cfg.Implicit, cfg.Hostname = tlsConfig, l.TLS == config.TLSImplicit, n.cfg.Hostname
		cfg.Proxies, cfg.ProxyData = l.Proxies, l.ProxyData
		cfg.Resumption, cfg.PassivePorts = l.Resumption, n.passive
		if cfg.PublicAddresses, err = ftp.ParsePublicAddresses(l.PublicAddress); err != nil {
			return nil, err
		}
		return ftp.New(cfg), nil
	case session.SFTP:
		cfg := n.cfg.SFTP
		keys := n.hostKeys.Set()
		cfg.Gate, cfg.Name, cfg.Files, cfg.Log = n.gate, l.Name, n.files(l), n.log
		cfg.HostKeys, cfg.NextHostKeys = keys.Serving, keys.Next
		cfg.Proxies, cfg.Profile = l.Proxies, l.SSHProfile
		cfg.Enrol, cfg.EnrolOffered = n.service(n).Enrol, n.service(n).EnrolOffered
		return sftp.New(cfg), nil
	case config.Metrics:
		return n.metrics.Server(n.log), nil
	default:
		cfg := n.cfg.SMTP
		cfg.Gate, cfg.Name, cfg.Protocol, cfg.Log = n.gate, l.Name, l.Protocol, n.log
		cfg.Queue = smtp.QueueFunc(func() smtp.Draft { return n.queue.Draft() })
		cfg.TLS, cfg.Implicit, cfg.Hostname = tlsConfig, l.TLS == config.TLSImplicit, n.cfg.Hostname
		cfg.Proxies = l.Proxies
		cfg.DKIM, cfg.Journal, cfg.Filters, cfg.SpoolDir = n.dkim, n.journal(), n.filters(l), n.cfg.State
		return smtp.New(cfg), nil
	}
}

// tlsConfig is what a listener offers in TLS; nil for one that has none.
func (n *node) tlsConfig(l config.Listener) (*tls.Config, error) {
	if l.TLS == config.TLSNone {
		return nil, nil
	}
	c := n.certs.TLSConfig()
	switch l.ClientCertificates {
	case "request":
		c.ClientAuth = tls.RequestClientCert
	case "require":
		c.ClientAuth = tls.RequireAnyClientCert
	default:
		return c, nil
	}
	if l.ClientCA == "" {
		return c, nil
	}
	pem, err := os.ReadFile(l.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("read client_ca: %w", err)
	}
	c.ClientCAs = x509.NewCertPool()
	if !c.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("client_ca: %s holds no certificate in PEM", l.ClientCA)
	}
	if l.ClientCertificates == "require" {
		c.ClientAuth = tls.RequireAndVerifyClientCert
	} else {
		c.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return c, nil
}

// files opens the tree of whoever logged in on a listener.
func (n *node) files(l config.Listener) transfer.Opener {
	limits := n.cfg.Transfer
	limits.Bandwidth = transfer.NewBandwidth(l.Bandwidth)
	return func(ctx context.Context, s *session.Session) (*transfer.Files, error) {
		files, err := n.shares.Open(ctx, s, limits)
		if err != nil {
			n.log.Error("open the account's folder", "user", s.Identity().User, "err", err)
		}
		return files, err
	}
}
