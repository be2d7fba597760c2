package admin

import (
	"context"

	"gateway/auth"
	"gateway/session"
)

// Group is a group as it is shown.
type Group = auth.Group

// GroupUpdate changes what is not nil.
type GroupUpdate struct {
	Name string `json:"name"`
	auth.AllowanceUpdate
}

func (s *Service) groupList(ctx context.Context, _ Nothing) ([]Group, error) {
	list, err := s.Accounts.Groups(ctx)
	if list == nil {
		list = []Group{}
	}
	return list, err
}

func (s *Service) groupShow(ctx context.Context, in Name) (Group, error) {
	return s.Accounts.Group(ctx, in.Name)
}

func (s *Service) groupSet(ctx context.Context, in GroupUpdate) (Group, error) {
	return s.groupChange(ctx, verbSet, in.Name, func() (auth.GroupChange, error) {
		return s.Accounts.SetGroup(ctx, in.Name, in.AllowanceUpdate)
	})
}

func (s *Service) groupRemove(ctx context.Context, in Name) (Group, error) {
	return s.groupChange(ctx, session.Remove, in.Name, func() (auth.GroupChange, error) { return s.Accounts.RemoveGroup(ctx, in.Name) })
}

// groupChange records a change of a group, makes it, and returns the group as it
// is afterwards, with its members.
func (s *Service) groupChange(ctx context.Context, verb session.Verb, name string, do func() (auth.GroupChange, error)) (Group, error) {
	var after Group
	err := s.record(ctx, verb, "group "+name, func() (any, any, error) {
		defer s.redecide(ctx)
		c, err := do()
		after = Group{Name: name, Members: s.Accounts.Members(name), Allowance: auth.Allowance{Permissions: []session.PathRule{}}}
		if c.After != nil {
			after.Allowance = c.After.Allowance
		}
		return c.Before, c.After, err
	})
	if err != nil {
		return Group{}, err
	}
	return after, nil
}

// Trust is whose certificates are taken of the members of a group.
type Trust = auth.Trust

// NameData is a request with a file's content.
type NameData struct {
	Name string `json:"name"`
	Data []byte `json:"data"`
}

func (s *Service) groupTrust(ctx context.Context, in Name) (Trust, error) {
	return s.Accounts.GroupTrust(ctx, in.Name)
}

func (s *Service) groupCAAdd(ctx context.Context, in NameData) (Trust, error) {
	return s.trustChange(ctx, verbAdd, "authority of group "+in.Name, func() (auth.TrustChange, error) {
		return s.Accounts.AddAuthorities(ctx, in.Name, in.Data)
	})
}

// groupCARemove also ends the sessions of the members: one of them may have come
// in by a certificate of that authority.
func (s *Service) groupCARemove(ctx context.Context, in NameValue) (Trust, error) {
	return s.trustChange(ctx, session.Remove, "authority of group "+in.Name, func() (auth.TrustChange, error) {
		c, err := s.Accounts.RemoveAuthority(ctx, in.Name, in.Value)
		if err == nil {
			for _, member := range s.Accounts.Members(in.Name) {
				s.end(member)
			}
		}
		return c, err
	})
}

func (s *Service) groupKRLSet(ctx context.Context, in NameData) (Trust, error) {
	return s.trustChange(ctx, verbSet, "revocation list of group "+in.Name, func() (auth.TrustChange, error) {
		return s.Accounts.SetKRL(ctx, in.Name, in.Data)
	})
}

func (s *Service) trustChange(ctx context.Context, verb session.Verb, object string, do func() (auth.TrustChange, error)) (Trust, error) {
	after := Trust{}
	err := s.record(ctx, verb, object, func() (any, any, error) {
		c, err := do()
		if err != nil {
			return nil, nil, err
		}
		after = c.After
		return c.Before, c.After, nil
	})
	return after, err
}
