package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gateway/internal/gatewaytest"
	"gateway/session"
)

// sshOptions are what every OpenSSH client here is given.
func sshOptions(port string, more ...string) []string {
	return append([]string{"-q", "-P", port, "-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no",
		"-o", "NumberOfPasswordPrompts=1"}, more...)
}

// batch runs OpenSSH's sftp with commands, logging in by password.
func batch(t *testing.T, port, commands string, more ...string) (string, int) {
	t.Helper()
	script := filepath.Join(t.TempDir(), "batch")
	if err := os.WriteFile(script, []byte(commands), 0o600); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"-p", password, "sftp"}, sshOptions(port, append(more, "-o", "PubkeyAuthentication=no", "-o", "BatchMode=no", "-b", script)...)...)
	return client(t, "", "sshpass", append(args, alice+"@127.0.0.1")...)
}

func TestOpenSSH(t *testing.T) {
	g := start(t)
	path, content := file(t, "up.bin", 5<<20+3)
	back := filepath.Join(t.TempDir(), "back.bin")
	for method, option := range map[string]string{
		"password":             "PreferredAuthentications=password",
		"keyboard-interactive": "PreferredAuthentications=keyboard-interactive",
	} {
		out, status := batch(t, g.Port("sftp"), fmt.Sprintf(`
put %s a.bin
mkdir dir
rename a.bin dir/b.bin
ls -l dir
chmod 600 dir/b.bin
get dir/b.bin %s
ln -s dir/b.bin link
ls -l
df
rm link
rm dir/b.bin
rmdir dir
`, path, back), "-o", option)
		if status != 0 || !strings.Contains(out, "b.bin") {
			t.Fatalf("%s: exit status %d\n%s", method, status, out)
		}
		same(t, method, read(t, back), content)
		if n := len(events(t, g, "--event", "login", "--outcome", "granted", "--protocol", "sftp")); n == 0 {
			t.Errorf("%s: no login recorded", method)
		}
	}
}

func TestOpenSSHKey(t *testing.T) {
	g := start(t)
	dir := t.TempDir()
	for _, kind := range []string{"ed25519", "ecdsa", "rsa"} {
		key := filepath.Join(dir, kind)
		args := []string{"-q", "-t", kind, "-N", "", "-f", key}
		if kind == "rsa" {
			args = append(args, "-b", "3072")
		}
		must(t, "", "ssh-keygen", args...)
		g.CLI("", "user", "key", "add", alice, key+".pub")
		out := must(t, "", "sftp", sshOptions(g.Port("sftp"), "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-i", key, "-b", "/dev/null", alice+"@127.0.0.1")...)
		_ = out
	}
	granted := events(t, g, "--event", "login", "--outcome", "granted")
	if len(granted) != 3 || granted[0].Method != session.MethodPublicKey || granted[0].Channel.SSHCipher == "" || !strings.Contains(granted[0].Client, "OpenSSH") {
		t.Errorf("grants: %+v", granted)
	}
	// A removed key is no longer taken.
	var keys []struct {
		Fingerprint string `json:"fingerprint"`
	}
	unmarshal(t, g.CLI("", "user", "key", "list", alice, "--json"), &keys)
	if len(keys) != 3 {
		t.Fatalf("%d keys listed", len(keys))
	}
	for _, k := range keys {
		g.CLI("", "user", "key", "remove", alice, k.Fingerprint)
	}
	if out, status := client(t, "", "sftp", sshOptions(g.Port("sftp"), "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-i", filepath.Join(dir, "ed25519"), "-b", "/dev/null", alice+"@127.0.0.1")...); status == 0 {
		t.Errorf("a removed key still logs in:\n%s", out)
	}
	refused := events(t, g, "--event", "login", "--outcome", "refused", "--user", alice)
	if len(refused) != 1 || !strings.Contains(refused[0].Reason, "none of 1 keys is one of the account; the last was SHA256:") {
		t.Errorf("the unknown key is recorded as %+v", refused)
	}
}

