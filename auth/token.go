package auth

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"gateway/session"
)

const (
	maxTokens        = 64 // of one account
	maxTokenSenders  = 64
	maxTokenNetworks = 64
	// tokenUsedTime is how long it is only noted that a token was used.
	tokenUsedTime = 30 * time.Second
	// maxTokensNoted bounds those that are noted.
	maxTokensNoted = 10_000
)

// Token is a credential of an account for one program or device: it is sent in the
// place of a password, by whatever protocol it is good for. The text is known only
// to whoever got it when it was made.
type Token struct {
	ID        string             `json:"id"`
	Label     string             `json:"label,omitempty"`
	Protocols []session.Protocol `json:"protocols"`
	// Senders are the mail senders that it is good for; none means all of the account's.
	Senders []string `json:"senders,omitempty"`
	// Networks are where it may be used from; none means anywhere.
	Networks []netip.Prefix `json:"networks,omitempty"`
	Expires  time.Time      `json:"expires,omitzero"` // zero is never
	Added    time.Time      `json:"added"`
	Used     time.Time      `json:"used,omitzero"` // the last login with it
	UsedFrom string         `json:"used_from,omitempty"`
}

// admits reports whether the token is good there and then.
func (t *Token) admits(p session.Protocol, source netip.Addr, now time.Time) bool {
	source = source.Unmap().WithZone("")
	return slices.Contains(t.Protocols, p) && (t.Expires.IsZero() || now.Before(t.Expires)) &&
		(len(t.Networks) == 0 || slices.ContainsFunc(t.Networks, func(n netip.Prefix) bool { return n.Contains(source) }))
}

// checked returns t as it is kept, for an account, or why it cannot be had.
func (t Token) checked(owner *Info, now time.Time) (Token, error) {
	if len(t.Protocols) == 0 {
		return t, invalid("token", "say which protocols it is good for: ftp, sftp, submission, relay")
	}
	for _, p := range t.Protocols {
		switch p {
		case session.FTP, session.SFTP, session.Submission, session.Relay:
		default:
			return t, invalid("token", "protocol %q: want ftp, sftp, submission or relay", clip(string(p)))
		}
	}
	slices.Sort(t.Protocols)
	t.Protocols = slices.Compact(t.Protocols)
	for i, text := range t.Senders {
		sender, err := ParseAddress(text)
		if err != nil {
			return t, err
		}
		whole := strings.HasPrefix(sender, "@") || strings.Contains(sender, "*")
		if !slices.Contains(owner.Addresses, sender) && (whole || !session.Identity{Addresses: owner.Addresses}.Sends(sender)) {
			return t, invalid("token", "sender %s: the account may not send as that; gateway user address add %s %s", sender, owner.Name, sender)
		}
		t.Senders[i] = sender
	}
	t.Senders = slices.Compact(slices.Sorted(slices.Values(t.Senders)))
	for _, n := range t.Networks {
		if !n.IsValid() || n != n.Masked() || n.Addr().Is4In6() {
			return t, invalid("token", "%s is no network", n)
		}
	}
	switch {
	case len(t.Senders) > maxTokenSenders, len(t.Networks) > maxTokenNetworks:
		return t, invalid("token", "at most %d senders and %d networks", maxTokenSenders, maxTokenNetworks)
	case !t.Expires.IsZero() && !t.Expires.After(now):
		return t, invalid("token", "it would have expired already, at %s", t.Expires.UTC().Format(time.RFC3339))
	}
	t.Label = cleanComment(t.Label)
	return t, nil
}

// AddToken makes a token of the account; ID and Added of t are set. The text is
// returned once, and kept as a keyed hash. Errors: ErrInvalid, ErrNotExist.
func (a *Accounts) AddToken(ctx context.Context, name string, t Token) (session.Secret, Token, Change, error) {
	secret := session.NewToken()
	hash := a.tokenHash(secret)
	t.ID = session.NewID()[:8]
	change, err := a.edit(ctx, "add token to", name, func(ctx context.Context, tx *sql.Tx, before *record, now int64) error {
		if len(before.info.Tokens) >= maxTokens {
			return invalid("tokens", "an account has at most %d", maxTokens)
		}
		var err error
		if t, err = t.checked(&before.info, fromMicros(now)); err != nil {
			return err
		}
		t.Added = fromMicros(now)
		var expires int64
		if !t.Expires.IsZero() {
			expires = t.Expires.UnixMicro()
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO account_tokens (id, account, hash, label, protocols, senders, networks, expires, added)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
			t.ID, before.id, hash[:], t.Label, joined(t.Protocols), joined(t.Senders), joined(t.Networks), expires, now)
		return err
	})
	if err != nil {
		return session.Secret{}, Token{}, Change{}, err
	}
	return secret, t, change, nil
}

// RevealToken is the text of a token, for whoever asked that it be made.
func RevealToken(token session.Secret) string { return token.Reveal() }

