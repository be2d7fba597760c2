package admin

import (
	"context"
	"net/netip"
	"time"

	"gateway/limits"
	"gateway/queue"
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

func (s *Service) queueList(ctx context.Context, _ Nothing) ([]queue.Item, error) {
	list, err := s.Queue.List(ctx)
	if list == nil {
		list = []queue.Item{}
	}
	return list, err
}

func (s *Service) queueShow(ctx context.Context, in ID) (queue.Detail, error) {
	d, err := s.Queue.Show(ctx, in.ID)
	return d, noMessage(err, in.ID)
}

// queueDo records and does one thing to a message.
func (s *Service) queueDo(ctx context.Context, verb session.Verb, id string, do func(context.Context, string) error) (Nothing, error) {
	return Nothing{}, s.record(ctx, verb, "message "+id, func() (any, any, error) { return nil, nil, noMessage(do(ctx, id), id) })
}

func noMessage(err error, id string) error {
	return missing(err, "there is no message %q in the queue; see 'gateway queue list'", id)
}

func (s *Service) queueHold(ctx context.Context, in ID) (Nothing, error) {
	return s.queueDo(ctx, verbHold, in.ID, s.Queue.Hold)
}

func (s *Service) queueRelease(ctx context.Context, in ID) (Nothing, error) {
	return s.queueDo(ctx, verbRelease, in.ID, s.Queue.Release)
}

func (s *Service) queueRetry(ctx context.Context, in ID) (Nothing, error) {
	return s.queueDo(ctx, verbRetry, in.ID, s.Queue.Retry)
}

func (s *Service) queueRemove(ctx context.Context, in ID) (Nothing, error) {
	return s.queueDo(ctx, session.Remove, in.ID, s.Queue.Remove)
}
