package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestSealer(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "keys", "secrets.key")
	s, secret := NewSealer(file), []byte("a secret of 20 bytes")
	if _, err := s.Open([]byte(sealPrefix+"x"), "alice"); err == nil || !strings.Contains(err.Error(), "is missing; restore it") {
		t.Errorf("without a key: %v", err)
	}
	stored, err := s.Seal(secret, "alice")
	if err != nil {
		t.Fatal(err)
	}
	again, err := s.Seal(secret, "alice")
	if err != nil || bytes.Equal(stored, again) || bytes.Contains(stored, secret) || !Sealed(stored) || Sealed(secret) {
		t.Errorf("sealed as %q and %q, %v", stored, again, err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v", info.Mode(), err)
	}
	for _, opener := range []*Sealer{s, NewSealer(file)} {
		if got, err := opener.Open(stored, "alice"); !bytes.Equal(got, secret) || err != nil {
			t.Errorf("opened %q, %v", got, err)
		}
	}
	if _, err := s.Open(stored, "bob"); !errors.Is(err, ErrSealed) {
		t.Errorf("for another account: %v", err)
	}
	for i := range stored {
		bad := bytes.Clone(stored)
		bad[i] ^= 1
		if _, err := s.Open(bad, "alice"); !errors.Is(err, ErrSealed) {
			t.Errorf("byte %d changed: %v", i, err)
		}
		if _, err := s.Open(stored[:i], "alice"); !errors.Is(err, ErrSealed) {
			t.Errorf("cut to %d bytes: %v", i, err)
		}
	}
	other := NewSealer(filepath.Join(t.TempDir(), "secrets.key"))
	if _, err := other.Seal(secret, "alice"); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Open(stored, "alice"); !errors.Is(err, ErrSealed) {
		t.Errorf("with another key: %v", err)
	}
}

// Whoever is first makes the key, and all use it.
func TestSealKeyIsMadeOnce(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "secrets.key")
	var sealed [8][]byte
	var wg sync.WaitGroup
	for i := range sealed {
		wg.Go(func() {
			var err error
			if sealed[i], err = NewSealer(file).Seal([]byte("x"), ""); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, stored := range sealed {
		if _, err := NewSealer(file).Open(stored, ""); err != nil {
			t.Error(err)
		}
	}
}

func TestSealKeyFiles(t *testing.T) {
	t.Parallel()
	good := keyPrefix + strings.Repeat("A", 43) + "=\n"
	for _, c := range []struct {
		name, content string
		mode          os.FileMode
		want          string // "" is a good file
	}{
		{"good", good, 0o600, ""},
		{"readable for others", good, 0o640, "chmod 600"},
		{"empty", "", 0o600, "not a key"},
		{"cut", good[:30], 0o600, "not a key"},
		{"short key", keyPrefix + "AAAA\n", 0o600, "not a key"},
		{"of a newer version", "gateway-seal-2 " + strings.Repeat("A", 43) + "=\n", 0o600, "not a key"},
		{"more behind it", good + "\n", 0o600, "not a key"},
		{"large", good + strings.Repeat("x", 1<<20), 0o600, "not a key"},
	} {
		file := filepath.Join(t.TempDir(), "secrets.key")
		if err := errors.Join(os.WriteFile(file, []byte(c.content), 0o600), os.Chmod(file, c.mode)); err != nil {
			t.Fatal(err)
		}
		_, err := NewSealer(file).Seal([]byte("x"), "")
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
		if got, _ := os.ReadFile(file); string(got) != c.content {
			t.Errorf("%s: the file was changed", c.name)
		}
	}
}

func FuzzSealKey(f *testing.F) {
	f.Add([]byte(keyPrefix + strings.Repeat("A", 43) + "=\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		if key, err := parseSealKey("file", content); err == nil && len(key) != sealKeySize {
			t.Errorf("a key of %d bytes", len(key))
		}
	})
}
