package hashes

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"strings"

	//lint:ignore SA1019 what is imported is made of it
	"golang.org/x/crypto/md4"
)

// digest is one pass of a digest over password and salt: what LDAP, mail servers and
// databases stored for decades.
type digest struct {
	name   string
	size   int
	salted bool
	sum    func(password, salt string) []byte
}

func digests() []digest {
	alone := func(name string, size int, h func() hash.Hash) digest {
		return digest{name, size, false, func(p, _ string) []byte { return sumOf(h, p) }}
	}
	before := func(name string, size int, h func() hash.Hash) digest {
		return digest{name, size, true, func(p, salt string) []byte { return sumOf(h, p, salt) }}
	}
	after := func(name string, size int, h func() hash.Hash) digest {
		return digest{name, size, true, func(p, salt string) []byte { return sumOf(h, salt, p) }}
	}
	return []digest{
		alone("md4", md4.Size, md4.New), alone("md5", md5.Size, md5.New), alone("sha", sha1.Size, sha1.New),
		alone("sha256", sha256.Size, sha256.New), alone("sha384", sha512.Size384, sha512.New384), alone("sha512", sha512.Size, sha512.New),
		before("smd5", md5.Size, md5.New), before("ssha", sha1.Size, sha1.New), before("ssha256", sha256.Size, sha256.New),
		before("ssha384", sha512.Size384, sha512.New384), before("ssha512", sha512.Size, sha512.New),
		after("servu", md5.Size, md5.New), after("digest-md5", md5.Size, md5.New), // whose salt is "user:realm:"
		{"mysql41", sha1.Size, false, func(p, _ string) []byte { return sumOf(sha1.New, string(sumOf(sha1.New, p))) }},
		{"cram-md5", 2 * md5.Size, false, func(p, _ string) []byte { return cramMD5(p) }},
	}
}

func sumOf(new func() hash.Hash, parts ...string) []byte {
	h := new()
	write(h, parts...)
	return h.Sum(nil)
}

// maxDigestSalt is for FileZilla's, which are 64 characters, and for user and realm.
const maxDigestSalt = 256

// read reads "$x-ssha$SALT$", with the salt in hexadecimal.
func (d digest) read(s *scheme, setting string, _ int) (recipe, error) {
	text, ok := strings.CutSuffix(setting[len(s.prefix):], "$")
	if !ok || strings.Trim(text, "0123456789abcdef") != "" {
		return recipe{}, malformed("%s: want SALT$HASH, in hexadecimal", s.name)
	}
	salt, err := hex.DecodeString(text)
	if err != nil || len(salt) > maxDigestSalt || (len(salt) > 0) != d.salted {
		return recipe{}, malformed("%s: salt of %d digits", s.name, len(text))
	}
	price, err := priced(1, digestNs, 0)
	return recipe{price: price, weak: true, derive: func(password string) string {
		return hex.EncodeToString(d.sum(password, string(salt)))
	}}, err
}

// canonical writes what read reads.
func (d digest) canonical(sum, salt []byte) (string, error) {
	if len(sum) != d.size {
		return "", malformed("%s: the hash has %d bytes, want %d", d.name, len(sum), d.size)
	}
	return ownPrefix + d.name + "$" + hex.EncodeToString(salt) + "$" + hex.EncodeToString(sum), nil
}

// digestNamed is that of the table.
func digestNamed(name string) digest {
	for _, d := range digests() {
		if d.name == name {
			return d
		}
	}
	return digest{}
}

// raw translates a digest without salt, in hexadecimal or base64.
func raw(name string) translator {
	return func(body string, in textForm) (string, error) {
		d := digestNamed(name)
		if in == unsaid && len(body) == 2*d.size {
			in = inHex
		}
		sum, err := in.decode(body)
		if err != nil {
			return "", err
		}
		return d.canonical(sum, nil)
	}
}

// salted translates a digest that is followed by its salt, in base64 if nothing else is
// said.
func salted(name string) translator {
	return func(body string, in textForm) (string, error) {
		d := digestNamed(name)
		both, err := in.decode(body)
		if err != nil {
			return "", err
		}
		if len(both) <= d.size {
			return "", malformed("%s: %d bytes, want over %d, with the salt", name, len(both), d.size)
		}
		return d.canonical(both[:d.size], both[d.size:])
	}
}

// cramMD5 is what HMAC-MD5 has computed when it has seen the key alone, as Dovecot
// writes it: the states of the outer and of the inner digest, of four words each.
func cramMD5(password string) []byte {
	key := password
	if len(key) > md5.BlockSize {
		key = string(sumOf(md5.New, key))
	}
	var out []byte
	for _, pad := range [...]byte{0x5c, 0x36} {
		block := make([]byte, md5.BlockSize)
		copy(block, key)
		for i := range block {
			block[i] ^= pad
		}
		out = append(out, md5State(block)...)
	}
	return out
}

// md5State is the state of MD5 after one block, its words with the lowest byte first.
func md5State(block []byte) []byte {
	h := md5.New()
	h.Write(block)
	marshalled, err := h.(encoding.BinaryMarshaler).MarshalBinary()
	const magic = 4
	if err != nil || len(marshalled) < magic+md5.Size {
		return nil // not of the standard library
	}
	var out []byte
	for at := magic; at < magic+md5.Size; at += 4 {
		out = binary.LittleEndian.AppendUint32(out, binary.BigEndian.Uint32(marshalled[at:]))
	}
	return out
}
