package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gateway/auth"
	"gateway/internal/gatewaytest"
)

// enrolRules let everybody who logs in by password bring keys.
const enrolRules = `
allow "files" {
  protocol = "sftp"
  group    = "users"
  grants   = "enrol-keys"
}
`

// copyID runs OpenSSH's ssh-copy-id -s with a key, logging in by password.
func copyID(t *testing.T, port, user, key string) (string, int) {
	t.Helper()
	for _, program := range []string{"sshpass", "ssh-copy-id"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed", program)
		}
	}
	home, err := os.MkdirTemp("", "home") // its socket must have a short name
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	if err := os.Mkdir(filepath.Join(home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	return client(t, "", "env", "HOME="+home, "sshpass", "-p", password, "ssh-copy-id", "-s", "-i", key+".pub", "-p", port,
		"-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "NumberOfPasswordPrompts=1", user+"@127.0.0.1")
}

// byKey logs in with a key alone.
func byKey(t *testing.T, port, user, key, commands string) (string, int) {
	t.Helper()
	return client(t, commands, "sftp", sshOptions(port, "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-i", key, "-b", "-", user+"@127.0.0.1")...)
}

func newKey(t *testing.T) string {
	t.Helper()
	key := filepath.Join(t.TempDir(), "id")
	must(t, "", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "her laptop", "-f", key)
	return key
}

// ssh-copy-id as it is enrols a key, which is pending until it has logged in, also
// for an account that may hardly do anything with files.
func TestSSHCopyID(t *testing.T) {
	t.Parallel()
	const bob = "bob"
	// ssh-copy-id tries the key first, and each of these many tries is a failed login.
	g := gatewaytest.Start(t, gatewaytest.Options{
		Users: map[string]string{alice: password, bob: password}, Policy: enrolRules,
		Config: gatewaytest.Config + "limits { trusted = [\"127.0.0.1\"] }\n",
	})
	g.CLI("", "user", "set", bob, "--permit", "/in=drop")
	for _, user := range []string{alice, bob} {
		key := newKey(t)
		keys := func() (list []auth.Key) {
			unmarshal(t, g.CLI("", "user", "key", "list", user, "--json"), &list)
			return list
		}
		if _, status := byKey(t, g.Port("sftp"), user, key, "pwd\n"); status == 0 {
			t.Fatalf("%s: a key logs in before it is enrolled", user)
		}
		out, status := copyID(t, g.Port("sftp"), user, key)
		if status != 0 || !strings.Contains(out, "Number of key(s) added: 1") {
			t.Fatalf("%s: exit status %d\n%s", user, status, out)
		}
		if list := keys(); len(list) != 1 || !list[0].Pending || list[0].Comment != "her laptop" {
			t.Fatalf("%s: got %+v, want one key that is pending", user, list)
		}
		for _, words := range [][]string{{"user", "key", "list", user}, {"user", "show", user}} {
			if out := g.CLI("", words...); !strings.Contains(out, "pending") {
				t.Errorf("%s does not tell that it is pending:\n%s", strings.Join(words, " "), out)
			}
		}
		if out, status := byKey(t, g.Port("sftp"), user, key, "pwd\n"); status != 0 {
			t.Fatalf("%s: log in by the key: exit status %d\n%s", user, status, out)
		}
		if list := keys(); len(list) != 1 || list[0].Pending {
			t.Errorf("%s: got %+v, want one key that is not pending", user, list)
		}
		if out, status := copyID(t, g.Port("sftp"), user, key); status != 0 || !strings.Contains(out, "already exist") {
			t.Errorf("%s: once more: exit status %d\n%s", user, status, out)
		}
		changes := events(t, g, "--event", "admin", "--user", user, "--outcome", "done")
		if len(changes) != 1 {
			t.Fatalf("%s: %d changes recorded by the account, want 1: %+v", user, len(changes), changes)
		}
		e := changes[0]
		if e.Verb != "enrol" || e.Object != "key of "+user || e.Protocol != "sftp" || e.Conn == "" || e.Session == "" || !e.Remote.IsValid() ||
			strings.Contains(e.Before, "SHA256:") || !strings.Contains(e.After, "SHA256:") {
			t.Errorf("%s: recorded %+v", user, e)
		}
	}
	second := newKey(t) // beside the first
	if out, status := copyID(t, g.Port("sftp"), alice, second); status != 0 {
		t.Errorf("a second key: exit status %d\n%s", status, out)
	}
	if out := g.CLI("", "user", "key", "list", alice); strings.Count(out, "SHA256:") != 2 || strings.Count(out, "pending") != 1 {
		t.Errorf("want two keys, of which one is pending:\n%s", out)
	}
}

// What is no key is refused, in the client's exit status and in the record; who
// logged in by key puts a file like any other.
func TestEnrolRefused(t *testing.T) {
	t.Parallel()
	g := gatewaytest.Start(t, gatewaytest.Options{Users: map[string]string{alice: password}, Policy: enrolRules})
	key := newKey(t)
	g.CLI("", "user", "key", "add", alice, key+".pub")
	junk := filepath.Join(t.TempDir(), "junk")
	if err := os.WriteFile(junk, append([]byte("cert-authority "), read(t, newKey(t)+".pub")...), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, status := batch(t, g.Port("sftp"), "put "+junk+" .ssh/authorized_keys\n"); status == 0 {
		t.Errorf("an authority was taken:\n%s", out)
	}
	refused := events(t, g, "--event", "admin", "--user", alice, "--outcome", "failed")
	if len(refused) != 1 || refused[0].Verb != "enrol" || !strings.Contains(refused[0].Reason, "cert-authority") {
		t.Errorf("recorded %+v", refused)
	}
	if out, status := byKey(t, g.Port("sftp"), alice, key, "mkdir .ssh\nput "+newKey(t)+".pub .ssh/authorized_keys\nls .ssh\n"); status != 0 || !strings.Contains(out, "authorized_keys") {
		t.Errorf("exit status %d\n%s", status, out)
	}
	if out := g.CLI("", "user", "key", "list", alice); strings.Count(out, "SHA256:") != 1 {
		t.Errorf("want the one key:\n%s", out)
	}
}

// Where a rule grants it, a key that OpenSSH offers before the password opens the
// next session.
func TestOfferedKeyIsEnrolledByRule(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("sshpass"); err != nil {
		t.Skip("sshpass is not installed")
	}
	g := gatewaytest.Start(t, gatewaytest.Options{
		Users: map[string]string{alice: password}, Policy: strings.ReplaceAll(enrolRules, "enrol-keys", "enrol-offered"),
	})
	port, key := g.Port("sftp"), newKey(t)
	if _, status := byKey(t, port, alice, key, "pwd\n"); status == 0 {
		t.Fatal("a key logs in before it is enrolled")
	}
	if out, status := client(t, "pwd\n", "sshpass", append([]string{"-p", password, "sftp"}, sshOptions(port, "-o", "IdentitiesOnly=yes", "-i", key, alice+"@127.0.0.1")...)...); status != 0 {
		t.Fatalf("by password: exit status %d\n%s", status, out)
	}
	var keys []auth.Key
	list := func() []auth.Key {
		keys = nil
		unmarshal(t, g.CLI("", "user", "key", "list", alice, "--json"), &keys)
		return keys
	}
	eventually(t, "the key is enrolled", func() bool { return len(list()) == 1 })
	if !keys[0].Pending || len(keys[0].Options) != 2 {
		t.Errorf("enrolled as %+v", keys[0])
	}
	if out, status := byKey(t, port, alice, key, "pwd\n"); status != 0 {
		t.Errorf("by key: exit status %d\n%s", status, out)
	}
	eventually(t, "its limits are gone", func() bool { return len(list()) == 1 && !keys[0].Pending && len(keys[0].Options) == 0 })
	recorded := false
	for _, e := range events(t, g, "--event", "admin") {
		recorded = recorded || e.Verb == "enrol" && e.Object == "offered key of "+alice && e.User == alice && strings.Contains(e.After, keys[0].Fingerprint)
	}
	if !recorded {
		t.Error("it is not recorded")
	}
}
