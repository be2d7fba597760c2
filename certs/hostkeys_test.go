package certs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"gateway/certs"
)

func serving(dir string) ([]ssh.Signer, error) {
	h, err := certs.OpenHostKeys(certs.HostKeyConfig{Dir: dir})
	if err != nil {
		return nil, err
	}
	return h.Set().Serving, nil
}

func TestHostKeysStay(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "keys")
	keys, err := serving(dir)
	if err != nil {
		t.Fatal(err)
	}
	first := certs.Fingerprints(keys)
	again, err := serving(dir)
	if err != nil || !slices.Equal(first, certs.Fingerprints(again)) {
		t.Errorf("second start: got %v, %v; want %v", certs.Fingerprints(again), err, first)
	}
	for i, kind := range []string{"ssh-ed25519 SHA256:", "ecdsa-sha2-nistp256 SHA256:", "ssh-rsa SHA256:"} {
		if !strings.HasPrefix(first[i], kind) {
			t.Errorf("key %d: got %s, want %s", i, first[i], kind)
		}
	}
	// A foreign kind under our name is refused, as is garbage.
	rsaFile := filepath.Join(dir, "ssh_host_rsa_key")
	for _, content := range [][]byte{readFile(t, filepath.Join(dir, "ssh_host_ed25519_key")), []byte("garbage"), nil} {
		write(t, rsaFile, content)
		if _, err := serving(dir); err == nil || !strings.Contains(err.Error(), rsaFile) {
			t.Errorf("got %v", err)
		}
	}
}

// OpenSSH reads the keys that we make, and we read its.
func TestHostKeysAndOpenSSH(t *testing.T) {
	t.Parallel()
	keygen, err := exec.LookPath("ssh-keygen")
	if err != nil {
		t.Skip("ssh-keygen is not installed")
	}
	dir := t.TempDir()
	made := filepath.Join(dir, "ssh_host_ed25519_key")
	if out, err := exec.CommandContext(t.Context(), keygen, "-q", "-t", "ed25519", "-N", "", "-f", made).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	if err := os.Remove(made + ".pub"); err != nil {
		t.Fatal(err)
	}
	keys, err := serving(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i, file := range []string{"ssh_host_ed25519_key", "ssh_host_ecdsa_key", "ssh_host_rsa_key"} {
		out, err := exec.CommandContext(t.Context(), keygen, "-l", "-f", filepath.Join(dir, file)).CombinedOutput()
		want := strings.Fields(certs.Fingerprints(keys)[i])[1]
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: ssh-keygen says %q, %v; want %s", file, out, err, want)
		}
	}
}
