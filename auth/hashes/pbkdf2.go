package hashes

import (
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"hash"
	"strings"
)

// pbkdf2Kind is PBKDF2 (RFC 8018, section 5.2) with one digest. ns is what an
// iteration takes.
type pbkdf2Kind struct {
	name string
	size int
	ns   float64
	new  func() hash.Hash
}

func pbkdf2Kinds() []pbkdf2Kind {
	return []pbkdf2Kind{
		{"pbkdf2-sha1", sha1.Size, 190, sha1.New},
		{"pbkdf2-sha256", sha256.Size, 170, sha256.New},
		{"pbkdf2-sha512", sha512.Size, 510, sha512.New},
	}
}

// maxPBKDF2Salt is longer than that of others: some programs use long texts.
const maxPBKDF2Salt = 256

// read reads "$x-pbkdf2-sha256$ITERATIONS$SALT$", with the salt in base64.
func (k pbkdf2Kind) read(s *scheme, setting string, size int) (recipe, error) {
	part := strings.Split(setting[len(s.prefix):], "$")
	if len(part) != 3 || part[2] != "" {
		return recipe{}, malformed("%s: want ITERATIONS$SALT$HASH", s.name)
	}
	iterations, err := parseNumber("iterations", part[0], 1, 1<<31-1)
	if err != nil {
		return recipe{}, err
	}
	salt, err := parseBase64("salt", part[1], 1, maxPBKDF2Salt)
	if err != nil {
		return recipe{}, err
	}
	n := base64.RawStdEncoding.DecodedLen(size)
	if n < minArgonBytes || n > maxArgonBytes {
		return recipe{}, malformed("%s: hash of %d bytes, want %d to %d", s.name, n, minArgonBytes, maxArgonBytes)
	}
	blocks := (n + k.size - 1) / k.size
	price, err := priced(float64(iterations)*float64(blocks), k.ns, 0)
	return recipe{price: price, weak: true, derive: func(password string) string {
		return base64.RawStdEncoding.EncodeToString(k.key(password, salt, int(iterations), n))
	}}, err
}

func (k pbkdf2Kind) key(password string, salt []byte, iterations, n int) []byte {
	key, err := pbkdf2.Key(k.new, password, salt, iterations, n)
	if err != nil {
		return nil // only of a program that may use nothing but what FIPS 140 allows
	}
	return key
}

// canonicalPBKDF2 writes what read reads.
func canonicalPBKDF2(kind, iterations string, salt, sum []byte) string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("%s%s$%s$%s$%s", ownPrefix, kind, iterations, b64.EncodeToString(salt), b64.EncodeToString(sum))
}

// pbkdf2Of is the canonical text of one whose salt and hash are in base64.
func pbkdf2Of(kind, iterations, salt, sum string, decodeSalt func(string) ([]byte, error)) (string, error) {
	s, err := decodeSalt(salt)
	if err != nil {
		return "", err
	}
	b, err := decodeStd(sum)
	if err != nil {
		return "", err
	}
	return canonicalPBKDF2(kind, iterations, s, b), nil
}

// ldapPBKDF2 reads "ITERATIONS$SALT$HASH" of OpenLDAP and passlib, whose base64 has
// "." where the usual one has "+".
func ldapPBKDF2(kind string) func(string) (string, error) {
	return func(body string) (string, error) {
		part := strings.Split(strings.ReplaceAll(body, ".", "+"), "$")
		if len(part) != 3 {
			return "", malformed("want ITERATIONS$SALT$HASH")
		}
		return pbkdf2Of(kind, part[0], part[1], part[2], decodeStd)
	}
}

// pbkdf2SHA1 reads {PBKDF2}: Dovecot's "$1$SALT$ITERATIONS$HEX", whose salt is text, or
// OpenLDAP's.
func pbkdf2SHA1(body string) (string, error) {
	rest, ok := strings.CutPrefix(body, "$1$")
	if !ok {
		return ldapPBKDF2("pbkdf2-sha1")(body)
	}
	part := strings.Split(rest, "$")
	if len(part) != 3 {
		return "", malformed("want $1$SALT$ITERATIONS$HEX")
	}
	sum, err := inHex.decode(part[2])
	if err != nil {
		return "", err
	}
	return canonicalPBKDF2("pbkdf2-sha1", part[1], []byte(part[0]), sum), nil
}

// sftpgoPBKDF2 reads "$pbkdf2-sha256$ITERATIONS$SALT$HASH" of SFTPGo, whose salt is
// text, or with "b64salt-" before the digest is in base64.
func sftpgoPBKDF2(text string) (string, error) {
	part := strings.Split(text, "$")
	if len(part) != 5 {
		return "", malformed("pbkdf2: want $pbkdf2-DIGEST$ITERATIONS$SALT$HASH")
	}
	kind, decodeSalt := part[1], func(salt string) ([]byte, error) { return []byte(salt), nil }
	if digest, ok := strings.CutPrefix(kind, "pbkdf2-b64salt-"); ok {
		kind, decodeSalt = "pbkdf2-"+digest, decodeStd
	}
	for _, k := range pbkdf2Kinds() {
		if k.name == kind {
			return pbkdf2Of(kind, part[2], part[3], part[4], decodeSalt)
		}
	}
	return "", fmt.Errorf("%w: pbkdf2 with a digest that is not known", ErrScheme)
}
