package admin

import (
	"context"
	"net/netip"
	"time"

	"gateway/limits"
	"gateway/session"
)

// ID is a request about one session or message.
type ID struct {
	ID string `json:"id"`
}

func (s *Service) sessionsList(context.Context, Nothing) ([]session.Info, error) {
	if s.Gate == nil {
		return []session.Info{}, nil // nobody can be logged in to a gateway that is not running
	}
	list := s.Gate.Sessions()
	if list == nil {
		list = []session.Info{}
	}
	return list, nil
}

func (s *Service) sessionsKill(ctx context.Context, in ID) (Nothing, error) {
	if s.Gate == nil {
		return Nothing{}, ErrNotRunning
	}
	return Nothing{}, s.record(ctx, verbKill, "session "+in.ID, func() (any, any, error) {
		for _, info := range s.Gate.Sessions() {
			if info.ID == in.ID && s.Gate.Kill(in.ID) {
				return info, nil, nil
			}
		}
		return nil, nil, missing(session.ErrNotExist, "there is no session %q; see 'gateway sessions list'", in.ID)
	})
}

// Ban is a request to ban a source.
type Ban struct {
	Network netip.Prefix  `json:"network"`
	For     time.Duration `json:"for"` // nanoseconds; zero means until it is removed
	Reason  string        `json:"reason"`
}

func (s *Service) bansList(context.Context, Nothing) ([]limits.Ban, error) {
	list := s.Limits.Bans()
	if list == nil {
		list = []limits.Ban{}
	}
	return list, nil
}

func (s *Service) bansAdd(ctx context.Context, in Ban) (Nothing, error) {
	return Nothing{}, s.record(ctx, verbBan, in.Network.String(), func() (any, any, error) {
		return nil, in, s.Limits.Ban(in.Network, in.For, in.Reason)
	})
}

func (s *Service) bansRemove(ctx context.Context, in Ban) (Nothing, error) {
	return Nothing{}, s.record(ctx, verbUnban, in.Network.String(), func() (any, any, error) {
		return nil, nil, missing(s.Limits.Unban(in.Network), "%s is not banned; see 'gateway bans list'", in.Network)
	})
}
