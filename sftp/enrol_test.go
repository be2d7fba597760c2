package sftp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	client "github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"gateway/session"
)

// enroller keeps the files of keys that it is given.
type enroller struct {
	mu    sync.Mutex
	files []string
	fault error
}

func (e *enroller) enrol(_ context.Context, s *session.Session, file []byte) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.fault == nil {
		e.files = append(e.files, s.Identity().User+" "+string(file))
	}
	return e.fault
}

func (e *enroller) taken() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]string{}, e.files...)
}

// grantKeys lets everybody in who proves something, and bring keys.
func grantKeys(session.Request) session.Verdict {
	return session.Verdict{Allowed: true, Data: session.DataRules{EnrolKeys: true}}
}

const putFlags = os.O_WRONLY | os.O_CREATE | os.O_TRUNC

func TestEnrolByPassword(t *testing.T) {
	t.Parallel()
	e := &enroller{}
	f := start(t, grantKeys, func(cfg *Config) { cfg.Enrol = e.enrol })
	_, c := f.alice(t)
	const name = ".ssh/authorized_keys"
	for what, err := range map[string]error{
		"chmod of no folder": c.Chmod(".ssh", 0o700), // as ssh-copy-id where there can be none
		"mkdir":              c.Mkdir(".ssh"),
		"chmod of a folder":  c.Chmod(".ssh", 0o700),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	// What is in the tree by the name is not shown, and stays as it is.
	if err := os.WriteFile(filepath.Join(f.fs.dir, name), []byte("planted"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Open(name); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("read: %v, want that there is nothing", err)
	}
	if _, err := c.Stat("/.ssh/../.ssh//authorized_keys"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Stat: %v, want that there is nothing", err)
	}
	wantCode(t, "chmod", c.Chmod(name, 0o600), codeNoSuchFile, "")
	file, err := c.OpenFile(name, putFlags)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.OpenFile(name, putFlags)
	wantCode(t, "two at once", err, codeFailure, "")
	_, err = file.WriteAt([]byte("two"), 4)
	_, err2 := file.WriteAt([]byte("one "), 0)
	if err := errors.Join(err, err2, file.Chmod(0o600)); err != nil {
		t.Fatal(err)
	}
	for what, stat := range map[string]func() (os.FileInfo, error){
		"Stat": func() (os.FileInfo, error) { return c.Stat(name) }, "Fstat": file.Stat, "Lstat": func() (os.FileInfo, error) { return c.Lstat(name) },
	} {
		if info, err := stat(); err != nil || info.Size() != 7 || info.Mode() != 0o600 {
			t.Errorf("%s while it is written: %v, %v", what, info, err)
		}
	}
	if len(e.taken()) != 0 {
		t.Error("taken before CLOSE")
	}
	if err := file.Close(); err != nil {
		t.Fatalf("CLOSE: %v", err)
	}
	if got := e.taken(); len(got) != 1 || got[0] != "alice one two" {
		t.Errorf("got %q", got)
	}
	if info, err := c.Stat(name); err != nil || info.Size() != 7 {
		t.Errorf("Stat afterwards: %v, %v", info, err)
	}
	if err := c.Chmod(name, 0o600); err != nil {
		t.Errorf("chmod afterwards: %v", err)
	}
	if got, err := os.ReadFile(filepath.Join(f.fs.dir, name)); err != nil || string(got) != "planted" {
		t.Errorf("the tree has %q, %v", got, err)
	}
	if err := store(c, "other", putFlags, "x"); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "rename onto it", c.Rename("other", name), codePermissionDenied, "")
	wantCode(t, "posix-rename onto it", c.PosixRename("other", name), codePermissionDenied, "")
	for _, near := range []string{"authorized_keys", ".ssh/authorized_keys2", "a/.ssh/authorized_keys", ".SSH/authorized_keys"} {
		_ = c.MkdirAll(filepath.Dir(near))
		if err := store(c, near, putFlags, "x"); err != nil {
			t.Errorf("%s: %v", near, err)
		}
	}
	if n := len(e.taken()); n != 1 {
		t.Errorf("%d files of keys were taken, want 1", n)
	}
}

func TestEnrolRefused(t *testing.T) {
	t.Parallel()
	e := &enroller{}
	f := start(t, grantKeys, func(cfg *Config) { cfg.Enrol = e.enrol })
	conn, c := f.alice(t)
	put := func(size int) error { return store(c, enrolPath, putFlags, string(bytes.Repeat([]byte("k"), size))) }
	if err := put(maxEnrolment); err != nil {
		t.Errorf("as large as may be: %v", err)
	}
	wantCode(t, "too large", put(maxEnrolment+1), codeFailure, "Too large for a file of keys")
	e.mu.Lock()
	e.fault = fmt.Errorf("line 1: %w", errors.New("a secret of ours"))
	e.mu.Unlock()
	wantCode(t, "junk", put(1), codeFailure, "The keys were not accepted")
	e.mu.Lock()
	e.fault = fmt.Errorf("disk: %w", session.ErrUnavailable)
	e.mu.Unlock()
	wantCode(t, "not now", put(1), codeFailure, "Temporarily unavailable")
	e.mu.Lock()
	e.fault = nil
	e.mu.Unlock()
	file, err := c.OpenFile(enrolPath, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		t.Fatal(err)
	}
	if err := file.Truncate(maxEnrolment + 1); err == nil {
		t.Error("Truncate beyond the bound")
	}
	if err := file.Close(); err == nil {
		t.Error("taken after a request that failed")
	}
	// One that is cut off is not taken.
	if file, err = c.OpenFile(enrolPath, putFlags); err == nil {
		_, err = file.Write([]byte("half"))
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	f.connection(t)
	if n := len(e.taken()); n != 1 {
		t.Errorf("%d files of keys were taken, want 1", n)
	}
}

// Without the grant, with a key, or where the node takes no keys, it is a file like
// any other.
func TestEnrolOnlyWhereItMay(t *testing.T) {
	t.Parallel()
	key := newSigner(t, "ed25519")
	password, byKey := ssh.Password("right"), ssh.PublicKeys(key)
	for _, tc := range []struct {
		name    string
		grant   bool
		absent  bool
		methods []ssh.AuthMethod
		want    bool
	}{
		{"password", true, false, []ssh.AuthMethod{password}, true},
		{"questions", true, false, []ssh.AuthMethod{ssh.KeyboardInteractive(func(_, _ string, q []string, _ []bool) ([]string, error) {
			return []string{"right"}[:len(q)], nil
		})}, true},
		{"no grant", false, false, []ssh.AuthMethod{password}, false},
		{"absent", true, true, []ssh.AuthMethod{password}, false},
		{"key", true, false, []ssh.AuthMethod{byKey}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			e := &enroller{}
			f := start(t, func(session.Request) session.Verdict {
				return session.Verdict{Allowed: true, Data: session.DataRules{EnrolKeys: tc.grant}}
			}, func(cfg *Config) {
				if !tc.absent {
					cfg.Enrol = e.enrol
				}
			})
			f.core.Accounts.Add("alice", "right", string(key.PublicKey().Marshal()))
			conn, err := f.dial(t, "alice", tc.methods...)
			if err != nil {
				t.Fatal(err)
			}
			c, err := client.NewClient(conn)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := errors.Join(c.Mkdir(".ssh"), store(c, enrolPath, putFlags, "keys")); err != nil {
				t.Fatal(err)
			}
			_, statErr := os.Stat(filepath.Join(f.fs.dir, enrolPath))
			if took, inTree := strings.Join(e.taken(), ""), statErr == nil; (took != "") != tc.want || inTree == tc.want {
				t.Errorf("took %q, in the tree %v; want it taken: %v", took, inTree, tc.want)
			}
		})
	}
}

// Keys that were offered before the password are told once, at most so many, where a
// rule grants it and for the name that logged in.
func TestOfferedKeysAreEnrolled(t *testing.T) {
	t.Parallel()
	for _, granted := range []bool{true, false} {
		taken := make(chan []session.Key, 1)
		rules := func(session.Request) session.Verdict {
			return session.Verdict{Allowed: true, Data: session.DataRules{EnrolOffered: granted}}
		}
		f := start(t, rules, func(cfg *Config) {
			cfg.EnrolOffered = func(_ context.Context, s *session.Session, keys []session.Key) error {
				if s.Identity().User != "alice" {
					t.Errorf("for %s", s.Identity().User)
				}
				taken <- keys
				return nil
			}
		})
		var signers []ssh.Signer
		for range maxOffers + 1 {
			signers = append(signers, newSigner(t, ""))
		}
		c, err := f.dial(t, "alice", ssh.PublicKeys(signers...), ssh.Password("right"))
		if err != nil {
			t.Fatal(err)
		}
		if granted {
			keys := <-taken
			if len(keys) != maxOffers || keys[0].Fingerprint != ssh.FingerprintSHA256(signers[0].PublicKey()) {
				t.Errorf("got %d keys, the first %v", len(keys), keys)
			}
		}
		_ = c.Close()
		f.connection(t)
		if len(taken) > 0 {
			t.Errorf("granted %v: told once more", granted)
		}
	}
	o := &offers{}
	o.add("bob", session.Key{Blob: "1"})
	o.add("alice", session.Key{Blob: "2"})
	if len(o.of("bob")) != 0 || len(o.of("alice")) != 1 {
		t.Errorf("keys of one name are another's: %+v", o)
	}
}