// reput and reget finish what was cut.
func TestOpenSSHResumes(t *testing.T) {
	g := start(t)
	path, content := file(t, "big.bin", 4<<20)
	cutSFTP(t, g, "r.bin", content[:len(content)/2])
	eventually(t, "the cut upload is recorded", func() bool {
		return len(events(t, g, "--event", "file", "--outcome", "failed")) > 0
	})
	out, status := batch(t, g.Port("sftp"), "ls\nreput "+path+" r.bin\nls\n")
	if status != 0 || strings.Count(out, "r.bin\n") < 1 {
		t.Fatalf("reput: exit status %d\n%s", status, out)
	}
	same(t, "reput", read(t, filepath.Join(g.Dir, "files", alice, "r.bin")), content)
	back := filepath.Join(t.TempDir(), "back.bin")
	if err := os.WriteFile(back, content[:1<<20], 0o600); err != nil {
		t.Fatal(err)
	}
	if out, status := batch(t, g.Port("sftp"), "reget r.bin "+back+"\n"); status != 0 {
		t.Fatalf("reget: exit status %d\n%s", status, out)
	}
	same(t, "reget", read(t, back), content)
}

func TestCurlSFTP(t *testing.T) {
	g := start(t)
	path, content := file(t, "up.bin", 1<<20)
	url := "sftp://" + g.Addr("sftp") + "/c.bin"
	args := []string{"-sS", "-k", "--user", alice + ":" + password}
	if out, _ := client(t, "", "curl", "--version"); !strings.Contains(out, "sftp") {
		t.Skip("this curl has no SFTP")
	}
	must(t, "", "curl", append(args, "-T", path, url)...)
	back := filepath.Join(t.TempDir(), "back")
	must(t, "", "curl", append(args, "-o", back, url)...)
	same(t, "curl", read(t, back), content)
	must(t, "", "curl", append(args, "-Q", "rename /c.bin /d.bin", "-Q", "rm /d.bin", "sftp://"+g.Addr("sftp")+"/")...)
}

// Nothing but SFTP is to be had over SSH.
func TestSSHGivesNoShell(t *testing.T) {
	g := start(t)
	opts := []string{"-p", g.Port("sftp"), "-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR", "-o", "PubkeyAuthentication=no"}
	for _, command := range [][]string{{"id"}, {}} {
		out, status := client(t, "", "sshpass", append(append([]string{"-p", password, "ssh"}, append(opts, alice+"@127.0.0.1")...), command...)...)
		if status == 0 || strings.Contains(out, "uid=") || !strings.Contains(strings.ToLower(out), "sftp") {
			t.Errorf("ssh %v: exit status %d\n%s", command, status, out)
		}
	}
}

// A certificate lets in whom it names, where its authority is the account's.
func TestOpenSSHCertificate(t *testing.T) {
	g := start(t)
	dir := t.TempDir()
	for _, name := range []string{"ca", "user"} {
		must(t, "", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, name))
	}
	key := filepath.Join(dir, "user")
	login := func() int {
		_, status := client(t, "", "sftp", sshOptions(g.Port("sftp"), "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-i", key, "-b", "/dev/null", alice+"@127.0.0.1")...)
		return status
	}
	sign := func(more ...string) {
		must(t, "", "ssh-keygen", append([]string{"-q", "-s", filepath.Join(dir, "ca"), "-I", "test", "-V", "-1m:+1h"}, append(more, key+".pub")...)...)
	}
	sign("-n", alice)
	if login() == 0 {
		t.Error("let in by an authority that nobody knows")
	}
	g.CLI("cert-authority "+string(read(t, filepath.Join(dir, "ca.pub"))), "user", "key", "add", alice, "-")
	for _, tt := range []struct {
		name string
		args []string
		want bool
	}{
		{"hers", []string{"-n", alice}, true},
		{"hers, from here", []string{"-n", alice, "-O", "source-address=127.0.0.0/8"}, true},
		{"hers, from elsewhere", []string{"-n", alice, "-O", "source-address=10.0.0.0/8"}, false},
		{"with a command", []string{"-n", alice, "-O", "force-command=x"}, false},
		{"another's", []string{"-n", "bob"}, false},
		{"nobody's", nil, false},
	} {
		sign(tt.args...)
		if got := login() == 0; got != tt.want {
			t.Errorf("%s: let in %v, want %v", tt.name, got, tt.want)
		}
	}
	found := false
	for _, e := range events(t, g, "--event", "login", "--outcome", "refused") {
		found = found || strings.Contains(e.Reason, "certificate refused: none of its principals")
	}
	if !found {
		t.Error("the record does not say why a certificate was refused")
	}
}

