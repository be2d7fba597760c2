package admin

import (
	"context"
	"errors"

	"gateway/session"
	"gateway/smtp/dkim"
)

// Domain is a request about the DKIM keys of one domain; of all if it is empty.
type Domain struct {
	Domain string `json:"domain"`
}

// NewDomainKeys is a request to make DKIM keys.
type NewDomainKeys struct {
	Domain string `json:"domain"`
	// Selector may be empty for one made of the day.
	Selector string `json:"selector"`
	// Algorithms are not looked at by prepare, which replaces what there is.
	Algorithms []dkim.Algorithm `json:"algorithms"`
}

// DomainKey names one DKIM key.
type DomainKey struct {
	Domain   string `json:"domain"`
	Selector string `json:"selector"`
}

// keyError makes a usage error of what cannot be right whatever the state.
func keyError(err error) error {
	if errors.Is(err, dkim.ErrInvalid) {
		return Usage("%w", err)
	}
	return err
}

func (s *Service) mailKeyList(_ context.Context, in Domain) ([]dkim.Key, error) {
	if in.Domain == "" {
		return s.DKIM.List(), nil
	}
	domain, err := dkim.Canonical(in.Domain)
	if err != nil {
		return nil, keyError(err)
	}
	return s.DKIM.Of(domain), nil
}

func (s *Service) mailKeyAdd(ctx context.Context, in NewDomainKeys) ([]dkim.Key, error) {
	return s.changeKeys(ctx, verbAdd, in.Domain, func(domain string) ([]dkim.Key, error) {
		return s.DKIM.Add(domain, in.Selector, in.Algorithms)
	})
}

func (s *Service) mailKeyPrepare(ctx context.Context, in NewDomainKeys) ([]dkim.Key, error) {
	return s.changeKeys(ctx, verbAdd, in.Domain, func(domain string) ([]dkim.Key, error) {
		return s.DKIM.Prepare(domain, in.Selector)
	})
}

func (s *Service) mailKeyRotate(ctx context.Context, in Domain) ([]dkim.Key, error) {
	return s.changeKeys(ctx, verbRotate, in.Domain, s.DKIM.Rotate)
}

func (s *Service) mailKeyRemove(ctx context.Context, in DomainKey) ([]dkim.Key, error) {
	return s.changeKeys(ctx, session.Remove, in.Domain, func(domain string) ([]dkim.Key, error) {
		k, err := s.DKIM.Remove(domain, in.Selector)
		return []dkim.Key{k}, err
	})
}

// changeKeys records a change of a domain's keys and makes it. It returns what the
// change is about.
func (s *Service) changeKeys(ctx context.Context, verb session.Verb, domain string, change func(domain string) ([]dkim.Key, error)) (about []dkim.Key, err error) {
	domain, err = dkim.Canonical(domain)
	if err != nil {
		return nil, keyError(err)
	}
	err = s.record(ctx, verb, "DKIM keys of "+domain, func() (any, any, error) {
		before := s.DKIM.Of(domain)
		about, err = change(domain)
		return before, s.DKIM.Of(domain), keyError(err)
	})
	return about, err
}
