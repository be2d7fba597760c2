package queue

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gateway/queue/relay"
	"gateway/session"
	"gateway/store"
)

// Config of a Queue. Zero fields stand for the defaults named.
type Config struct {
	// Dir holds the contents that are too large for the store, and nothing else:
	// what is in it and in no envelope is removed by Open. It is made if missing.
	// Required.
	Dir string
	// Hostname is given with EHLO and stands in bounces: a name or an IP address.
	// Required.
	Hostname string
	// DefaultRoute is where mail of accounts without a route of their own goes. If
	// it is zero such mail is not accepted (ErrNoRoute).
	DefaultRoute Route
	// MaildirDir is the folder below which maildir routes deliver. If it is empty
	// there are no maildir routes.
	MaildirDir string
	// Recorder gets a mail event for each result of each attempt. Required.
	Recorder session.Recorder

	// Retry are the waits after the first, second, ... failed attempt; the last one
	// repeats. Up to a tenth is added at random. Nil means 1m, 5m, 15m, 30m, 1h,
	// 2h, 4h.
	Retry []time.Duration
	// Expire is how long after its acceptance a message is given up. Zero means 72h.
	Expire time.Duration
	// Concurrency is how many messages are delivered at once; zero means 10.
	// PerDestination is how many of them by one route; zero means 4.
	Concurrency, PerDestination int
	// MaxRecipients of one message. Zero means 1000.
	MaxRecipients int
	// MinFree is how many bytes of the file system of Dir are left free: with less,
	// mail is refused with session.ErrNoSpace. Zero means 64 MiB.
	MinFree int64
	// AttemptTimeout cuts an attempt that takes longer. Zero means 1h.
	AttemptTimeout time.Duration
	// Grace is how long attempts under way may go on after the end of Run's
	// context. Zero means 10s.
	Grace time.Duration

	// TLS is the base for connections to smart hosts: roots and versions. Nil means
	// the roots of the system.
	TLS *tls.Config
	// Timeouts of the steps of SMTP; zero means those of RFC 5321.
	Timeouts relay.Timeouts
	// Log may be nil for slog.Default.
	Log *slog.Logger
}

const (
	defaultExpire         = 72 * time.Hour
	defaultConcurrency    = 10
	defaultPerDestination = 4
	defaultMaxRecipients  = 1000
	defaultMinFree        = 64 << 20
	defaultAttemptTimeout = time.Hour
	defaultGrace          = 10 * time.Second
)

func defaultRetry() []time.Duration {
	const m, h = time.Minute, time.Hour
	return []time.Duration{m, 5 * m, 15 * m, 30 * m, h, 2 * h, 4 * h}
}

// ErrNoRoute is mail for which neither its account nor the configuration names a
// route.
var ErrNoRoute = errors.New("no mail route is configured")

// Validate reports all that is wrong.
func (c Config) Validate() error {
	var errs []error
	bad := func(wrong bool, text string) {
		if wrong {
			errs = append(errs, errors.New("queue: "+text))
		}
	}
	bad(c.Dir == "", "Dir is not set")
	bad(c.Recorder == nil, "Recorder is not set")
	if _, err := checkDomain(hostLiteral(c.Hostname), false); err != nil {
		errs = append(errs, fmt.Errorf("queue: Hostname: %w", err))
	}
	bad(c.DefaultRoute.maildir() && c.MaildirDir == "", "DefaultRoute is a maildir and MaildirDir is not set")
	for _, d := range c.Retry {
		bad(d < time.Second, "a wait in Retry is shorter than 1s")
	}
	bad(c.Expire < 0, "Expire is negative")
	bad(c.Concurrency < 0 || c.PerDestination < 0, "Concurrency or PerDestination is negative")
	bad(c.MaxRecipients < 0, "MaxRecipients is negative")
	bad(c.MinFree < 0, "MinFree is negative")
	bad(c.AttemptTimeout < 0 || c.Grace < 0, "AttemptTimeout or Grace is negative")
	return errors.Join(errs...)
}

// hostLiteral gives an IP address the form that it has in mail (RFC 5321,
// section 4.1.3) and leaves a name as it is.
func hostLiteral(host string) string {
	ip, err := netip.ParseAddr(host)
	switch {
	case err != nil:
		return host
	case ip.Is4():
		return "[" + host + "]"
	default:
		return "[IPv6:" + host + "]"
	}
}

func (c Config) withDefaults() Config {
	c.Hostname = hostLiteral(c.Hostname)
	if len(c.Retry) == 0 {
		c.Retry = defaultRetry()
	}
	setDefault(&c.Expire, defaultExpire)
	setDefault(&c.Concurrency, defaultConcurrency)
	setDefault(&c.PerDestination, defaultPerDestination)
	setDefault(&c.MaxRecipients, defaultMaxRecipients)
	setDefault(&c.MinFree, defaultMinFree)
	setDefault(&c.AttemptTimeout, defaultAttemptTimeout)
	setDefault(&c.Grace, defaultGrace)
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Queue is mail that waits. Its methods may be called from any goroutine.
type Queue struct {
	cfg     Config
	db      *store.DB
	client  relay.Client
	now     func() time.Time
	wake    chan struct{} // buffered by one: something may be due
	running atomic.Bool
	buffers sync.Pool // of *[]byte, for drafts

	attempted func() // for tests: called after each attempt; may be nil
}

// Open makes the queue that lies in db and cfg.Dir ready to accept. Nothing is
// delivered before Run. No other Queue may have the same folder open; the lock of
// the store sees to that if each store has its own.
func Open(ctx context.Context, db *store.DB, cfg Config) (*Queue, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	q := &Queue{cfg: cfg.withDefaults(), db: db, now: time.Now, wake: make(chan struct{}, 1)}
	q.client = relay.Client{Hostname: q.cfg.Hostname, TLS: cfg.TLS, Timeouts: cfg.Timeouts}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open queue: %w", err)
	}
	if err := syncFolder(filepath.Dir(cfg.Dir)); err != nil {
		return nil, fmt.Errorf("open queue: %w", err)
	}
	if err := q.sweep(ctx); err != nil {
		return nil, fmt.Errorf("open queue: remove leftovers in %s: %w", cfg.Dir, err)
	}
	return q, nil
}

// sweep removes files that no envelope names: drafts that were under way when
// the process ended, and contents of messages that were done with. A file whose
// name is not ours is left alone.
func (q *Queue) sweep(ctx context.Context) error {
	entries, err := os.ReadDir(q.cfg.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		id, draft := strings.CutPrefix(e.Name(), draftPrefix)
		if !validID(id) || !e.Type().IsRegular() {
			continue
		}
		if !draft {
			switch exists, err := q.exists(ctx, id); {
			case err != nil:
				return err
			case exists:
				continue
			}
		}
		if err := os.Remove(filepath.Join(q.cfg.Dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		q.cfg.Log.Info("content without an envelope removed", "id", id)
	}
	return nil
}

// rouse makes Run look for mail that is due.
func (q *Queue) rouse() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// route is where a message goes, by what its envelope says.
func (q *Queue) route(s string) (Route, error) {
	r := q.cfg.DefaultRoute
	if s != "" {
		var err error
		if r, err = ParseRoute(s); err != nil {
			return Route{}, err
		}
	}
	switch {
	case r.IsZero():
		return Route{}, ErrNoRoute
	case r.maildir() && q.cfg.MaildirDir == "":
		return Route{}, refuseRoute("no folder for maildirs is configured")
	}
	return r, nil
}

// syncFolder makes the names in a folder survive a power cut.
func syncFolder(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	return nil
}
