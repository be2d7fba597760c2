package auth

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"gateway/session"
	"gateway/store"
)

const maxAuthorities = 16 // of one group

// Trust is by whom certificates of a group's members may be signed, and which of
// their keys and certificates are revoked.
type Trust struct {
	Authorities []Key `json:"authorities"`
	// Revoked describes the group's revocation list; nil if it has none.
	Revoked *KRL `json:"revoked,omitempty"`
}

// TrustChange is what a change did, for the record.
type TrustChange struct {
	Before, After Trust
}

// trust is Trust as it is decided by.
type trust struct {
	shown       Trust
	authorities []authority
	revoked     *krl
	// unreadable is why the stored list cannot be used: then no key and no
	// certificate of a member is good, as with sshd.
	unreadable error
}

// check says why a key of a member that is no certificate does not count; "" if it
// does.
func (t *trust) check(blob string) string {
	switch {
	case t.unreadable != nil:
		return "the revocation list of one of its groups cannot be read"
	case t.revoked != nil && t.revoked.revokesKey(blob):
		return "it is revoked"
	}
	return ""
}

// checkCert is check for a certificate, whoever signed it.
func (t *trust) checkCert(cert *ssh.Certificate) string {
	switch {
	case t.unreadable != nil:
		return "the revocation list of one of its groups cannot be read"
	case t.revoked != nil:
		if why := t.revoked.revokes(cert); why != "" {
			return "revoked: " + why
		}
	}
	return ""
}

// trustsOf returns what holds for the members of these groups.
func (a *Accounts) trustsOf(groups []string) []*trust {
	a.mu.RLock()
	defer a.mu.RUnlock()
	var list []*trust
	for _, g := range groups {
		if t := a.trusts[g]; t != nil {
			list = append(list, t)
		}
	}
	return list
}

// loadTrusts reads what was said of groups' keys.
func loadTrusts(ctx context.Context, tx *sql.Tx) (map[string]*trust, error) {
	trusts := make(map[string]*trust)
	of := func(name string) *trust {
		if trusts[name] == nil {
			trusts[name] = &trust{shown: Trust{Authorities: []Key{}}}
		}
		return trusts[name]
	}
	l := loader{ctx: ctx, tx: tx}
	err := errors.Join(
		l.each(`SELECT group_name, algorithm, fingerprint, comment, blob, added, options FROM group_authorities ORDER BY group_name, added, fingerprint`, func(dest func(...any) error) error {
			var name, text string
			var k Key
			var blob []byte
			var added int64
			if err := dest(&name, &k.Algorithm, &k.Fingerprint, &k.Comment, &blob, &added, &text); err != nil {
				return err
			}
			k.blob, k.Added, k.Options = string(blob), fromMicros(added), strings.Split(text, "\n")
			t := of(name)
			if o, _, err := parseOptions(k.Options, k.Algorithm); err == nil && o.authority {
				t.authorities = append(t.authorities, authority{key: k.id(), options: o})
			}
			t.shown.Authorities = append(t.shown.Authorities, k)
			return nil
		}),
		l.each(`SELECT group_name, list FROM group_revocations`, func(dest func(...any) error) error {
			var name string
			var data []byte
			if err := dest(&name, &data); err != nil {
				return err
			}
			t := of(name)
			t.revoked, t.unreadable = parseKRL(data)
			t.shown.Revoked = &KRL{Bytes: len(data), Comment: "cannot be read"}
			if t.unreadable == nil {
				t.shown.Revoked = &t.revoked.info
			}
			return nil
		}))
	if err != nil {
		return nil, fmt.Errorf("read the authorities of groups: %w", err)
	}
	return trusts, nil
}

// GroupTrust returns whose certificates are taken of the members of a group.
func (a *Accounts) GroupTrust(ctx context.Context, name string) (Trust, error) {
	if _, err := a.find(ctx, ""); err != nil { // reads again what is stale
		return Trust{}, err
	}
	list := a.trustsOf([]string{name})
	if len(list) == 0 {
		return Trust{Authorities: []Key{}}, nil
	}
	t := list[0].shown
	t.Authorities = slices.Clone(t.Authorities)
	return t, nil
}

