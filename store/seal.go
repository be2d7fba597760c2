package store

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

const (
	// sealPrefix begins what is sealed; its end is the version.
	sealPrefix = "sealed:1:"
	// keyPrefix begins the key file.
	keyPrefix   = "gateway-seal-1 "
	sealKeySize = 32 // AES-256
	sealIDSize  = 8
	// maxSealFile is the size of the largest key file.
	maxSealFile = 256
)

// ErrSealed is a secret that cannot be read without the key that it was sealed with.
var ErrSealed = errors.New("sealed with another key")

// A Sealer keeps secrets from whoever gets hold of the database alone: they are stored
// encrypted (AES-256-GCM) with a key in a file of its own, which is made the first time
// that something is sealed. Its methods may be called from any goroutine.
type Sealer struct {
	file string

	mu   sync.Mutex
	aead cipher.AEAD // nil until the key was read
	id   []byte      // tells the key from others
}

// NewSealer returns the sealer whose key is, or will be, in file. Nothing is read or
// written yet.
func NewSealer(file string) *Sealer { return &Sealer{file: file} }

// Sealed reports whether stored is something that Seal made.
func Sealed(stored []byte) bool { return bytes.HasPrefix(stored, []byte(sealPrefix)) }

// Seal encrypts secret; about says what it belongs to, so that it opens nowhere else.
func (s *Sealer) Seal(secret []byte, about string) ([]byte, error) {
	aead, id, err := s.key(true)
	if err != nil {
		return nil, fmt.Errorf("seal a secret: %w", err)
	}
	out := append([]byte(sealPrefix), id...)
	return aead.Seal(out, nil, secret, []byte(about)), nil
}

// Open returns the secret that was sealed. The error is an ErrSealed if it was sealed
// with another key, or belongs to something else.
func (s *Sealer) Open(stored []byte, about string) ([]byte, error) {
	aead, id, err := s.key(false)
	if err != nil {
		return nil, fmt.Errorf("open a sealed secret: %w", err)
	}
	rest, sealed := bytes.CutPrefix(stored, []byte(sealPrefix))
	if !sealed || len(rest) < sealIDSize || !bytes.Equal(rest[:sealIDSize], id) {
		return nil, fmt.Errorf("%w than that in %s", ErrSealed, s.file)
	}
	secret, err := aead.Open(nil, nil, rest[sealIDSize:], []byte(about))
	if err != nil {
		return nil, fmt.Errorf("%w, or for something else", ErrSealed)
	}
	return secret, nil
}

// key reads the key, or makes it if there is none.
func (s *Sealer) key(create bool) (cipher.AEAD, []byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.aead != nil {
		return s.aead, s.id, nil
	}
	key, err := readSealKey(s.file)
	if errors.Is(err, fs.ErrNotExist) && create {
		if err := makeSealKey(s.file); err != nil {
			return nil, nil, err
		}
		key, err = readSealKey(s.file)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("%s is missing; restore it from the backup that the database is from", s.file)
	}
	if err != nil {
		return nil, nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, nil, err
	}
	sum := sha256.Sum256(append([]byte("gateway seal key\x00"), key...))
	s.aead, s.id = aead, sum[:sealIDSize]
	return s.aead, s.id, nil
}

func readSealKey(name string) ([]byte, error) {
	info, err := os.Stat(name) // first: the opening of a FIFO would wait
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return nil, fmt.Errorf("%s is open to others (mode %04o): chmod 600 %s", name, perm, name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() // only read
	content, err := io.ReadAll(io.LimitReader(f, maxSealFile+1))
	if err != nil {
		return nil, err
	}
	return parseSealKey(name, content)
}

func parseSealKey(name string, content []byte) ([]byte, error) {
	text, ok := bytes.CutPrefix(content, []byte(keyPrefix))
	text, ended := bytes.CutSuffix(text, []byte("\n"))
	key, err := base64.StdEncoding.Strict().DecodeString(string(text))
	if !ok || !ended || bytes.ContainsAny(text, "\r\n") || err != nil || len(key) != sealKeySize || len(content) > maxSealFile {
		return nil, fmt.Errorf("%s is not a key for sealed secrets; restore it from a backup", name)
	}
	return key, nil
}

// makeSealKey puts a fresh key on stable storage. Of two processes that do, both use
// that of the first.
func makeSealKey(name string) (err error) {
	key := make([]byte, sealKeySize)
	_, _ = rand.Read(key) // never fails (crypto/rand)
	dir := filepath.Dir(name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.WriteString(keyPrefix + base64.StdEncoding.EncodeToString(key) + "\n")
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Link(tmp.Name(), name); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
