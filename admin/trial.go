package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"gateway/session"
)

const (
	// minTrial and maxTrial bound how long rules may be tried.
	minTrial = time.Second
	maxTrial = 7 * 24 * time.Hour
	// trialName is what a Trial is kept under.
	trialName = "policy trial"
)

// Keeper keeps a few small values over a restart, on stable storage; nil is none.
type Keeper interface {
	Kept(ctx context.Context, name string) ([]byte, error)
	Keep(ctx context.Context, name string, value []byte) error
}

// Trial is rules that go back by themselves unless they are confirmed.
type Trial struct {
	// Tried are the hashes of the rules that were tried since; the last ones are in force,
	// or about to be.
	Tried  []string  `json:"tried"`
	Until  time.Time `json:"until"`  // when those before come back
	Before string    `json:"before"` // their hash
	Source string    `json:"source"` // and their text
}

func (t *Trial) last() string { return t.Tried[len(t.Tried)-1] }

// errNoTrial is that there is nothing to confirm.
var errNoTrial = errors.New("no rules wait to be confirmed")

// trial returns the one that is under way; nil if there is none.
func (s *Service) trial(ctx context.Context) (*Trial, error) {
	kept, err := s.Kept.Kept(ctx, trialName)
	if err != nil || len(kept) == 0 {
		return nil, err
	}
	t := &Trial{}
	if err := json.Unmarshal(kept, t); err != nil {
		return nil, fmt.Errorf("read what rules are tried: %w", err)
	}
	if len(t.Tried) == 0 {
		return nil, nil
	}
	return t, nil
}

// keepTrial notes that one is under way, or with nil that there is none any more.
func (s *Service) keepTrial(ctx context.Context, t *Trial) error {
	var text []byte
	if t != nil {
		var err error
		if text, err = json.Marshal(t); err != nil {
			return err
		}
	}
	return s.Kept.Keep(ctx, trialName, text)
}

// begin makes out a trial of the rules that are about to come into force. Whoever tries
// others before the first are confirmed goes back to those before the first.
func (s *Service) begin(ctx context.Context, out *Applied, confirm time.Duration) error {
	if confirm < minTrial || confirm > maxTrial {
		return Usage("the time to confirm is %v; want %v to %v", confirm, minTrial, maxTrial)
	}
	if s.Node == nil {
		return fmt.Errorf("%w: nobody would bring the rules of now back", ErrNotRunning)
	}
	t, err := s.trial(ctx)
	if err != nil {
		return err
	}
	if t == nil {
		old, err := s.Rules.Load()
		if err != nil {
			return fmt.Errorf("the rules of now could not come back: %w", err)
		}
		t = &Trial{Before: old.Hash(), Source: string(old.Source())}
	}
	t.Tried, t.Until = append(t.Tried, out.Hash), time.Now().UTC().Add(confirm)
	if err := s.keepTrial(ctx, t); err != nil {
		return err
	}
	out.Until = t.Until
	s.Node.RevertAt(t.Until)
	return nil
}

// policyConfirm makes the rules that are tried stay.
func (s *Service) policyConfirm(ctx context.Context, _ Nothing) (Applied, error) {
	s.changing.Lock()
	defer s.changing.Unlock()
	t, err := s.trial(ctx)
	if err != nil {
		return Applied{}, err
	}
	if t == nil {
		return Applied{}, fmt.Errorf("%w; see 'gateway policy apply --confirm'", errNoTrial)
	}
	out := Applied{Hash: t.last(), Before: t.Before, Running: s.Node != nil}
	return out, s.recordPolicy(ctx, verbConfirm, out, func() error { return s.keepTrial(ctx, nil) })
}

// ResumeTrial has a node that starts go on with a trial: it is to call it before anybody
// is served, and rules whose time is over have gone back then.
func (s *Service) ResumeTrial(ctx context.Context) error {
	t, err := s.trial(ctx)
	if err != nil || t == nil {
		return err
	}
	if time.Now().Before(t.Until) {
		s.Node.RevertAt(t.Until)
		return nil
	}
	return s.EndTrial(ctx)
}

// EndTrial brings the rules back that were in force before a trial whose time is over,
// unless they were confirmed, or others have taken their place meanwhile.
func (s *Service) EndTrial(ctx context.Context) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	t, err := s.trial(ctx)
	if err != nil || t == nil || time.Now().Before(t.Until) {
		return err
	}
	if now, err := s.Rules.Load(); err == nil && !slices.Contains(t.Tried, now.Hash()) {
		return s.keepTrial(ctx, nil)
	}
	out := Applied{Hash: t.Before, Before: t.last()}
	err = s.recordPolicy(ctx, verbRevert, out, func() error { return s.putInForce(ctx, []byte(t.Source)) })
	if err != nil {
		return fmt.Errorf("rules that were not confirmed are still in force: %w", err)
	}
	return s.keepTrial(ctx, nil)
}

// recordPolicy records a change of the rules: before it is made, without which it is not,
// and how it went.
func (s *Service) recordPolicy(ctx context.Context, verb session.Verb, out Applied, change func() error) error {
	e := session.Event{Event: session.EventPolicy, Protocol: session.CLI, User: actor(ctx), Verb: verb, Hash: out.Hash, Before: out.Before, Outcome: session.OutcomeBegun}
	if verb == verbRevert {
		e.Protocol, e.User = "", "" // by itself
	}
	if err := s.Recorder.Commit(ctx, e); err != nil {
		return fmt.Errorf("nothing was changed, because it cannot be recorded: %w", err)
	}
	err := change()
	e.Outcome = session.OutcomeDone
	if err != nil {
		e.Outcome, e.Reason = session.OutcomeFailed, err.Error()
	}
	return errors.Join(err, s.Recorder.Commit(context.WithoutCancel(ctx), e))
}
