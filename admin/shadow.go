package admin

import (
	"context"

	"gateway/policies"
)

// Shadow are the rules that decide beside those in force, for the record only.
type Shadow struct {
	Hash     string             `json:"hash"` // empty: there are none
	Warnings []policies.Warning `json:"warnings,omitempty"`
	Running  bool               `json:"running"` // they are asked now, not only after the next start
}

// policyShadow shows them.
func (s *Service) policyShadow(context.Context, Nothing) (Shadow, error) {
	p, err := s.Rules.LoadShadow()
	return Shadow{Hash: p.Hash(), Running: s.Gate != nil}, err
}

// policyShadowSet puts rules beside those in force; with an empty Source it takes them
// away.
func (s *Service) policyShadowSet(ctx context.Context, in Policy) (Shadow, error) {
	out := Shadow{Running: s.Gate != nil}
	var policy *policies.Policy
	var source []byte
	if in.Source != "" {
		var err error
		if policy, err = s.Rules.Parse([]byte(in.Source), in.Name); err != nil {
			return Shadow{}, err
		}
		out.Hash, out.Warnings, source = policy.Hash(), policy.Warnings(), []byte(in.Source)
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	err := s.recordPolicy(ctx, verbShadow, Applied{Hash: out.Hash}, func() error {
		if err := s.Rules.InstallShadow(source); err != nil || s.Gate == nil {
			return err
		}
		return s.UseShadow()
	})
	if err != nil {
		return Shadow{}, err
	}
	return out, nil
}

// UseShadow has the gate ask the rules that are installed. They are read from where they
// lie, so that what the record names is that file.
func (s *Service) UseShadow() error {
	p, err := s.Rules.LoadShadow()
	switch {
	case err != nil:
		return err
	case p == nil:
		s.Gate.SetShadow(nil)
	default:
		s.Gate.SetShadow(p)
	}
	return nil
}
