package admin

import (
	"context"
	"net/netip"
	"time"

	"gateway/policies"
	"gateway/session"
)

// Question asks what the rules say of somebody who comes in some way.
type Question struct {
	User     string              `json:"user"`
	Groups   *[]string           `json:"groups"` // nil: the account's own
	Protocol session.Protocol    `json:"protocol"`
	Channel  session.ChannelKind `json:"channel"`
	Listener string              `json:"listener"`
	From     netip.Addr          `json:"from"`
	Method   session.Method      `json:"method"`
	Client   session.Client      `json:"client"`
	Proven   session.Factors     `json:"proven"` // empty: what the method proves
	At       time.Time           `json:"at"`     // zero: now
	// Act is what they do then; the zero Act asks about the login alone.
	Act session.Act `json:"act"`
}

// policyExplain asks the rules in force; of a gateway that is not running, those
// in the file.
func (s *Service) policyExplain(ctx context.Context, in Question) (policies.Explanation, error) {
	policy, err := s.policyInForce()
	if err != nil {
		return policies.Explanation{}, err
	}
	account, err := s.Accounts.Lookup(ctx, netip.Addr{}, in.User)
	if err != nil {
		return policies.Explanation{}, err
	}
	request := session.Request{
		Time: in.At, Listener: in.Listener, Protocol: in.Protocol, Remote: in.From, Channel: in.Channel,
		User: in.User, Known: account.Known, As: account.As, Groups: account.Identity.Groups, Method: in.Method, Proven: in.Proven,
		Client: in.Client, Act: in.Act, PasswordSet: account.PasswordSet, Cohort: session.CohortOf(s.CohortKey, in.User),
	}
	past := s.Accounts.Recall(request.Subject(), session.ClientID{Class: in.Client, Network: session.ClientNetwork(in.From)})
	request.Recall(past)
	if in.Groups != nil { // as if there were such an account
		request.Known, request.As, request.Groups = true, "", *in.Groups
	}
	if request.Time.IsZero() {
		request.Time = time.Now().UTC()
	}
	return policy.Explain(request), nil
}

func (s *Service) policyInForce() (*policies.Policy, error) {
	if s.Gate != nil {
		if p, ok := s.Gate.Policy().(*policies.Policy); ok {
			return p, nil
		}
	}
	return s.Rules.Load()
}

// Policy is a request to put rules in force.
type Policy struct {
	Name   string `json:"name"` // of the file they come from, for messages
	Source string `json:"source"`
	// Confirm, if it is not zero, is how long they are in force unless they are confirmed;
	// then those before come back. It needs a running gateway.
	Confirm time.Duration `json:"confirm,omitempty"` // nanoseconds
	// Force puts rules in force that would keep out whoever must be able to come in.
	Force bool `json:"force,omitempty"`
}

// Applied is what came into force.
type Applied struct {
	Before   string             `json:"before,omitempty"` // hash
	Hash     string             `json:"hash"`
	Warnings []policies.Warning `json:"warnings,omitempty"`
	Running  bool               `json:"running"`        // in force now, not only at the next start
	Until    time.Time          `json:"until,omitzero"` // when they go back, unless they are confirmed
}

// PolicyWarnings are those of rules, with the groups that no account is in. Before there are
// accounts that says nothing.
func (s *Service) PolicyWarnings(ctx context.Context, p *policies.Policy) ([]policies.Warning, error) {
	if s.Accounts == nil { // rules alone are looked after
		return p.Warnings(), nil
	}
	groups, err := s.Accounts.Groups(ctx)
	if err != nil || len(groups) == 0 {
		return p.Warnings(), err
	}
	return append(p.Warnings(), p.UnknownGroups(groupNames(groups))...), nil
}

func groupNames(groups []Group) []string {
	var names []string
	for _, g := range groups {
		names = append(names, g.Name)
	}
	return names
}

// policyWarnings checks rules without putting them in force.
func (s *Service) policyWarnings(ctx context.Context, in Policy) (Applied, error) {
	policy, err := s.Rules.Parse([]byte(in.Source), in.Name)
	if err != nil {
		return Applied{}, err
	}
	out := Applied{Hash: policy.Hash(), Running: s.Node != nil}
	out.Warnings, err = s.PolicyWarnings(ctx, policy)
	return out, err
}

// policyApply checks rules, makes them the policy file, and puts them in force.
// Rules that are not right leave everything as it was.
func (s *Service) policyApply(ctx context.Context, in Policy) (Applied, error) {
	policy, err := s.Rules.Parse([]byte(in.Source), in.Name)
	if err != nil {
		return Applied{}, err
	}
	if err := lockout(policy, time.Now()); err != nil && !in.Force {
		return Applied{}, err
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	out := Applied{Hash: policy.Hash(), Running: s.Node != nil}
	if out.Warnings, err = s.PolicyWarnings(ctx, policy); err != nil {
		return Applied{}, err
	}
	if old, err := s.policyInForce(); err == nil {
		out.Before = old.Hash()
	}
	err = s.recordPolicy(ctx, verbApply, out, func() error {
		// Whatever ends us in between, rules that are not confirmed do not stay.
		if in.Confirm != 0 {
			if err := s.begin(ctx, &out, in.Confirm); err != nil {
				return err
			}
		}
		err := s.putInForce(ctx, []byte(in.Source))
		if err == nil && in.Confirm == 0 {
			err = s.keepTrial(ctx, nil)
		}
		return err
	})
	if err != nil {
		return Applied{}, err
	}
	return out, nil
}

// putInForce makes rules that were found good the policy file, and has a running
// gateway use them. They are read again from where they lie, so that what is in
// force and what its messages name is the file of the next start.
func (s *Service) putInForce(ctx context.Context, source []byte) error {
	if err := s.Rules.Install(source); err != nil || s.Node == nil {
		return err
	}
	policy, err := s.Rules.Load()
	if err != nil {
		return err
	}
	return s.Node.Use(ctx, policy)
}
