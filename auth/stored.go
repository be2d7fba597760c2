package auth

import (
	"fmt"

	"github.com/xdg-go/scram"

	"gateway/auth/hashes"
	"gateway/session"
)

// Stored is a password in the form in which it is stored, made where there is time to
// make it: an import makes many.
type Stored struct {
	Hash  string       `json:"hash"` // hashes.Hash.Encode
	SCRAM *StoredSCRAM `json:"scram,omitempty"`
}

// StoredSCRAM are the keys of a password for SCRAM-SHA-256.
type StoredSCRAM struct {
	Salt       []byte `json:"salt"`
	Iterations int    `json:"iterations"`
	StoredKey  []byte `json:"stored_key"`
	ServerKey  []byte `json:"server_key"`
}

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

// StoreHash is a password of which there is a hash only.
func StoreHash(h hashes.Hash) Stored { return Stored{Hash: h.Encode()} }

// secrets are what goes into the store. The error is an ErrInvalid.
func (s Stored) secrets() (secrets, error) {
	if _, err := hashes.Parse(s.Hash); err != nil {
		return secrets{}, &kind{fmt.Sprintf("password: %v", err), ErrInvalid}
	}
	out := secrets{hash: s.Hash}
	if k := s.SCRAM; k != nil {
		out.scram = &scram.StoredCredentials{
			KeyFactors: scram.KeyFactors{Salt: string(k.Salt), Iters: k.Iterations}, StoredKey: k.StoredKey, ServerKey: k.ServerKey,
		}
	}
	return out, nil
}
