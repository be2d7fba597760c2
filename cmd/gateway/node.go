package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"gateway/admin"
	"gateway/certs"
	"gateway/config"
	"gateway/ftp"
	"gateway/limits"
	"gateway/metrics"
	"gateway/policies"
	"gateway/session"
	"gateway/sftp"
	"gateway/storage/local"
	"gateway/transfer"
)

// node is a running gateway: everything of this process, wired together.
type node struct {
	*core
	gate     *session.Gate
	mail     *limits.Mail
	metrics  *metrics.Metrics
	certs    *certs.Source
	hostKeys *certs.HostKeys
	tree     local.Tree
	remote   []upstream
	shares   *transfer.Shares
	doors    []door
	passive  *ftp.PassivePorts
	control  net.Listener

	policy *policies.Policy // that the node starts with
	using  sync.Mutex       // one change of the policy at a time
	revert reverting

	commands *admin.Service // answers them while the node runs

	background sync.WaitGroup
	stop       context.CancelFunc // ends what runs in the background
}

// openNode opens everything that a running gateway needs, listeners included.
// Nobody is served yet. What was opened is closed again on an error.
func openNode(ctx context.Context, cfg *config.Config, log *slog.Logger) (n *node, err error) {
	c, err := openCore(ctx, cfg, log)
	if err != nil {
		return nil, err
	}
	n = &node{core: c}
	opened := n // a return of nil, err sets n
	defer func() {
		if err != nil {
			err = errors.Join(err, opened.close())
		}
	}()
	if n.policy, err = c.rules().Load(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Storage.Path, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the accounts' files: %w", err)
	}
	n.remote = newUpstreams(cfg.Remote)
	n.shares = transfer.NewShares(transfer.SharesConfig{Members: n.accounts.Members, Open: n.openFiles})
	n.tree = local.Tree{Base: cfg.Storage.Path, Config: cfg.Storage.Local, Home: n.accounts.Home, Homes: n.accounts.Homes, Ledger: n.shares.Ledger}
	for _, step := range []func() error{
		func() (err error) { n.certs, n.hostKeys, err = n.openKeys(ctx); return err },
		func() error { return n.openGate(ctx) },
		func() error { _, err := n.openQueue(ctx); return err },
		n.listen,
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return n, nil
}

func (n *node) openGate(ctx context.Context) error {
	if err := n.openRecord(ctx); err != nil {
		return err
	}
	n.openMetrics()
	cfg := n.cfg.Gate
	cfg.Auth, cfg.Policy, cfg.Recorder, cfg.Limiter = n.accounts, n.policy, n.recorder, n.limits
	var err error
	if n.mail, err = limits.OpenMail(ctx, n.db, n.log); err != nil {
		return err
	}
	cfg.Mail, cfg.TokenUsed = n.mail, n.accounts.TokenUsed
	cfg.KeyUsed, cfg.NameKey, cfg.Log = n.accounts.Used, n.nameKey, n.log
	cfg.History, cfg.CohortKey = n.accounts, n.cohortKey
	cfg.HandsOn = n.handsOn
	n.gate = session.NewGate(cfg)
	return nil
}

// openMetrics counts what is recorded from now on.
func (n *node) openMetrics() {
	b := buildInfo()
	cfg := metrics.Config{Version: b.Version, Revision: b.Revision}
	for _, l := range n.cfg.Listeners {
		if l.Protocol != config.Metrics {
			cfg.Listeners = append(cfg.Listeners, metrics.Listener{Name: l.Name, Protocol: l.Protocol})
		}
	}
	n.metrics = metrics.New(cfg)
	n.recorder = n.metrics.Recorder(n.record)
}

// serve runs until ctx is done or a listener fails, then drains: no new
// connections, idle ones are told, transfers may finish until cut is done or the
// grace period is over.
func (n *node) serve(ctx, cut context.Context) error {
	if err := n.Use(ctx, n.policy); err != nil {
		return err
	}
	n.commands = n.service(n)
	if err := n.commands.UseShadow(); err != nil {
		n.log.Error("rules that are only recorded are not asked", "err", err)
	}
	if err := n.commands.ResumeTrial(ctx); err != nil {
		return err
	}
	n.hostKeys.OnChange(n.useHostKeys)
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	n.stop = stop
	for name, task := range map[string]func(context.Context) error{
		"certificates": func(ctx context.Context) error { n.certs.Run(ctx); return nil },
		"host keys":    func(ctx context.Context) error { n.hostKeys.Run(ctx.Done()); return nil }, "queue": n.queue.Run, "storage": n.sweep,
		"refused passwords": n.accounts.VerifySuspects,
		"password hashes":   n.accounts.RenewHashes, "weak hashes": n.accounts.WrapHashes,
		"reminders": n.remind, "memory": tidy, "sources": n.followSources,
		"control": func(ctx context.Context) error { return n.commands.Serve(ctx, n.control) },
	} {
		n.background.Go(func() {
			if err := task(background); err != nil && background.Err() == nil {
				n.log.Error("a part of the gateway ended", "part", name, "err", err)
			}
		})
	}
	failed := make(chan error, len(n.doors))
	var serving sync.WaitGroup
	for _, d := range n.doors {
		serving.Go(func() {
			err := d.front.Serve(context.WithoutCancel(ctx), d.ln)
			if ctx.Err() == nil {
				failed <- fmt.Errorf("listener %q ended: %w", d.Name, err)
			}
		})
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	n.drain(cut)
	serving.Wait()
	return err
}

// useHostKeys puts host keys in force on every listener that has them.
func (n *node) useHostKeys(keys certs.HostKeySet) {
	for _, d := range n.doors {
		if s, ok := d.front.(*sftp.Server); ok {
			if err := s.SetHostKeys(keys.Serving, keys.Next); err != nil {
				n.log.Error("host keys not in force", "listener", d.Name, "err", err)
			}
		}
	}
}

// sweepInterval is how often the leftovers of interrupted uploads are looked for.
const sweepInterval = time.Hour

// sweep removes old leftovers of uploads, at once and then from time to time.
func (n *node) sweep(ctx context.Context) error {
	for {
		removed, err := n.tree.Sweep(ctx)
		if err != nil && ctx.Err() == nil {
			n.log.Warn("sweep leftovers of uploads", "err", err)
		}
		if removed > 0 {
			n.log.Info("removed leftovers of uploads", "count", removed)
		}
		select {
		case <-time.After(sweepInterval):
		case <-ctx.Done():
			return nil
		}
	}
}

// drain ends all connections.
func (n *node) drain(cut context.Context) {
	grace, cancel := context.WithTimeout(cut, n.cfg.ShutdownGrace)
	defer cancel()
	var wg sync.WaitGroup
	for _, d := range n.doors {
		wg.Go(func() {
			if err := d.front.Shutdown(grace); err != nil {
				n.log.Warn("connections were cut", "listener", d.Name, "err", err)
			}
		})
	}
	wg.Wait()
}

// close closes what is open, the record last.
func (n *node) close() error {
	n.revert.close()
	if n.stop != nil {
		n.stop()
		n.background.Wait()
	}
	errs := []error{n.closeUpstreams()}
	for _, d := range n.doors {
		_ = d.ln.Close()
	}
	if n.passive != nil {
		n.passive.Close()
	}
	if n.control != nil {
		_ = n.control.Close()
	}
	if n.certs != nil {
		errs = append(errs, n.certs.Close())
	}
	if n.gate != nil {
		n.gate.Close()
	}
	if n.mail != nil {
		errs = append(errs, n.mail.Close())
	}
	return errors.Join(append(errs, n.core.close())...)
}

// Status implements admin.Node.
func (n *node) Status() admin.Status {
	status := admin.Status{Version: buildInfo().Version, PID: os.Getpid(), Node: n.cfg.Node, Policy: n.gate.Policy().Hash()}
	for _, d := range n.doors {
		status.Listeners = append(status.Listeners, admin.Listener{
			Name: d.Name, Protocol: d.Protocol, Address: d.ln.Addr().String(), TLS: string(d.TLS),
		})
	}
	return status
}

// Use implements admin.Node: p is in force for every connection from now on, and
// recorded before. Once begun it is carried through: a signal at that moment must not leave
// rules in force of which there is no record, nor look like a fault.
func (n *node) Use(ctx context.Context, p *policies.Policy) error {
	ctx = context.WithoutCancel(ctx)
	n.using.Lock()
	defer n.using.Unlock()
	warnings, err := n.service(n).PolicyWarnings(ctx, p)
	if err != nil {
		return err
	}
	for _, w := range warnings {
		n.log.Warn("policy", "warning", w.String())
	}
	if err := policyArchive(n.cfg).Keep(p, time.Now()); err != nil {
		n.log.Error("logins cannot be replayed by these rules later", "err", err)
	}
	e := session.Event{Event: session.EventPolicy, Verb: "load", Hash: p.Hash(), Outcome: session.OutcomeDone}
	if err := n.recorder.Commit(ctx, e); err != nil {
		return fmt.Errorf("record the policy: %w", err)
	}
	n.gate.SetPolicy(p)
	if ended := n.gate.Redecide(ctx); ended > 0 {
		n.log.Info("sessions ended that the rules in force do not allow", "sessions", ended)
	}
	return nil
}

// reload takes the policy and the certificates anew. What is wrong with either
// leaves the old one in force and is returned.
func (n *node) reload(ctx context.Context) error {
	policy, err := n.rules().Load()
	if err == nil {
		err = n.Use(ctx, policy)
	}
	if certErr := n.certs.Reload(); certErr != nil {
		err = errors.Join(err, fmt.Errorf("reload the certificates: %w", certErr))
	}
	return err
}
