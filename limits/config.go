package limits

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"
)

// Config says how much is too much. The zero value of each field is its
// default; there is no way to switch a limit off, but it may be set high.
type Config struct {
	// MaxConnections is how many connections there may be at once, over all
	// listeners. Zero means 4096.
	MaxConnections int
	// MaxPerSource is how many of them one source may have: an IPv4 address, or
	// the /64 of an IPv6 address. Zero means 64.
	MaxPerSource int
	// MaxUnauthenticated is how many connections there may be at once on which
	// nobody has logged in yet. Zero means 512.
	MaxUnauthenticated int
	// DropFrom is from how many of those on a new connection is refused at random, so
	// that in a flood some still come in. Sources from which somebody logged in, and
	// Trusted ones, are spared. Zero means half of MaxUnauthenticated.
	DropFrom int
	// DropPercent is how many of a hundred are refused at DropFrom; it rises to all at
	// MaxUnauthenticated. Zero means 30.
	DropPercent int
	// MaxUnauthenticatedPerSource is how many of those one source may have. Zero
	// means 32.
	MaxUnauthenticatedPerSource int
	// MaxSessionsPerUser is how many sessions one account may have at once, over
	// all protocols. Zero means 100.
	MaxSessionsPerUser int

	// MaxGuesses is how many failed logins an account may have within
	// GuessWindow from places where its owner never logged in; further ones from
	// such places are refused unchecked. Each place where the owner did log in has
	// as many of its own. Zero means 10.
	MaxGuesses int
	// GuessWindow is the time in which MaxGuesses are allowed. Zero means 15m.
	GuessWindow time.Duration
	// KnownFor is how long a place is remembered after a login from it. Zero means
	// 2160h (90 days). Places are forgotten when the gateway stops.
	KnownFor time.Duration

	// PenaltyThreshold is the time that a source must owe to be banned. Zero means
	// 15s. Each failed login adds 5s; Penalties lists them all.
	PenaltyThreshold time.Duration
	// PenaltyMax is the most that a source can owe, and so the longest ban that
	// is not made by hand. Zero means 10m.
	PenaltyMax time.Duration

	// Trusted lists networks that are never charged or banned for what they do and
	// have no limits per source: a load balancer, a health check. The limits over
	// all connections and per account hold for them too. Empty means none, not
	// even loopback.
	Trusted []netip.Prefix

	// File keeps the bans made by hand over a restart. Empty means that they are
	// forgotten.
	File string
	// Log is told when a ban begins. Nil means slog.Default.
	Log *slog.Logger
}

const (
	defaultMaxConnections              = 4096
	defaultMaxPerSource                = 64
	defaultMaxUnauthenticated          = 512
	defaultMaxUnauthenticatedPerSource = 32
	defaultDropPercent                 = 30
	defaultMaxSessionsPerUser          = 100
	defaultMaxGuesses                  = 10
	defaultGuessWindow                 = 15 * time.Minute
	defaultKnownFor                    = 90 * 24 * time.Hour
	defaultPenaltyThreshold            = 15 * time.Second
	defaultPenaltyMax                  = 10 * time.Minute

	// maxTrusted bounds Config.Trusted, which is searched for every connection.
	maxTrusted = 256
)

// Validate reports all that is wrong with the configuration at once.
func (c Config) Validate() error {
	var errs []error
	for _, n := range []struct {
		name  string
		value int
	}{
		{"MaxConnections", c.MaxConnections},
		{"MaxPerSource", c.MaxPerSource},
		{"MaxUnauthenticated", c.MaxUnauthenticated},
		{"MaxUnauthenticatedPerSource", c.MaxUnauthenticatedPerSource},
		{"DropFrom", c.DropFrom},
		{"DropPercent", c.DropPercent},
		{"MaxSessionsPerUser", c.MaxSessionsPerUser},
		{"MaxGuesses", c.MaxGuesses},
	} {
		if n.value < 0 {
			errs = append(errs, fmt.Errorf("%s is %d: want at least 1, or 0 for the default", n.name, n.value))
		}
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"GuessWindow", c.GuessWindow},
		{"KnownFor", c.KnownFor},
		{"PenaltyThreshold", c.PenaltyThreshold},
		{"PenaltyMax", c.PenaltyMax},
	} {
		if d.value < 0 {
			errs = append(errs, fmt.Errorf("%s is %v: want more than 0, or 0 for the default", d.name, d.value))
		}
	}
	d := c.withDefaults()
	if d.PenaltyMax < d.PenaltyThreshold {
		errs = append(errs, fmt.Errorf("PenaltyMax (%v) is less than PenaltyThreshold (%v): nobody could ever be banned",
			d.PenaltyMax, d.PenaltyThreshold))
	}
	if d.DropPercent > 100 {
		errs = append(errs, fmt.Errorf("DropPercent is %d: want at most 100", d.DropPercent))
	}
	if d.DropFrom > d.MaxUnauthenticated {
		errs = append(errs, fmt.Errorf("DropFrom (%d) is more than MaxUnauthenticated (%d), at which all are refused",
			d.DropFrom, d.MaxUnauthenticated))
	}
	if len(c.Trusted) > maxTrusted {
		errs = append(errs, fmt.Errorf("%d trusted networks: at most %d", len(c.Trusted), maxTrusted))
	}
	for _, p := range c.Trusted {
		if err := checkPrefix(p); err != nil {
			errs = append(errs, fmt.Errorf("trusted network: %w", err))
		}
	}
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	orInt := func(v *int, def int) {
		if *v == 0 {
			*v = def
		}
	}
	orTime := func(v *time.Duration, def time.Duration) {
		if *v == 0 {
			*v = def
		}
	}
	orInt(&c.MaxConnections, defaultMaxConnections)
	orInt(&c.MaxPerSource, defaultMaxPerSource)
	orInt(&c.MaxUnauthenticated, defaultMaxUnauthenticated)
	orInt(&c.MaxUnauthenticatedPerSource, defaultMaxUnauthenticatedPerSource)
	orInt(&c.DropFrom, (c.MaxUnauthenticated+1)/2)
	orInt(&c.DropPercent, defaultDropPercent)
	orInt(&c.MaxSessionsPerUser, defaultMaxSessionsPerUser)
	orInt(&c.MaxGuesses, defaultMaxGuesses)
	orTime(&c.GuessWindow, defaultGuessWindow)
	orTime(&c.KnownFor, defaultKnownFor)
	orTime(&c.PenaltyThreshold, defaultPenaltyThreshold)
	orTime(&c.PenaltyMax, defaultPenaltyMax)
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return c
}

// checkPrefix refuses networks that would not mean what they seem to.
func checkPrefix(p netip.Prefix) error {
	switch {
	case !p.IsValid():
		return errors.New("not a network")
	case p.Addr().Is4In6():
		return fmt.Errorf("%v is an IPv4 network in IPv6 form: write it as IPv4", p)
	case p != p.Masked():
		return fmt.Errorf("%v has bits set after the first %d: did you mean %v?", p, p.Bits(), p.Masked())
	}
	return nil
}
