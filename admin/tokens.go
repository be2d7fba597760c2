package admin

import (
	"context"

	"gateway/auth"
	"gateway/session"
)

// NewToken is a request to make a token of an account. Of Token, what the gateway
// says itself is not read.
type NewToken struct {
	Name  string     `json:"name"`
	Token auth.Token `json:"token"`
}

// MadeToken is a token with its text, which is told this once.
type MadeToken struct {
	auth.Token
	Text string `json:"text"`
}

// tokenAdd returns the text, which the record never holds.
func (s *Service) tokenAdd(ctx context.Context, in NewToken) (MadeToken, error) {
	var made MadeToken
	_, err := s.change(ctx, verbAdd, "token of "+in.Name, func() (auth.Change, error) {
		text, token, c, err := s.Accounts.AddToken(ctx, in.Name, in.Token)
		made = MadeToken{Token: token, Text: auth.RevealToken(text)}
		return c, err
	})
	if err != nil {
		return MadeToken{}, err
	}
	return made, nil
}

// tokenRemove also ends the account's sessions: one of them may have come in by
// that token.
func (s *Service) tokenRemove(ctx context.Context, in NameValue) (User, error) {
	return s.change(ctx, session.Remove, "token of "+in.Name, func() (auth.Change, error) {
		c, err := s.Accounts.RemoveToken(ctx, in.Name, in.Value)
		if err == nil {
			s.end(in.Name)
		}
		return c, err
	})
}
