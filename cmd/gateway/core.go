package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"

	"gateway/admin"
	"gateway/audit"
	"gateway/auth"
	"gateway/certs"
	"gateway/config"
	"gateway/limits"
	"gateway/queue"
	"gateway/session"
	"gateway/smtp/dkim"
	"gateway/store"
)

// nameKey is the secret in the store that keys the hashes under which unknown
// names are recorded.
const (
	nameKey     = "recorded-names"
	nameKeySize = 32
)

// cohortKey keys the hash that divides names into the cohorts of rollouts.
const cohortKey = "cohorts"

// core is what a running gateway and a command without one share: the state,
// under its lock.
type core struct {
	cfg *config.Config
	log *slog.Logger

	lock     *stateLock
	db       *store.DB
	sealer   *store.Sealer
	accounts *auth.Accounts
	limits   *limits.Limits
	record   *audit.Log       // opened by whoever writes to it
	recorder session.Recorder // to it; a running node counts what passes
	queue    *queue.Queue     // opened by who needs it
	dkim     *dkim.Keys
	nameKey  []byte // session.Config.NameKey

	cohortKey []byte // session.Config.CohortKey
}

// openCore locks and opens the state. What was opened is closed again on an
// error.
func openCore(ctx context.Context, cfg *config.Config, log *slog.Logger) (c *core, err error) {
	c = &core{cfg: cfg, log: log}
	opened := c // a return of nil, err sets c
	defer func() {
		if err != nil {
			err = errors.Join(err, opened.close())
		}
	}()
	if c.lock, err = lockState(cfg.State); err != nil {
		return nil, err
	}
	if c.db, err = store.Open(ctx, filepath.Join(cfg.State, "gateway.db")); err != nil {
		return nil, err
	}
	if c.nameKey, err = c.db.Secret(ctx, nameKey, nameKeySize); err != nil {
		return nil, fmt.Errorf("read the key of recorded names: %w", err)
	}
	if c.cohortKey, err = c.db.Secret(ctx, cohortKey, nameKeySize); err != nil {
		return nil, fmt.Errorf("read the key of cohorts: %w", err)
	}
	bounds := cfg.Limits
	bounds.File, bounds.Log = filepath.Join(cfg.State, "bans.json"), log
	if c.limits, err = limits.New(bounds); err != nil {
		return nil, fmt.Errorf("limits: %w", err)
	}
	c.sealer = store.NewSealer(filepath.Join(cfg.State, "keys", "secrets.key"))
	hashing := cfg.Hashing
	hashing.Spare = spareProcessor
	servers := oldServers(cfg)
	if c.accounts, err = auth.Open(ctx, c.db, auth.Config{
		Budget: limits.NewHashing(hashing), Sealer: c.sealer, Log: log, Elsewhere: elsewhere(servers), Newcomers: newcomers(servers), Asked: c.asked, Renewed: c.renewed,
		Sources: sources(cfg), SourceBudget: c.limits.Name, Recorded: c.followed,
	}); err != nil {
		return nil, err
	}
	if c.dkim, err = dkim.Open(filepath.Join(cfg.State, "keys", "dkim")); err != nil {
		return nil, err
	}
	return c, nil
}

// spareProcessor lets the program run on one more thread at once until done. A hash
// that takes seconds occupies one for as long, and what is short then waits for the
// others of the scheduler's slices of 10 ms; on a thread of its own it is the system that
// divides the processors, which is fair and lets what just woke up go first.
func spareProcessor() (done func()) {
	n := runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(n + 1)
	return func() {
		if os.Getenv("GOMAXPROCS") != "" {
			runtime.GOMAXPROCS(n)
			return
		}
		runtime.SetDefaultGOMAXPROCS()
	}
}

// lateRecorder records to the core's record, which is opened when there is something
// to record: opening it leaves a record itself, which a command that only looks must not.
type lateRecorder struct{ core *core }

func (r lateRecorder) Commit(ctx context.Context, e session.Event) error {
	if err := r.core.openRecord(ctx); err != nil {
		return err
	}
	return r.core.recorder.Commit(ctx, e)
}

func (r lateRecorder) Append(e session.Event) error {
	if err := r.core.openRecord(context.Background()); err != nil {
		return err
	}
	return r.core.recorder.Append(e)
}

// openRecord opens the record for writing, once.
func (c *core) openRecord(ctx context.Context) error {
	if c.record != nil {
		return nil
	}
	cfg := c.cfg.Audit
	cfg.Dir, cfg.Node, cfg.Log = recordDir(c.cfg), c.cfg.Node, c.log
	record, err := audit.Open(ctx, cfg)
	if err != nil {
		return fmt.Errorf("open the record: %w", err)
	}
	c.record, c.recorder = record, record
	return nil
}

func recordDir(cfg *config.Config) string { return filepath.Join(cfg.State, "audit") }

func (c *core) rules() rules { return rules{c.cfg} }

// openKeys opens certificates and SSH host keys, and makes those that are
// missing. The caller closes the certificates.
func (c *core) openKeys(ctx context.Context) (*certs.Source, *certs.HostKeys, error) {
	cfg := c.cfg.Certificates
	cfg.Hostname, cfg.Dir, cfg.Log = c.cfg.Hostname, filepath.Join(c.cfg.State, "keys"), c.log
	source, err := certs.Open(ctx, cfg)
	if err != nil {
		return nil, nil, fmt.Errorf("open the certificates: %w", err)
	}
	keys, err := certs.OpenHostKeys(certs.HostKeyConfig{Dir: cfg.Dir, Overlap: c.cfg.HostKeyOverlap, Log: c.log})
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("open the SSH host keys: %w", err), source.Close())
	}
	return source, keys, nil
}

// service is the core as commands see it; running is nil without a gateway.
func (c *core) service(n *node) *admin.Service {
	s := &admin.Service{
		Accounts: c.accounts, Limits: c.limits, OpenQueue: c.openQueue, Recorder: lateRecorder{c},
		Rules: c.rules(), NameKey: c.nameKey, CohortKey: c.cohortKey, OpenKeys: c.openKeys, DKIM: c.dkim, Kept: c.db, Reserved: []string{c.cfg.State},
	}
	if n != nil {
		s.Node, s.Gate, s.Certificates, s.HostKeys = n, n.gate, n.certs, n.hostKeys
	}
	return s
}

func (c *core) close() error {
	var errs []error
	if c.queue != nil {
		errs = append(errs, c.queue.Close())
	}
	if c.record != nil {
		errs = append(errs, c.record.Close())
	}
	if c.accounts != nil {
		errs = append(errs, c.accounts.Close(context.Background()))
	}
	if c.db != nil {
		errs = append(errs, c.db.Close())
	}
	if c.lock != nil {
		errs = append(errs, c.lock.release())
	}
	return errors.Join(errs...)
}
