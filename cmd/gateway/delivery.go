package main

import (
	"context"
	"fmt"
	"path/filepath"

	"gateway/queue"
	"gateway/queue/relay"
	"gateway/queue/relay/dns"
	"gateway/queue/relay/mtasts"
)

// openQueue opens the mail queue, once: most commands can do without.
func (c *core) openQueue(ctx context.Context) (*queue.Queue, error) {
	if c.queue != nil {
		return c.queue, nil
	}
	mail := c.cfg.Mail
	mail.Dir, mail.MaildirDir = filepath.Join(c.cfg.State, "mail"), filepath.Dir(c.cfg.File)
	mail.MaxRecipients = c.cfg.SMTP.MaxRecipients
	mail.Hostname, mail.Recorder, mail.Log = c.cfg.Hostname, lateRecorder{c}, c.log
	var err error
	if mail.Client, err = c.relayClient(); err != nil {
		return nil, err
	}
	mail.Sign = func(domain string, fields []string) (queue.Signature, error) { return c.dkim.Sign(domain, fields) }
	for _, r := range mail.Routes {
		if r.Auth.Tokens == nil {
			continue
		}
		if err := r.Auth.Tokens.Keep(ctx, tokenKeeper{c}); err != nil {
			return nil, fmt.Errorf("route %q: %w", r.Name, err)
		}
	}
	q, err := queue.Open(ctx, mail)
	if err != nil {
		return nil, fmt.Errorf("open the mail queue: %w", err)
	}
	c.queue = q
	return q, nil
}

// relayClient hands mail to other hosts. Without a DNS resolver those that have an
// address of their own can be reached all the same.
func (c *core) relayClient() (*relay.Client, error) {
	client := &relay.Client{OwnNames: c.cfg.Certificates.Internal.Names, Results: relay.NewTLSResults()}
	resolver, err := dns.New(c.cfg.DNS)
	switch {
	case err != nil && len(c.cfg.DNS.Servers) > 0:
		return nil, fmt.Errorf("resolvers of mail: %w", err)
	case err != nil:
		c.log.Warn("mail exchangers cannot be looked up", "err", err)
		return client, nil
	}
	policies, err := mtasts.Open(mtasts.Config{Resolver: resolver, Dir: filepath.Join(c.cfg.State, "mta-sts"), Log: c.log})
	if err != nil {
		return nil, err
	}
	client.Resolver, client.Policies = resolver, policies
	return client, nil
}

// tokenKeeper keeps refresh tokens in the database, sealed.
type tokenKeeper struct{ core *core }

func (k tokenKeeper) Load(ctx context.Context, name string) ([]byte, error) {
	sealed, err := k.core.db.Kept(ctx, name)
	if err != nil || sealed == nil {
		return nil, err
	}
	return k.core.sealer.Open(sealed, name)
}

func (k tokenKeeper) Save(ctx context.Context, name string, token []byte) {
	sealed, err := k.core.sealer.Seal(token, name)
	if err == nil {
		err = k.core.db.Keep(ctx, name, sealed)
	}
	if err != nil {
		k.core.log.Error("a refresh token is lost at the next start, when its route needs another", "err", err)
	}
}
