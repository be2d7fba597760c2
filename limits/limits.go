package limits

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"gateway/session"
)

// Limits implements session.Limiter. Its methods may be called from any
// goroutine.
type Limits struct {
	cfg  Config
	seed maphash.Seed // keys the hashes of names
	roll func() int   // a random number below 100

	mu              sync.Mutex
	connections     int
	unauthenticated int
	sources         map[netip.Prefix]sourceCount // only those that are connected
	sessions        map[string]int               // only those that are logged in
	penalties       penalties
	guesses         guesses
	throttles       throttles
	names           names
	manual          manualBans
	file            sync.Mutex // held while File is written, before mu
}

// sourceCount is what one source has open.
type sourceCount struct{ connections, unauthenticated int }

var _ session.Limiter = (*Limits)(nil)

// Refusals. Each is a session.ErrTooMany that says which limit it was.
var (
	errConnections     = tooMany("connections")
	errPerSource       = tooMany("connections from this source")
	errUnauthenticated = tooMany("connections without a login")
	errDropped         = tooMany("connections without a login, so that some are refused at random")
	errWaiting         = tooMany("connections without a login from this source")
	errSessions        = tooMany("sessions of this account")
	errGuesses         = tooMany("failed logins on this account")
	errNames           = tooMany("names from this source")
)

func tooMany(what string) error { return fmt.Errorf("%w %s", session.ErrTooMany, what) }

// New returns limits with nothing counted. It reads the bans made by hand from
// Config.File, and fails if the configuration is not valid or that file exists
// and cannot be read.
func New(cfg Config) (*Limits, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("limits: %w", err)
	}
	cfg = cfg.withDefaults()
	l := &Limits{
		cfg: cfg, seed: maphash.MakeSeed(), roll: func() int { return rand.IntN(100) },
		sources:   make(map[netip.Prefix]sourceCount),
		sessions:  make(map[string]int),
		penalties: newPenalties(cfg),
		guesses:   newGuesses(cfg),
		throttles: newThrottles(),
		names:     newNames(),
		manual:    newManualBans(),
	}
	if cfg.File != "" {
		bans, err := readBans(cfg.File)
		if err != nil {
			return nil, fmt.Errorf("limits: read bans: %w", err)
		}
		for _, b := range bans {
			l.manual.add(b)
		}
	}
	return l, nil
}

// Admit implements session.Limiter. Its refusals are session.ErrBanned for a
// source that is banned, and session.ErrTooMany else.
func (l *Limits) Admit(p session.Peer) (session.Admission, error) {
	addr := plainAddr(p.Remote.Addr())
	source := session.SourcePrefix(addr)
	trusted := l.trusted(addr)
	now := time.Now()

	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.banned(addr, source, trusted, now); err != nil {
		return nil, err
	}
	count := l.sources[source]
	switch {
	case l.connections >= l.cfg.MaxConnections:
		return nil, errConnections
	case l.unauthenticated >= l.cfg.MaxUnauthenticated:
		return nil, errUnauthenticated
	case !trusted && count.connections >= l.cfg.MaxPerSource:
		return nil, errPerSource
	case !trusted && count.unauthenticated >= l.cfg.MaxUnauthenticatedPerSource:
		return nil, errWaiting
	case !trusted && l.drop() && !l.guesses.knownSource(source, now):
		return nil, errDropped
	}
	l.connections++
	l.unauthenticated++
	l.sources[source] = sourceCount{count.connections + 1, count.unauthenticated + 1}
	return &admission{limits: l, source: source}, nil
}

// drop decides by chance whether a connection is refused although there is room, as
// OpenSSH's MaxStartups does: the more likely the less room there is. It is called
// with the lock held.
func (l *Limits) drop() bool {
	over := l.unauthenticated - l.cfg.DropFrom
	if over < 0 {
		return false
	}
	percent := l.cfg.DropPercent + (100-l.cfg.DropPercent)*over/(l.cfg.MaxUnauthenticated-l.cfg.DropFrom)
	return l.roll() < percent
}

// admission is one connection that is counted.
type admission struct {
	limits   *Limits
	source   netip.Prefix
	loggedIn bool // both guarded by limits.mu
	released bool
}

// LoggedIn implements session.Admission.
func (a *admission) LoggedIn() {
	l := a.limits
	l.mu.Lock()
	defer l.mu.Unlock()
	a.leaveUnauthenticated()
}

