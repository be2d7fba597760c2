package main

import (
	"context"

	"gateway/admin"
	"gateway/auth"
	"gateway/auth/directory"
	"gateway/auth/hook"
	"gateway/config"
	"gateway/session"
)

// sources are those of the configuration, in its order.
func sources(cfg *config.Config) []auth.Source {
	var list []auth.Source
	for _, s := range cfg.Sources {
		if s.Hook != nil {
			list = append(list, hook.New(*s.Hook))
			continue
		}
		list = append(list, directory.New(*s.Directory))
	}
	return list
}

// followed records what a source is the cause of.
func (c *core) followed(ctx context.Context, by string, verb session.Verb, user string, change func() (auth.Change, error)) error {
	service := admin.Service{Recorder: lateRecorder{c}}
	return service.Follow(ctx, by, verb, user, change)
}

// followSources keeps the accounts that are logged in as their sources say they are.
func (n *node) followSources(ctx context.Context) error {
	live := func() []string {
		var users []string
		for _, s := range n.gate.Sessions() {
			users = append(users, s.User)
		}
		return users
	}
	return n.accounts.FollowSources(ctx, live, func(ctx context.Context) {
		if ended := n.gate.Redecide(ctx); ended > 0 {
			n.log.Info("sessions ended because of what a source says of their accounts", "sessions", ended)
		}
	})
}
