package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"gateway/queue/relay"
	"gateway/queue/spool"
	"gateway/session"
)

// Config of a Queue. Zero fields stand for the defaults named.
type Config struct {
	// Dir holds the mail (spool.Config.Dir). Required.
	Dir string
	// Hostname is given with EHLO and stands in bounces: a name or an IP address.
	// Required.
	Hostname string
	// DefaultRoute is where mail goes for which neither the account nor the recipient's
	// domain has a route. If it is zero such mail is not accepted (ErrNoRoute).
	DefaultRoute Route
	// Routes are those that can be named, and that recipients' domains have.
	Routes []NamedRoute
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
	// WarnAfter is how long after its acceptance the sender of a message is told that
	// it is delayed. Zero means 4h.
	WarnAfter time.Duration
	// Concurrency is how many deliveries are made at once; zero means 50.
	// PerDestination is how many of them to one destination; zero means 10.
	Concurrency, PerDestination int
	// MaxRecipients of one message. Zero means 1000.
	MaxRecipients int
	// MinFree and SegmentSize are those of spool.Config.
	MinFree, SegmentSize int64
	// AttemptTimeout cuts an attempt that takes longer. Zero means 1h.
	AttemptTimeout time.Duration
	// Grace is how long attempts under way may go on after the end of Run's
	// context. Zero means 10s.
	Grace time.Duration

	// Sign begins the signatures of a notification whose author is in domain and whose
	// header has fields of these names. Nil signs nothing.
	Sign func(domain string, fields []string) (Signature, error)
	// Client hands mail to other hosts; its Hostname is set here. Nil means one without
	// mail exchangers, with the roots of the system and the times of RFC 5321.
	Client *relay.Client
	// Log may be nil for slog.Default.
	Log *slog.Logger
}

const (
	defaultExpire         = 72 * time.Hour
	defaultWarnAfter      = 4 * time.Hour
	defaultConcurrency    = 50
	defaultPerDestination = 10
	defaultMaxRecipients  = 1000
	defaultAttemptTimeout = time.Hour
	defaultGrace          = 10 * time.Second
)

func defaultRetry() []time.Duration {
	const m, h = time.Minute, time.Hour
	return []time.Duration{m, 5 * m, 15 * m, 30 * m, h, 2 * h, 4 * h}
}

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
	if err := c.CheckRoutes(); err != nil {
		errs = append(errs, fmt.Errorf("queue: %w", err))
	}
	for _, d := range c.Retry {
		bad(d < time.Second, "a wait in Retry is shorter than 1s")
	}
	bad(c.Expire < 0 || c.WarnAfter < 0, "Expire or WarnAfter is negative")
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
	setDefault(&c.WarnAfter, defaultWarnAfter)
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

// stripes is how many locks there are over the states of messages.
const stripes = 256

// Queue is mail that waits. Its methods may be called from any goroutine.
type Queue struct {
	cfg     Config
	routes  routes
	spool   *spool.Spool[*delivery]
	client  *relay.Client
	now     func() time.Time
	wake    chan struct{} // buffered by one: something may be due
	running atomic.Bool
	buffers sync.Pool           // of *[]byte, for drafts
	stripes [stripes]sync.Mutex // over the states of messages, by their ids

	mu       sync.Mutex // over schedule, and the deliveries of all messages
	schedule scheduler

	attempted func() // for tests: called after each attempt; may be nil
}

// Open makes the queue that lies in cfg.Dir ready to accept. Nothing is delivered
// before Run. No other Queue may have the same folder open.
func Open(ctx context.Context, cfg Config) (*Queue, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	q := &Queue{cfg: cfg.withDefaults(), now: time.Now, wake: make(chan struct{}, 1)}
	if q.client = cfg.Client; q.client == nil {
		q.client = &relay.Client{}
	}
	q.client.Hostname = q.cfg.Hostname
	q.schedule = scheduler{perDestination: q.cfg.PerDestination, all: make(map[destinationKey]*destination)}
	var err error
	if q.routes, err = newRoutes(q.cfg); err != nil {
		return nil, err
	}
	q.spool, err = spool.Open[*delivery](ctx, spool.Config{Dir: cfg.Dir, MinFree: cfg.MinFree, SegmentSize: cfg.SegmentSize, Log: q.cfg.Log})
	if err != nil {
		return nil, fmt.Errorf("open queue: %w", err)
	}
	if err := q.enterAll(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open queue: %w", err), q.spool.Close())
	}
	return q, nil
}

// enterAll makes the scheduler know all that is in the spool.
func (q *Queue) enterAll(ctx context.Context) error {
	var after spool.ID
	for {
		list := q.spool.After(after, pageSize)
		if len(list) == 0 {
			return nil
		}
		after = list[len(list)-1].ID()
		if err := ctx.Err(); err != nil {
			return err
		}
		for _, e := range list {
			m, err := q.load(e)
			switch {
			case isDamaged(err):
				q.cfg.Log.Error("message left alone: it cannot be read", "id", e.ID(), "err", err)
				continue
			case err != nil:
				return err
			}
			e.Value = q.plan(m)
			q.enter(e.Value)
		}
	}
}

// pageSize is how many messages are looked at between two looks at the context.
const pageSize = 1000

// Close ends the queue, after Run. What comes later is session.ErrClosed.
func (q *Queue) Close() error { return errors.Join(q.client.Close(), q.spool.Close()) }

// enter makes the scheduler know deliveries.
func (q *Queue) enter(first *delivery) {
	q.mu.Lock()
	for d := first; d != nil; d = d.sibling {
		q.schedule.add(d)
	}
	q.mu.Unlock()
	q.rouse()
}

// rouse makes Run look for mail that is due.
func (q *Queue) rouse() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}
