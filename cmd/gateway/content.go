package main

import (
	"context"

	"gateway/config"
	"gateway/session"
	"gateway/smtp"
	"gateway/smtp/milter"
	"gateway/transfer"
)

// filters are the milters of a listener.
func (n *node) filters(l config.Listener) []smtp.Filter {
	var list []smtp.Filter
	for _, name := range l.Milters {
		for _, cfg := range n.cfg.Milters {
			if cfg.Name == name {
				cfg.Log = n.log
				list = append(list, milter.New(cfg))
			}
		}
	}
	return list
}

// journal keeps copies of mail in the folders of accounts.
func (n *node) journal() smtp.Journal {
	j := transfer.NewJournal(n.shares, n.recorder)
	return smtp.JournalFunc(func(ctx context.Context, s *session.Session, rule, name string) (smtp.Copy, error) {
		c, err := j.Begin(ctx, s, rule, name)
		if err != nil {
			return nil, err // and not a nil *transfer.JournalCopy
		}
		return c, nil
	})
}