// AddAuthorities makes the keys of a file authorities of a group: certificates
// that they sign let its members in. Each is a line of authorized_keys with the
// option cert-authority, or a bare key. Errors: ErrInvalid, ErrExist.
func (a *Accounts) AddAuthorities(ctx context.Context, group string, file []byte) (TrustChange, error) {
	keys, err := ParseKeys(file, time.Now())
	if err != nil {
		return TrustChange{}, err
	}
	for i, k := range keys {
		switch {
		case k.Algorithm == session.KeyX509:
			return TrustChange{}, invalid("authority", "certificates of X.509 are of no use here; give an SSH key (FILE.pub)")
		case !k.options.authority:
			keys[i].Options = append(slices.Clone(k.Options), optAuthority)
			slices.Sort(keys[i].Options)
		}
	}
	return a.writeTrust(ctx, "add authority to", group, func(ctx context.Context, tx *sql.Tx, before Trust) error {
		if len(before.Authorities)+len(keys) > maxAuthorities {
			return invalid("authorities", "a group has at most %d", maxAuthorities)
		}
		for _, k := range keys {
			_, err := tx.ExecContext(ctx, `INSERT INTO group_authorities (group_name, fingerprint, algorithm, blob, comment, added, options) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
				group, k.Fingerprint, k.Algorithm, []byte(k.blob), k.Comment, time.Now().UnixMicro(), strings.Join(k.Options, "\n"))
			if store.Conflict(err) {
				return fmt.Errorf("%s: %w", k.Fingerprint, errAuthorityTwice)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// RemoveAuthority takes an authority from a group; the sessions that its
// certificates opened are the caller's to end. Errors: ErrNotExist.
func (a *Accounts) RemoveAuthority(ctx context.Context, group, fingerprint string) (TrustChange, error) {
	return a.writeTrust(ctx, "remove authority of", group, func(ctx context.Context, tx *sql.Tx, _ Trust) error {
		res, err := tx.ExecContext(ctx, `DELETE FROM group_authorities WHERE group_name = $1 AND fingerprint = $2`, group, fingerprint)
		return oneRow(res, err, fmt.Errorf("%q: %w", clip(fingerprint), errNoAuthority))
	})
}

// SetKRL puts a revocation list of OpenSSH in the place of the one that a group
// had; an empty one takes it away. It holds from the next login on. Errors:
// ErrInvalid, ErrNotExist.
func (a *Accounts) SetKRL(ctx context.Context, group string, list []byte) (TrustChange, error) {
	if len(list) > 0 {
		if _, err := parseKRL(list); err != nil {
			return TrustChange{}, err
		}
	}
	return a.writeTrust(ctx, "set revocation list of", group, func(ctx context.Context, tx *sql.Tx, _ Trust) error {
		res, err := tx.ExecContext(ctx, `DELETE FROM group_revocations WHERE group_name = $1`, group)
		if len(list) == 0 {
			return oneRow(res, err, errNoKRL)
		}
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO group_revocations (group_name, list, added) VALUES ($1, $2, $3)`, group, list, time.Now().UnixMicro())
		return err
	})
}

// writeTrust runs one change and makes it known, as Accounts.write does.
func (a *Accounts) writeTrust(ctx context.Context, what, group string, f func(ctx context.Context, tx *sql.Tx, before Trust) error) (TrustChange, error) {
	if _, err := checkGroups([]string{group}); err != nil {
		return TrustChange{}, err
	}
	through := context.WithoutCancel(ctx)
	var c TrustChange
	err := a.db.Write(ctx, func(tx *sql.Tx) error {
		shown := func() (Trust, error) {
			all, err := loadTrusts(through, tx)
			if err != nil || all[group] == nil {
				return Trust{Authorities: []Key{}}, err
			}
			return all[group].shown, nil
		}
		var err error
		if c.Before, err = shown(); err != nil {
			return err
		}
		if err = f(through, tx, c.Before); err != nil {
			return err
		}
		c.After, err = shown()
		return err
	})
	if again := a.refreshAll(through, true); again != nil {
		a.stale.Store(true)
		a.cfg.Log.Error("accounts cannot be read", "err", again)
	}
	if err != nil {
		return TrustChange{}, fmt.Errorf("%s %w", what, aboutGroup(group, err))
	}
	return c, nil
}
