package hashes

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"strings"
)

// scramKind is a verifier of SCRAM (RFC 5802, section 3): what a server stores to
// check a proof. A password is compared by way of the StoredKey. The ServerKey is not
// kept: it would let a thief try passwords beside argon2id around the StoredKey, and the
// first good login makes keys of its own.
type scramKind struct {
	name string
	size int
	ns   float64
	new  func() hash.Hash
}

func scramKinds() []scramKind {
	return []scramKind{
		{"scram-sha-1", sha1.Size, 190, sha1.New},
		{"scram-sha-256", sha256.Size, 170, sha256.New},
	}
}

// read reads "$x-scram-sha-256$ITERATIONS$SALT$", with the salt in base64. What
// follows is the StoredKey.
func (k scramKind) read(s *scheme, setting string, size int) (recipe, error) {
	if base64.RawStdEncoding.DecodedLen(size) != k.size {
		return recipe{}, malformed("%s: StoredKey is not of %d bytes", s.name, k.size)
	}
	salted := pbkdf2Kind{s.name, k.size, k.ns, k.new}
	r, err := salted.read(s, setting, size)
	if err != nil {
		return recipe{}, err
	}
	derive := r.derive
	r.derive = func(password string) string {
		key, _ := base64.RawStdEncoding.DecodeString(derive(password))
		return base64.RawStdEncoding.EncodeToString(k.storedKey(key))
	}
	return r, nil
}

// storedKey is H(HMAC(SaltedPassword, "Client Key")).
func (k scramKind) storedKey(salted []byte) []byte {
	client := hmac.New(k.new, salted)
	client.Write([]byte("Client Key"))
	stored := k.new()
	stored.Write(client.Sum(nil))
	return stored.Sum(nil)
}

// scram translates "ITERATIONS,SALT,STOREDKEY,SERVERKEY", each in base64 with padding.
func scram(kind string) func(string) (string, error) {
	return func(body string) (string, error) {
		part := strings.Split(body, ",")
		if len(part) != 4 {
			return "", malformed("%s: want ITERATIONS,SALT,STOREDKEY,SERVERKEY", kind)
		}
		var raw [3][]byte
		for i, text := range part[1:] {
			var err error
			if raw[i], err = decodeStd(text); err != nil {
				return "", err
			}
		}
		if len(raw[1]) != len(raw[2]) {
			return "", malformed("%s: StoredKey and ServerKey are not of one length", kind)
		}
		return canonicalPBKDF2(kind, part[0], raw[0], raw[1]), nil
	}
}