// RemoveToken takes the token with that id away. Errors: ErrNotExist.
func (a *Accounts) RemoveToken(ctx context.Context, name, id string) (Change, error) {
	return a.edit(ctx, "remove token of", name, func(ctx context.Context, tx *sql.Tx, before *record, _ int64) error {
		res, err := tx.ExecContext(ctx, `DELETE FROM account_tokens WHERE account = $1 AND id = $2`, before.id, id)
		return oneRow(res, err, fmt.Errorf("%q: %w", clip(id), errNoToken))
	})
}

// tokenHash is what is kept of a token. It has 130 random bits, which nobody finds
// by trying however fast a try is; so a fast hash is enough, unlike for a password
// that somebody thought of, and a login with a token costs next to nothing. The key
// of the installation makes hashes that were taken elsewhere useless.
func (a *Accounts) tokenHash(token session.Secret) mac {
	h := hmac.New(sha256.New, a.key)
	h.Write([]byte("token\x00"))
	h.Write([]byte(token.Reveal()))
	return mac(h.Sum(nil))
}

// verifyToken takes the same path for every name.
func (a *Accounts) verifyToken(ctx context.Context, source netip.Addr, c session.Credential) (session.Proof, error) {
	now := time.Now()
	r, err := a.find(ctx, c.User)
	if err != nil {
		return session.Proof{}, err
	}
	hash := a.tokenHash(c.Secret)
	if r != nil {
		if t, ok := r.tokens[hash]; ok && t.admits(c.Protocol, source, now) {
			return session.Proof{Token: t.ID, Senders: t.Senders}, nil
		}
	}
	// A device with an old token goes on trying: that is one offence, and no more.
	name := a.memo.name(c.User)
	_, again := a.memo.recall(name, hash, now)
	if !again {
		a.memo.remember(name, hash, false, now)
	}
	return session.Proof{Again: again}, session.ErrDenied
}

func (l *loader) tokens() error {
	return l.each(`SELECT t.account, t.id, t.hash, t.label, t.protocols, t.senders, t.networks, t.expires, t.added, t.used, t.used_from
		FROM accounts a JOIN account_tokens t ON t.account = a.id`, func(dest func(...any) error) error {
		var account, expires, added, used int64
		var hash []byte
		var protocols, senders, networks string
		var t Token
		if err := dest(&account, &t.ID, &hash, &t.Label, &protocols, &senders, &networks, &expires, &added, &used, &t.UsedFrom); err != nil {
			return err
		}
		for _, p := range strings.Fields(protocols) {
			t.Protocols = append(t.Protocols, session.Protocol(p))
		}
		if senders != "" {
			t.Senders = strings.Fields(senders)
		}
		for _, text := range strings.Fields(networks) {
			n, err := netip.ParsePrefix(text)
			if err != nil {
				return fmt.Errorf("token %s: %w", t.ID, err)
			}
			t.Networks = append(t.Networks, n)
		}
		if len(hash) != sha256.Size {
			return fmt.Errorf("token %s: its hash is none", t.ID)
		}
		t.Added = fromMicros(added)
		if expires != 0 {
			t.Expires = fromMicros(expires)
		}
		if used != 0 {
			t.Used = fromMicros(used)
		}
		r := l.found[account]
		if r.tokens == nil {
			r.tokens = make(map[mac]*Token)
		}
		r.tokens[mac(hash)] = &t
		r.info.Tokens = append(r.info.Tokens, t)
		slices.SortFunc(r.info.Tokens, func(x, y Token) int { return cmp.Or(x.Added.Compare(y.Added), cmp.Compare(x.ID, y.ID)) })
		return nil
	})
}

// joined writes a list as it is stored.
func joined[T any](list []T) string {
	words := make([]string, len(list))
	for i, v := range list {
		words[i] = fmt.Sprint(v)
	}
	return strings.Join(words, " ")
}

type tokenUse struct {
	account, from string
	at            time.Time
}

// TokenUsed tells that a login of the account by that token was granted. It does
// nothing that takes time.
func (a *Accounts) TokenUsed(name, id string, from netip.Addr) {
	now := time.Now()
	a.usedTokens.note(tokenUsedTime, func() { a.storeTokensUsed(context.Background()) }, func(noted map[string]tokenUse) {
		if _, again := noted[id]; again || len(noted) < maxTokensNoted {
			noted[id] = tokenUse{name, from.Unmap().WithZone("").String(), now}
		}
	})
}

// storeTokensUsed stores what is noted. The generation of the accounts stays.
func (a *Accounts) storeTokensUsed(ctx context.Context) {
	through := context.WithoutCancel(ctx)
	_ = a.usedTokens.take(func(noted map[string]tokenUse) error {
		accounts := make(map[string]bool)
		err := a.db.Write(through, func(tx *sql.Tx) error {
			for id, use := range noted {
				accounts[use.account] = true
				_, err := tx.ExecContext(through, `UPDATE account_tokens SET used = $2, used_from = $3 WHERE id = $1`, id, use.at.UnixMicro(), use.from)
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			a.cfg.Log.Error("it is not stored when tokens were used last", "err", err)
		}
		for name := range accounts {
			a.refresh(through, name)
		}
		return err
	})
}
