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
