package certs_test

import (
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gateway/certs"
)

const overlap = 30 * 24 * time.Hour

func openHostKeys(t *testing.T, dir string) *certs.HostKeys {
	t.Helper()
	h, err := certs.OpenHostKeys(certs.HostKeyConfig{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// The next keys are there for the overlap, then they are the only ones.
func TestHostKeysRotate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := openHostKeys(t, dir)
		var told atomic.Pointer[certs.HostKeySet]
		h.OnChange(func(s certs.HostKeySet) { told.Store(&s) })
		old := certs.Fingerprints(h.Set().Serving)
		if len(h.Set().Next) != 0 {
			t.Fatalf("next keys from the start: %+v", h.Set())
		}
		done, ended := make(chan struct{}), make(chan struct{})
		go func() { h.Run(done); close(ended) }()
		if err := h.Renew(false); err != nil {
			t.Fatal(err)
		}
		next := certs.Fingerprints(h.Set().Next)
		if want := time.Now().Add(overlap); len(next) != 3 || !h.Set().Takeover.Equal(want) {
			t.Fatalf("next %v at %v, want 3 at %v", next, h.Set().Takeover, want)
		}
		if err := h.Renew(false); !errors.Is(err, certs.ErrRotating) {
			t.Errorf("a second time: %v", err)
		}
		time.Sleep(overlap - time.Second)
		synctest.Wait()
		again := openHostKeys(t, dir) // as a start of the gateway does
		for _, s := range []certs.HostKeySet{*told.Load(), again.Set()} {
			if !slices.Equal(certs.Fingerprints(s.Serving), old) || !slices.Equal(certs.Fingerprints(s.Next), next) {
				t.Errorf("before the end of the overlap: %+v", s)
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		for _, s := range []certs.HostKeySet{*told.Load(), h.Set(), openHostKeys(t, dir).Set()} {
			if !slices.Equal(certs.Fingerprints(s.Serving), next) || len(s.Next) != 0 || !s.Takeover.IsZero() {
				t.Errorf("after it: %v, next %v", certs.Fingerprints(s.Serving), certs.Fingerprints(s.Next))
			}
		}
		close(done)
		<-ended
	})
	if got := names(t, dir); !slices.Equal(got, []string{"ssh_host_ecdsa_key", "ssh_host_ed25519_key", "ssh_host_rsa_key"}) {
		t.Errorf("left are %v", got)
	}
}

// A gateway that was down when the overlap ended takes the next keys when it starts.
func TestHostKeysTakeOverAtTheStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := openHostKeys(t, dir)
		if err := h.Renew(false); err != nil {
			t.Fatal(err)
		}
		next := certs.Fingerprints(h.Set().Next)
		time.Sleep(2 * overlap)
		if got := certs.Fingerprints(openHostKeys(t, dir).Set().Serving); !slices.Equal(got, next) {
			t.Errorf("got %v, want %v", got, next)
		}
	})
}

// With now the next keys take over at once, those made before or new ones.
func TestHostKeysNow(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := openHostKeys(t, dir)
	old := certs.Fingerprints(h.Set().Serving)
	if err := h.Renew(true); err != nil {
		t.Fatal(err)
	}
	first := h.Set()
	if len(first.Next) != 0 || slices.Equal(certs.Fingerprints(first.Serving), old) {
		t.Errorf("new ones: %+v", first)
	}
	if err := h.Renew(false); err != nil {
		t.Fatal(err)
	}
	next := certs.Fingerprints(h.Set().Next)
	if err := h.Renew(true); err != nil {
		t.Fatal(err)
	}
	if got := certs.Fingerprints(h.Set().Serving); !slices.Equal(got, next) {
		t.Errorf("those made before: got %v, want %v", got, next)
	}
}

// A crash in the middle of the takeover, or before the rotation was noted, leaves
// nothing that does not work.
func TestHostKeysAfterACrash(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := openHostKeys(t, dir)
	if err := h.Renew(false); err != nil {
		t.Fatal(err)
	}
	next := certs.Fingerprints(h.Set().Next)
	key := filepath.Join(dir, "ssh_host_ed25519_key")
	if err := os.Rename(key+".next", key); err != nil {
		t.Fatal(err)
	}
	half := openHostKeys(t, dir)
	if got := half.Set(); certs.Fingerprints(got.Serving)[0] != next[0] || !slices.Equal(certs.Fingerprints(got.Next), next[1:]) {
		t.Errorf("half taken over: %v, next %v", certs.Fingerprints(got.Serving), certs.Fingerprints(got.Next))
	}
	if err := half.Renew(true); err != nil || !slices.Equal(certs.Fingerprints(half.Set().Serving), next) {
		t.Errorf("the rest: %v, %v, want %v", err, certs.Fingerprints(half.Set().Serving), next)
	}

	dir = t.TempDir()
	h = openHostKeys(t, dir)
	old := certs.Fingerprints(h.Set().Serving)
	write(t, filepath.Join(dir, "ssh_host_ed25519_key.next"), readFile(t, filepath.Join(dir, "ssh_host_ed25519_key")))
	again := openHostKeys(t, dir)
	if got := again.Set(); len(got.Next) != 0 || !slices.Equal(certs.Fingerprints(got.Serving), old) {
		t.Errorf("not noted: %v, next %v", certs.Fingerprints(got.Serving), certs.Fingerprints(got.Next))
	}
	if err := again.Renew(false); err != nil || certs.Fingerprints(again.Set().Next)[0] == old[0] {
		t.Errorf("the leftover was taken for a next key: %v", err)
	}
	write(t, filepath.Join(dir, "ssh_host_keys.json"), []byte("{}"))
	if _, err := certs.OpenHostKeys(certs.HostKeyConfig{Dir: dir}); err == nil || !strings.Contains(err.Error(), "ssh_host_keys.json") {
		t.Errorf("garbage: %v", err)
	}
}

// SSHFP records are those of ssh-keygen -r.
func TestSSHFP(t *testing.T) {
	t.Parallel()
	keygen, err := exec.LookPath("ssh-keygen")
	if err != nil {
		t.Skip("ssh-keygen is not installed")
	}
	dir := t.TempDir()
	for i, info := range openHostKeys(t, dir).Set().Describe() {
		public := filepath.Join(dir, "key.pub")
		write(t, public, []byte(info.PublicKey+"\n"))
		out, err := exec.CommandContext(t.Context(), keygen, "-r", "files.example.com", "-f", public).CombinedOutput()
		if want := "files.example.com IN SSHFP " + info.SSHFP + "\n"; err != nil || !strings.Contains(string(out), want) {
			t.Errorf("key %d: ssh-keygen says %v\n%swant %s", i, err, out, want)
		}
		if info.From != nil {
			t.Errorf("key %d is not there yet: %v", i, info.From)
		}
	}
}
