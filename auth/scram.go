package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/xdg-go/scram"

	"gateway/session"
)

const (
	// scramIterations is what a client has to compute for each login, which a phone
	// does in some 10 ms; RFC 7677, section 4, asks for at least 4096. It must be the
	// same for all names, or it would tell them apart.
	scramIterations = 15000
	scramSaltBytes  = 16
)

// newSCRAM derives the keys of a password; nil if SCRAM clients cannot send it:
// they prepare it by RFC 4013, which forbids some characters.
func newSCRAM(password session.Secret) *scram.StoredCredentials {
	client, err := scram.SHA256.NewClient("", password.Reveal(), "")
	if err != nil {
		return nil
	}
	salt := make([]byte, scramSaltBytes)
	_, _ = rand.Read(salt) // never fails (crypto/rand)
	stored, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: string(salt), Iters: scramIterations})
	if err != nil {
		return nil
	}
	return &stored
}

// noSCRAM are the keys of a name that has none: no password fits them, and they are
// the same each time, as those of an account are.
func (a *Accounts) noSCRAM(user string) scram.StoredCredentials {
	derive := func(what string) []byte {
		h := hmac.New(sha256.New, a.key)
		h.Write([]byte("scram " + what + "\x00" + user))
		return h.Sum(nil)
	}
	return scram.StoredCredentials{
		KeyFactors: scram.KeyFactors{Salt: string(derive("salt")[:scramSaltBytes]), Iters: scramIterations},
		StoredKey:  derive("stored key"), ServerKey: derive("server key"),
	}
}

// verifySCRAM speaks with the peer. A name that does not exist, and an account
// without keys, get as far as any other with a wrong password.
func (a *Accounts) verifySCRAM(ctx context.Context, c session.Credential) error {
	x := c.Exchange
	if x == nil || x.Ask == nil {
		return session.ErrDenied
	}
	r, err := a.find(ctx, c.User)
	if err != nil {
		return err
	}
	keys, id := a.noSCRAM(c.User), int64(0)
	if r != nil && r.scram != nil {
		keys, id = *r.scram, r.password
	}
	talk, err := conversation(x, func(user string) (scram.StoredCredentials, error) {
		if user != c.User {
			return scram.StoredCredentials{}, session.ErrDenied
		}
		return keys, nil
	})
	if err != nil {
		return fmt.Errorf("begin SCRAM: %w", err)
	}
	challenge, err := talk.Step(x.First)
	if err != nil {
		return session.ErrDenied // the library's words may quote the peer
	}
	response, err := x.Ask(challenge)
	if err != nil {
		return err
	}
	final, err := talk.Step(response)
	if err != nil || !talk.Valid() {
		return session.ErrDenied
	}
	// The password may have been changed meanwhile.
	now, err := a.find(ctx, c.User)
	switch {
	case err != nil:
		return err
	case id == 0 || passwordOf(now) != id:
		return session.ErrDenied
	}
	x.Final = final
	return nil
}

// conversation is one with the binding that the client names, if the mechanism is
// the one with binding; in the other one, a client that says that it would have
// bound if it had been offered is refused, since it was.
func conversation(x *session.Exchange, keys scram.CredentialLookup) (*scram.ServerConversation, error) {
	server, err := scram.SHA256.NewServer(keys)
	if err != nil {
		return nil, err
	}
	flag, _, _ := strings.Cut(x.First, ",")
	kind, binds := strings.CutPrefix(flag, "p=")
	switch {
	case binds != x.Bound:
		return nil, session.ErrDenied
	case binds && len(x.Bindings[kind]) == 0:
		return nil, session.ErrDenied
	case binds:
		return server.NewConversationWithChannelBindingRequired(scram.ChannelBinding{
			Type: scram.ChannelBindingType(kind), Data: x.Bindings[kind],
		}), nil
	}
	for kind, data := range x.Bindings { // one is enough to say that there are some
		return server.NewConversationWithChannelBinding(scram.ChannelBinding{Type: scram.ChannelBindingType(kind), Data: data}), nil
	}
	return server.NewConversation(), nil
}

func putSCRAM(ctx context.Context, tx *sql.Tx, password int64, keys *scram.StoredCredentials) error {
	if keys == nil {
		return nil
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO account_scram (password, iterations, salt, stored_key, server_key) VALUES ($1, $2, $3, $4, $5)`,
		password, keys.Iters, []byte(keys.Salt), keys.StoredKey, keys.ServerKey)
	return err
}

func (l *loader) scram() error {
	return l.each(`SELECT p.account, s.iterations, s.salt, s.stored_key, s.server_key FROM accounts a
		JOIN account_passwords p ON p.account = a.id JOIN account_scram s ON s.password = p.id`, func(dest func(...any) error) error {
		var id int64
		var salt []byte
		var keys scram.StoredCredentials
		if err := dest(&id, &keys.Iters, &salt, &keys.StoredKey, &keys.ServerKey); err != nil {
			return err
		}
		if len(salt) == 0 || len(keys.StoredKey) != sha256.Size || len(keys.ServerKey) != sha256.Size || keys.Iters < 1 {
			return errors.New("keys of SCRAM that are none")
		}
		keys.Salt = string(salt)
		l.found[id].scram = &keys
		return nil
	})
}
