package auth

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/xdg-go/scram"

	"gateway/auth/hashes"
	"gateway/session"
)

// Stored is a password in the form in which it is stored, made where there is time to
// make it: an import makes many.
type Stored struct {
	Hash string `json:"hash"` // hashes.Hash.Encode
	// Foreign is a hash that another program made of a password that is not known.
	Foreign bool         `json:"foreign,omitempty"`
	SCRAM   *StoredSCRAM `json:"scram,omitempty"`
}

// StoredSCRAM are the keys of a password for SCRAM-SHA-256.
type StoredSCRAM struct {
	Salt       []byte `json:"salt"`
	Iterations int    `json:"iterations"`
	StoredKey  []byte `json:"stored_key"`
	ServerKey  []byte `json:"server_key"`
}

// PlainSource is Imported.Secret as text, of a source that keeps the password itself.
func PlainSource(password session.Secret) string { return "plain:" + password.Reveal() }

// HashSource is that of a source that keeps a hash.
func HashSource(hash string) string { return "hash:" + hash }

// StorePassword hashes a password, which takes about 50 ms. The error is an ErrInvalid.
func StorePassword(password session.Secret) (Stored, error) {
	if err := checkPassword(password); err != nil {
		return Stored{}, err
	}
	s := Stored{Hash: hashes.New(password.Reveal()).Encode()}
	if keys := newSCRAM(password); keys != nil {
		s.SCRAM = &StoredSCRAM{[]byte(keys.Salt), keys.Iters, keys.StoredKey, keys.ServerKey}
	}
	return s, nil
}

// StoreHash is a password of which there is a hash only. One that is Weak, and that the caller
// has not wrapped, is wrapped once it is stored (Accounts.WrapHashes), and any is replaced at
// the first good login.
func StoreHash(h hashes.Hash) Stored { return Stored{Hash: h.Encode(), Foreign: true} }

// put stores it in place of the password that an account has. The error is an ErrInvalid
// if it is none.
func (s Stored) put(ctx context.Context, tx *sql.Tx, account, now int64) error {
	hash, err := hashes.Parse(s.Hash)
	switch {
	case err != nil:
		return &kind{fmt.Sprintf("password: %v", err), ErrInvalid}
	case s.Foreign:
		return putHash(ctx, tx, account, hash, now)
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM account_passwords WHERE account = $1`, account); err != nil {
		return err
	}
	made := secrets{hash: s.Hash}
	if k := s.SCRAM; k != nil {
		made.scram = &scram.StoredCredentials{
			KeyFactors: scram.KeyFactors{Salt: string(k.Salt), Iters: k.Iterations}, StoredKey: k.StoredKey, ServerKey: k.ServerKey,
		}
	}
	return putPassword(ctx, tx, account, made, now)
}
