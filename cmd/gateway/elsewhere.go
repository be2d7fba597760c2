package main

import (
	"context"
	"time"

	"gateway/auth"
	"gateway/auth/oldserver"
	"gateway/config"
	"gateway/session"
)

// oldServers are those of the configuration, in its order.
func oldServers(cfg *config.Config) []*oldserver.Server {
	var servers []*oldserver.Server
	for _, o := range cfg.OldServers {
		servers = append(servers, oldserver.New(o))
	}
	return servers
}

// newcomers finds the old server that is asked about names without an account.
func newcomers(servers []*oldserver.Server) func(now time.Time) auth.Newcomers {
	return func(now time.Time) auth.Newcomers {
		for _, s := range servers {
			if groups := s.Newcomers(now); groups != nil {
				return auth.Newcomers{By: s, Groups: groups}
			}
		}
		return auth.Newcomers{}
	}
}

// elsewhere finds the old server that is asked about accounts of some groups: the first
// of the configuration that is named for one of them.
func elsewhere(servers []*oldserver.Server) func(groups []string, now time.Time) auth.Elsewhere {
	return func(groups []string, now time.Time) auth.Elsewhere {
		for _, s := range servers {
			if s.For(groups, now) {
				return s
			}
		}
		return nil
	}
}

// asked records that another server was asked about a password, and what it said. A name
// that is nobody's is recorded as everywhere: it may be a mistyped password.
func (c *core) asked(user, by string, right bool, err error) {
	if _, unknown := c.accounts.Show(context.Background(), user); unknown != nil && !right {
		user = session.UnknownName(c.nameKey, user)
	}
	e := session.Event{Event: session.EventAdmin, User: user, Verb: "ask", Object: "password of " + user + " at " + by, Outcome: session.OutcomeDone}
	switch {
	case err != nil:
		e.Outcome, e.Reason = session.OutcomeFailed, err.Error()
	case !right:
		e.Outcome = session.OutcomeRefused
	}
	if err := (lateRecorder{c}).Append(e); err != nil {
		c.log.Error("that an old server was asked is not recorded", "user", user, "server", by, "err", err)
	}
}

// renewed records that the hash of a password was replaced by a better one.
func (c *core) renewed(user, before, after string) {
	err := (lateRecorder{c}).Append(session.Event{
		Event: session.EventAdmin, User: user, Verb: "renew", Object: "password hash of " + user, Outcome: session.OutcomeDone, Before: before, After: after,
	})
	if err != nil {
		c.log.Error("that a password hash was replaced is not recorded", "user", user, "err", err)
	}
}