// OpenSSH is asked for the password after its key, and not let in without.
func TestOpenSSHTwoFactors(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{Users: map[string]string{alice: password}, Policy: `
allow "files" { protocol = "sftp" }
require "two factors" { factors = "publickey+password" }
`})
	key := filepath.Join(t.TempDir(), "key")
	must(t, "", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
	g.CLI("", "user", "key", "add", alice, key+".pub")
	for secret, want := range map[string]bool{password: true, "wrong": false} {
		args := append([]string{"-p", secret, "sftp"}, sshOptions(g.Port("sftp"), "-o", "IdentitiesOnly=yes", "-i", key, "-o", "BatchMode=no", "-b", "/dev/null", alice+"@127.0.0.1")...)
		if out, status := client(t, "", "sshpass", args...); (status == 0) != want {
			t.Errorf("password %q: exit status %d\n%s", secret, status, out)
		}
	}
	granted := events(t, g, "--event", "login", "--outcome", "granted")
	if len(granted) != 1 || granted[0].Facts.Proven != session.FactorKey|session.FactorPassword {
		t.Errorf("granted %+v", granted)
	}
	args := append([]string{"-p", password, "sftp"}, sshOptions(g.Port("sftp"), "-o", "PubkeyAuthentication=no", "-o", "BatchMode=no", "-b", "/dev/null", alice+"@127.0.0.1")...)
	if _, status := client(t, "", "sshpass", args...); status == 0 {
		t.Error("let in with the password alone")
	}
}

// A key that a client offered is enrolled with one command.
func TestOpenSSHOfferedKey(t *testing.T) {
	g := start(t)
	key := filepath.Join(t.TempDir(), "key")
	must(t, "", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
	login := func() int {
		_, status := client(t, "", "sftp", sshOptions(g.Port("sftp"), "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-i", key, "-b", "/dev/null", alice+"@127.0.0.1")...)
		return status
	}
	if login() == 0 {
		t.Fatal("let in with a key that nobody knows")
	}
	fingerprint := strings.Fields(must(t, "", "ssh-keygen", "-lf", key+".pub"))[1]
	if list := g.CLI("", "user", "key", "offered", alice); !strings.Contains(list, fingerprint) {
		t.Fatalf("%s is not in\n%s", fingerprint, list)
	}
	g.CLI("", "user", "key", "accept", alice, fingerprint)
	if login() != 0 {
		t.Error("not let in with the key that was accepted")
	}
	accepted := false
	for _, e := range events(t, g, "--event", "admin") {
		accepted = accepted || e.Verb == "accept" && e.Object == "key of "+alice && strings.Contains(e.After, fingerprint)
	}
	if !accepted {
		t.Error("accepting it is not recorded")
	}
}

// A certificate by the group's authority lets in until it is revoked.
func TestOpenSSHRevokedCertificate(t *testing.T) {
	g := start(t)
	dir := t.TempDir()
	for _, name := range []string{"ca", "user"} {
		must(t, "", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, name))
	}
	key, ca, list := filepath.Join(dir, "user"), filepath.Join(dir, "ca"), filepath.Join(dir, "krl")
	login := func() bool {
		_, status := client(t, "", "sftp", sshOptions(g.Port("sftp"), "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-i", key, "-b", "/dev/null", alice+"@127.0.0.1")...)
		return status == 0
	}
	sign := func(serial string) {
		must(t, "", "ssh-keygen", "-q", "-s", ca, "-I", "test", "-V", "-1m:+1h", "-n", alice, "-z", serial, key+".pub")
	}
	sign("7")
	g.CLI("", "group", "ca", "add", "users", ca+".pub")
	if !login() {
		t.Error("not let in by the authority of the group")
	}
	must(t, "serial: 7\n", "ssh-keygen", "-q", "-k", "-f", list, "-s", ca+".pub", "-")
	g.CLI("", "group", "krl", "set", "users", list)
	if login() {
		t.Error("let in by a certificate that is revoked")
	}
	sign("8")
	if !login() {
		t.Error("not let in by the next certificate")
	}
	g.CLI("", "group", "ca", "remove", "users", strings.Fields(must(t, "", "ssh-keygen", "-lf", ca+".pub"))[1])
	if login() {
		t.Error("let in by an authority that was removed")
	}
}