// leaveUnauthenticated is called with the lock held.
func (a *admission) leaveUnauthenticated() {
	if a.loggedIn || a.released {
		return
	}
	a.loggedIn = true
	l := a.limits
	l.unauthenticated--
	count := l.sources[a.source]
	count.unauthenticated--
	l.sources[a.source] = count
}

// Release implements session.Admission. Later calls do nothing.
func (a *admission) Release() {
	l := a.limits
	l.mu.Lock()
	defer l.mu.Unlock()
	if a.released {
		return
	}
	a.leaveUnauthenticated()
	a.released = true
	l.connections--
	count := l.sources[a.source]
	count.connections--
	if count.connections == 0 {
		delete(l.sources, a.source)
		return
	}
	l.sources[a.source] = count
}

// Guess implements session.Limiter. It refuses a source that is banned, and a
// name at which too many failed from places where nobody ever logged in to it, or
// from this very place. Names that exist and names that do not are counted alike.
// What is being checked at the moment is not counted yet, so a burst may exceed
// the budget by what the hashing budget lets through at once.
func (l *Limits) Guess(p session.Peer, user string, m session.Method) error {
	addr := plainAddr(p.Remote.Addr())
	source := session.SourcePrefix(addr)
	trusted := l.trusted(addr)
	name := l.name(user)
	now := time.Now()

	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.banned(addr, source, trusted, now); err != nil {
		return err
	}
	if user != "" && m != session.MethodPublicKey && m != session.MethodToken && l.guesses.exhausted(place{name, source}, now) {
		return errGuesses
	}
	return nil
}

// Offend implements session.Limiter. user may be empty.
func (l *Limits) Offend(p session.Peer, user string, o session.Offence) {
	addr := plainAddr(p.Remote.Addr())
	source := session.SourcePrefix(addr)
	trusted := l.trusted(addr)
	name := l.name(user)
	now := time.Now()

	l.mu.Lock()
	var begun []Ban
	// A client that may not come in must not keep out those behind its address who may.
	spared := trusted || o == session.Refused && l.guesses.knownSource(source, now)
	if !spared && addr.IsValid() {
		begun = l.penalties.charge(addr, o, now)
	}
	if user != "" && (o == session.WrongProof || o == session.UnknownUser) {
		l.guesses.failed(place{name, source}, now)
	}
	l.mu.Unlock()
	for _, b := range begun {
		l.cfg.Log.Info("source banned", "source", b.Source, "until", b.Until, "because", b.Reason)
	}
}

// Succeeded implements session.Limiter: the place is known from now on.
func (l *Limits) Succeeded(p session.Peer, user string) {
	source := session.SourcePrefix(plainAddr(p.Remote.Addr()))
	name := l.name(user)
	now := time.Now()

	l.mu.Lock()
	defer l.mu.Unlock()
	l.guesses.succeeded(place{name, source}, now)
}

// Enter implements session.Limiter. leave may be called more than once.
func (l *Limits) Enter(user string) (leave func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sessions[user] >= l.cfg.MaxSessionsPerUser {
		return nil, errSessions
	}
	l.sessions[user]++
	return sync.OnceFunc(func() { l.left(user) }), nil
}

func (l *Limits) left(user string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sessions[user]--; l.sessions[user] == 0 {
		delete(l.sessions, user)
	}
}

// Counts are how much of each limit is in use.
type Counts struct {
	Connections     int `json:"connections"`
	Unauthenticated int `json:"unauthenticated"`
	Sources         int `json:"sources"`  // that are connected
	Sessions        int `json:"sessions"` // accounts that are logged in
	Penalties       int `json:"penalties"`
}

// Counts returns what is in use at this moment.
func (l *Limits) Counts() Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Counts{l.connections, l.unauthenticated, len(l.sources), len(l.sessions), l.penalties.size()}
}

// banned is called with the lock held. A ban made by hand holds for trusted
// networks too; a ban of a wider network than the source spares sources from
// which somebody has logged in.
func (l *Limits) banned(addr netip.Addr, source netip.Prefix, trusted bool, now time.Time) error {
	if l.manual.holds(addr, now) {
		return session.ErrBanned
	}
	if trusted || !addr.IsValid() {
		return nil
	}
	if l.penalties.banned(addr, l.guesses.knownSource(source, now), now) {
		return session.ErrBanned
	}
	return nil
}

func (l *Limits) trusted(addr netip.Addr) bool {
	for _, p := range l.cfg.Trusted {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// name is what is kept of a claimed name.
func (l *Limits) name(user string) uint64 { return maphash.String(l.seed, user) }

// plainAddr makes the forms of an address one.
func plainAddr(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }
