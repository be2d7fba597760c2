package auth

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/xdg-go/scram"

	"gateway/auth/hashes"
	"gateway/session"
)

// Info is what an administrator sees of an account. It holds no secret.
type Info struct {
	Name      string   `json:"name"`
	Groups    []string `json:"groups"`
	Allowance          // its own; what its groups add is in session.Identity.Access
	Disabled  bool     `json:"disabled"`
	// Source is where the account comes from and who checks its password; empty is the
	// store. Barred says that the source has it no more, or has disabled it.
	Source string `json:"source,omitempty"`
	Barred bool   `json:"barred,omitempty"`
	// Home is the folder of its files; empty is that of its name in the storage.
	Home string `json:"home,omitempty"`
	// Expires is the first moment at which it is over; zero is never.
	Expires   time.Time `json:"expires,omitzero"`
	Route     string    `json:"route"` // of its mail; empty is the default route
	Addresses []string  `json:"addresses"`
	Keys      []Key     `json:"keys"`
	Tokens    []Token   `json:"tokens,omitempty"`
	Created   time.Time `json:"created"`
	Changed   time.Time `json:"changed"` // the last change of anything here
	// PasswordChanged is when the password was set; zero if there is none.
	PasswordChanged time.Time `json:"password_changed,omitzero"`
	// TOTPAdded is when its secret for one-time codes was made; zero if there is none.
	TOTPAdded time.Time `json:"totp_added,omitzero"`
}

// record is one account as it is held in memory. It is never changed: a change
// puts another in its place.
type record struct {
	id   int64
	info Info
	keys map[keyID]options
	// pending are those of keys that are (Key.Pending); nil if none is.
	pending map[keyID]pendingKind
	// authorities sign certificates for the account.
	authorities []authority
	// access is what the account may do, with what its groups add.
	access session.Access
	// mail is how much mail it may send, likewise.
	mail session.MailLimits

	// password is the id of the password, 0 if there is none, and another
	// whenever it is set, even to the same.
	password int64
	hash     hashes.Hash
	imported imported
	totp     []byte // the secret of its one-time codes, sealed; nil if there is none
	// scram are the keys of the password, nil if it has none.
	scram *scram.StoredCredentials
	// tokens are those that the account has, by the hash of their text.
	tokens map[mac]*Token
	// unreadable is why the stored hash cannot be used.
	unreadable error
}

// account is what the gate sees of r.
func (r *record) account() session.Account {
	return session.Account{
		Known: true, Disabled: r.info.over(time.Now()), Generation: r.info.Changed.UnixMicro(), PasswordSet: r.info.PasswordChanged,
		Identity: session.Identity{
			User: r.info.Name, Groups: r.info.Groups, Addresses: r.info.Addresses, Route: r.info.Route,
			Access: r.access, Mail: r.mail,
		},
	}
}

// over reports whether the account cannot be used: it is disabled, here or by its source,
// or has expired.
func (i *Info) over(now time.Time) bool {
	return i.Disabled || i.Barred || !i.Expires.IsZero() && !now.Before(i.Expires)
}

// clone is an Info that the caller may change.
func (i Info) clone() *Info {
	i.Groups, i.Addresses, i.Keys = slices.Clone(i.Groups), slices.Clone(i.Addresses), slices.Clone(i.Keys)
	i.Tokens = slices.Clone(i.Tokens)
	i.Allowance = i.Allowance.clone()
	return &i
}

// loadAll reads every account.
func loadAll(ctx context.Context, tx *sql.Tx) (map[string]*record, error) {
	return load(ctx, tx, "")
}

// loadOne reads the account of that name; errNoAccount if there is none.
func loadOne(ctx context.Context, tx *sql.Tx, name string) (*record, error) {
	found, err := load(ctx, tx, " WHERE a.name = $1", name)
	if err != nil {
		return nil, err
	}
	r, ok := found[name]
	if !ok {
		return nil, errNoAccount
	}
	return r, nil
}

func load(ctx context.Context, tx *sql.Tx, where string, args ...any) (map[string]*record, error) {
	l := loader{ctx: ctx, tx: tx, where: where, args: args, found: make(map[int64]*record)}
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"accounts", l.accounts}, {"groups", l.groups}, {"addresses", l.addresses}, {"keys", l.keys}, {"passwords", l.passwords},
		{"permissions", l.permissions}, {"one-time codes", l.totp}, {"keys of SCRAM", l.scram}, {"tokens", l.tokens},
	} {
		if err := step.do(); err != nil {
			return nil, fmt.Errorf("read %s: %w", step.what, err)
		}
	}
	named := make(map[string]*record, len(l.found))
	for _, r := range l.found {
		r.info.Groups, r.info.Addresses = slices.Clip(r.info.Groups), slices.Clip(r.info.Addresses)
		named[r.info.Name] = r
	}
	return named, nil
}

// loader reads records table by table. where and args limit the accounts, which
// every query calls a.
type loader struct {
	ctx   context.Context
	tx    *sql.Tx
	where string
	args  []any
	found map[int64]*record
}

// each calls scan for every row of the query; scan must call dest once.
func (l *loader) each(query string, scan func(dest func(...any) error) error) error {
	rows, err := l.tx.QueryContext(l.ctx, query+l.where, l.args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (l *loader) accounts() error {
	return l.each(`SELECT a.id, a.name, a.disabled, a.route, a.created, a.changed, a.quota_bytes, a.quota_files, a.bandwidth, a.mail, a.home, a.expires, a.source, a.barred FROM accounts a`, func(dest func(...any) error) error {
		r := &record{keys: make(map[keyID]options)}
		r.info.Groups, r.info.Addresses, r.info.Keys = []string{}, []string{}, []Key{} // [] in JSON, not null
		r.info.Permissions = []session.PathRule{}
		var created, changed, expires int64
		var mail string
		if err := dest(&r.id, &r.info.Name, &r.info.Disabled, &r.info.Route, &created, &changed,
			&r.info.Quota.Bytes, &r.info.Quota.Files, &r.info.Bandwidth, &mail, &r.info.Home, &expires, &r.info.Source, &r.info.Barred); err != nil {
			return err
		}
		var err error
		if r.info.Mail, err = readMail(mail); err != nil {
			return fmt.Errorf("account %s: limits of its mail: %w", clip(r.info.Name), err)
		}
		r.info.Created, r.info.Changed = fromMicros(created), fromMicros(changed)
		if expires != 0 {
			r.info.Expires = fromMicros(expires)
		}
		l.found[r.id] = r
		return nil
	})
}

func (l *loader) groups() error {
	return l.each(`SELECT g.account, g.name FROM accounts a JOIN account_groups g ON g.account = a.id`, func(dest func(...any) error) error {
		var id int64
		var name string
		if err := dest(&id, &name); err != nil {
			return err
		}
		r := l.found[id]
		r.info.Groups = append(r.info.Groups, name)
		slices.Sort(r.info.Groups)
		return nil
	})
}

func (l *loader) addresses() error {
	return l.each(`SELECT d.account, d.address FROM accounts a JOIN account_addresses d ON d.account = a.id`, func(dest func(...any) error) error {
		var id int64
		var address string
		if err := dest(&id, &address); err != nil {
			return err
		}
		r := l.found[id]
		r.info.Addresses = append(r.info.Addresses, address)
		slices.Sort(r.info.Addresses)
		return nil
	})
}

func (l *loader) keys() error {
	return l.each(`SELECT k.account, k.algorithm, k.fingerprint, k.comment, k.blob, k.added, k.options, k.pending FROM accounts a JOIN account_keys k ON k.account = a.id`, func(dest func(...any) error) error {
		var id, added int64
		var k Key
		var blob []byte
		var text string
		var pending pendingKind
		if err := dest(&id, &k.Algorithm, &k.Fingerprint, &k.Comment, &blob, &added, &text, &pending); err != nil {
			return err
		}
		k.blob, k.Added, k.Pending = string(blob), fromMicros(added), pending != settled
		r := l.found[id]
		var err error
		if text != "" {
			k.options, k.Options, err = parseOptions(strings.Split(text, "\n"), k.Algorithm)
		}
		if err != nil {
			// Written by a gateway that knew more: the key opens nothing, and is shown.
			k.Options = strings.Split(text, "\n")
		} else {
			r.keys[k.id()] = k.options
			if k.options.authority {
				r.authorities = append(r.authorities, authority{key: k.id(), options: k.options})
			}
		}
		if k.Pending {
			if r.pending == nil {
				r.pending = make(map[keyID]pendingKind)
			}
			r.pending[k.id()] = pending
		}
		r.info.Keys = append(r.info.Keys, k)
		return nil
	})
}

func (l *loader) permissions() error {
	return l.each(`SELECT p.account, p.path, p.may FROM accounts a JOIN account_permissions p ON p.account = a.id`, func(dest func(...any) error) error {
		var id int64
		var path, words string
		if err := dest(&id, &path, &words); err != nil {
			return err
		}
		r := l.found[id]
		r.info.Permissions = append(r.info.Permissions, readRule(path, words))
		sortRules(r.info.Permissions)
		return nil
	})
}

func (l *loader) totp() error {
	return l.each(`SELECT t.account, t.secret, t.added FROM accounts a JOIN account_totp t ON t.account = a.id`, func(dest func(...any) error) error {
		var id, added int64
		var secret []byte
		if err := dest(&id, &secret, &added); err != nil {
			return err
		}
		r := l.found[id]
		r.totp, r.info.TOTPAdded = secret, fromMicros(added)
		return nil
	})
}

func (l *loader) passwords() error {
	return l.each(`SELECT p.account, p.id, p.hash, p.changed, p.imported, p.proven, p.was_in FROM accounts a JOIN account_passwords p ON p.account = a.id`, func(dest func(...any) error) error {
		var id, password, changed, proven int64
		var text string
		var from imported
		if err := dest(&id, &password, &text, &changed, &from.scheme, &proven, &from.wasIn); err != nil {
			return err
		}
		if proven != 0 {
			from.proven = fromMicros(proven)
		}
		r := l.found[id]
		r.imported = from
		r.info.PasswordChanged = fromMicros(changed)
		hash, err := hashes.Parse(text)
		if err != nil {
			r.unreadable = err
			return nil
		}
		r.password, r.hash = password, hash
		return nil
	})
}

func fromMicros(t int64) time.Time { return time.UnixMicro(t).UTC() }

// toMicros is the opposite, 0 for the zero time.
func toMicros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}
