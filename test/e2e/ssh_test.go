package e2e

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gateway/internal/gatewaytest"
)

// everySSH is a configuration with a listener for each profile.
func everySSH() string {
	return gatewaytest.Config + `
listener "modern" {
  protocol    = "sftp"
  address     = "127.0.0.1:0"
  ssh_profile = "modern"
}
listener "old" {
  protocol = "sftp"
  address  = "127.0.0.1:0"
}
listener "ended" {
  protocol = "sftp"
  address  = "127.0.0.1:0"
}
limits {
  trusted = ["127.0.0.1"]
}
`
}

// oldDevices lets a listener, which stands for a network here, offer what a device
// of old needs; on another the time for that is over.
const oldDevices = `
allow "files" {
  protocol = ["ftp", "sftp"]
  group    = "users"
}
require "ssh algorithms" { ssh_profile = "compatible" }
exempt "ssh algorithms" "scanner-7" {
  listener    = "old"
  until       = "2099-12-31"
  ssh_profile = "legacy"
  owner       = "facilities@example.com"
  because     = "MFP firmware, replacement ordered"
}
exempt "ssh algorithms" "scanner-6" {
  listener    = "ended"
  until       = "2020-12-31"
  ssh_profile = "legacy"
  owner       = "facilities@example.com"
  because     = "MFP firmware, replaced"
}
`

// OpenSSH logs in with each algorithm of a profile alone, and with no other.
func TestOpenSSHByProfile(t *testing.T) {
	t.Parallel()
	g := gatewaytest.Start(t, gatewaytest.Options{Users: map[string]string{alice: password}, Config: everySSH(), Policy: oldDevices})
	const (
		modern, compatible, legacy, ended = "modern", "sftp", "old", "ended"
	)
	for _, tc := range []struct {
		option string // with the algorithm, and what else it takes to choose it
		on     []string
	}{
		{"KexAlgorithms=curve25519-sha256", []string{modern, compatible, legacy, ended}},
		{"KexAlgorithms=curve25519-sha256@libssh.org", []string{modern, compatible, legacy, ended}},
		{"KexAlgorithms=ecdh-sha2-nistp256", []string{compatible, legacy, ended}},
		{"KexAlgorithms=ecdh-sha2-nistp384", []string{compatible, legacy, ended}},
		{"KexAlgorithms=ecdh-sha2-nistp521", []string{compatible, legacy, ended}},
		{"KexAlgorithms=diffie-hellman-group16-sha512", []string{legacy}},
		{"KexAlgorithms=diffie-hellman-group14-sha256", []string{legacy}},
		{"KexAlgorithms=diffie-hellman-group14-sha1", []string{legacy}},
		{"KexAlgorithms=diffie-hellman-group1-sha1", nil},
		{"KexAlgorithms=diffie-hellman-group-exchange-sha256", nil},
		{"HostKeyAlgorithms=ssh-ed25519", []string{modern, compatible, legacy, ended}},
		{"HostKeyAlgorithms=ecdsa-sha2-nistp256", []string{compatible, legacy, ended}},
		{"HostKeyAlgorithms=rsa-sha2-256", []string{modern, compatible, legacy, ended}},
		{"HostKeyAlgorithms=rsa-sha2-512", []string{modern, compatible, legacy, ended}},
		{"HostKeyAlgorithms=ssh-rsa", []string{legacy}},
		{"Ciphers=aes128-gcm@openssh.com", []string{modern, compatible, legacy, ended}},
		{"Ciphers=aes256-gcm@openssh.com", []string{modern, compatible, legacy, ended}},
		{"Ciphers=aes128-ctr", []string{compatible, legacy, ended}},
		{"Ciphers=aes192-ctr", []string{compatible, legacy, ended}},
		{"Ciphers=aes256-ctr", []string{compatible, legacy, ended}},
		{"Ciphers=aes128-cbc", []string{legacy}},
		{"Ciphers=3des-cbc", nil},
		{"Ciphers=aes256-ctr MACs=hmac-sha2-256-etm@openssh.com", []string{compatible, legacy, ended}},
		{"Ciphers=aes256-ctr MACs=hmac-sha2-512-etm@openssh.com", []string{compatible, legacy, ended}},
		{"Ciphers=aes256-ctr MACs=hmac-sha2-256", []string{compatible, legacy, ended}},
		{"Ciphers=aes256-ctr MACs=hmac-sha2-512", []string{compatible, legacy, ended}},
		{"Ciphers=aes256-ctr MACs=hmac-sha1", []string{legacy}},
		{"Ciphers=aes256-ctr MACs=hmac-md5", nil},
	} {
		for _, listener := range []string{modern, compatible, legacy, ended} {
			var options []string
			for _, o := range strings.Fields(tc.option) {
				options = append(options, "-o", o)
			}
			out, status := batch(t, g.Port(listener), "pwd\n", options...)
			if want := slices.Contains(tc.on, listener); (status == 0) != want {
				t.Errorf("%s at %s: exit status %d, want a login: %v\n%s", tc.option, listener, status, want, out)
			}
		}
	}
	profiles := map[string]string{modern: "modern", compatible: "compatible", legacy: "legacy", ended: "compatible"}
	for _, e := range events(t, g, "--event", "login", "--outcome", "granted") {
		if e.Channel.SSHProfile != profiles[e.Listener] || e.Channel.SSHKex == "" || e.Channel.SSHCipher == "" {
			t.Errorf("a login at %s recorded with %+v", e.Listener, e.Channel)
		}
	}
}

// A user's RSA key signs with SHA-1 only where that is exempted.
func TestOldUserSignature(t *testing.T) {
	t.Parallel()
	g := gatewaytest.Start(t, gatewaytest.Options{Users: map[string]string{alice: password}, Config: everySSH(), Policy: oldDevices})
	key := filepath.Join(t.TempDir(), "rsa")
	must(t, "", "ssh-keygen", "-q", "-t", "rsa", "-b", "3072", "-N", "", "-f", key)
	g.CLI("", "user", "key", "add", alice, key+".pub")
	for signature, on := range map[string][]string{
		"ssh-rsa": {"old"}, "rsa-sha2-256": {"sftp", "modern", "old"}, "rsa-sha2-512": {"sftp", "modern", "old"},
	} {
		for _, listener := range []string{"sftp", "modern", "old"} {
			out, status := client(t, "", "sftp", sshOptions(g.Port(listener), "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-i", key,
				"-o", "PubkeyAcceptedAlgorithms="+signature, "-b", "/dev/null", alice+"@127.0.0.1")...)
			if want := slices.Contains(on, listener); (status == 0) != want {
				t.Errorf("%s at %s: exit status %d, want a login: %v\n%s", signature, listener, status, want, out)
			}
		}
	}
}

// knownHosts are the keys of a known_hosts file.
func knownHosts(t *testing.T, path string) []string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var keys []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) >= 3 {
			keys = append(keys, fields[1]+" "+fields[2])
		}
	}
	slices.Sort(keys)
	return keys
}

// hostKeyLine is what cert show --ssh --json tells of a key.
type hostKeyLine struct {
	PublicKey string  `json:"public_key"`
	From      *string `json:"from"`
}

// hostKeys are the public keys that serve and those that will.
func hostKeys(t *testing.T, g *gatewaytest.Gateway) (serving, next []string) {
	t.Helper()
	var list []hostKeyLine
	unmarshal(t, g.CLI("", "cert", "show", "--ssh", "--json"), &list)
	for _, k := range list {
		if k.From == nil {
			serving = append(serving, k.PublicKey)
		} else {
			next = append(next, k.PublicKey)
		}
	}
	slices.Sort(serving)
	slices.Sort(next)
	return serving, next
}

// OpenSSH learns the next host keys while the old ones serve, and then trusts them
// without a question.
func TestOpenSSHLearnsHostKeys(t *testing.T) {
	g := start(t)
	known := filepath.Join(t.TempDir(), "known_hosts")
	login := func(check string) (string, int) {
		script := filepath.Join(t.TempDir(), "batch")
		if err := os.WriteFile(script, []byte("ls\npwd\nls\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return client(t, "", "sshpass", "-p", password, "sftp", "-P", g.Port("sftp"), "-o", "UserKnownHostsFile="+known,
			"-o", "StrictHostKeyChecking="+check, "-o", "UpdateHostKeys=yes", "-o", "PubkeyAuthentication=no",
			"-o", "BatchMode=no", "-b", script, alice+"@127.0.0.1")
	}
	if out, status := login("accept-new"); status != 0 {
		t.Fatalf("exit status %d\n%s", status, out)
	}
	old, next := hostKeys(t, g)
	if len(old) != 3 || len(next) != 0 {
		t.Fatalf("at first %v, next %v", old, next)
	}
	if out, status := login("yes"); status != 0 { // whoever just learnt the host asks for nothing else yet
		t.Fatalf("exit status %d\n%s", status, out)
	}
	if got := knownHosts(t, known); !slices.Equal(got, old) {
		t.Errorf("known at first\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(old, "\n"))
	}

	g.CLI("", "cert", "renew", "--host-keys")
	serving, next := hostKeys(t, g)
	if !slices.Equal(serving, old) || len(next) != 3 {
		t.Fatalf("after the renewal %v serve, next %v", serving, next)
	}
	if out := g.CLI("", "cert", "list"); strings.Count(out, ", from 20") != 3 {
		t.Errorf("cert list does not tell from when:\n%s", out)
	}
	if out, status := login("yes"); status != 0 {
		t.Fatalf("exit status %d\n%s", status, out)
	}
	both := slices.Concat(old, next)
	slices.Sort(both)
	if got := knownHosts(t, known); !slices.Equal(got, both) {
		t.Errorf("known in the overlap\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(both, "\n"))
	}

	g.CLI("", "cert", "renew", "--host-keys", "--now")
	if serving, _ := hostKeys(t, g); !slices.Equal(serving, next) {
		t.Errorf("after the takeover %v serve, want %v", serving, next)
	}
	for range 2 {
		if out, status := login("yes"); status != 0 {
			t.Fatalf("after the takeover: exit status %d\n%s", status, out)
		}
	}
	if got := knownHosts(t, known); !slices.Equal(got, next) {
		t.Errorf("known at last\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(next, "\n"))
	}
	var renewals int
	for _, e := range events(t, g, "--event", "admin", "--outcome", "done") {
		if e.Verb == "renew" && e.Object == "host keys" && strings.Contains(e.After, "SHA256:") {
			renewals++
		}
	}
	if renewals != 2 {
		t.Errorf("%d renewals recorded, want 2", renewals)
	}
}

// The next keys take over by themselves at the end of the overlap, over a restart.
func TestHostKeysTakeOver(t *testing.T) {
	t.Parallel()
	g := gatewaytest.Start(t, gatewaytest.Options{
		Users:  map[string]string{alice: password},
		Config: gatewaytest.Config + "sftp { \n host_key_overlap = \"3s\" \n}\n",
	})
	g.CLI("", "cert", "renew", "--host-keys")
	old, next := hostKeys(t, g)
	eventually(t, "the next host keys take over", func() bool {
		serving, _ := hostKeys(t, g)
		return !slices.Equal(serving, old)
	})
	if serving, more := hostKeys(t, g); len(next) != 3 || !slices.Equal(serving, next) || len(more) != 0 {
		t.Errorf("%v serve, next %v", serving, more)
	}
	if out, status := batch(t, g.Port("sftp"), "pwd\n"); status != 0 {
		t.Errorf("exit status %d\n%s", status, out)
	}
	scan := must(t, "", "ssh-keyscan", "-p", g.Port("sftp"), "127.0.0.1")
	for _, k := range next {
		if fields := strings.Fields(k); !strings.Contains(scan, fields[1]) {
			t.Errorf("ssh-keyscan does not see %s:\n%s", k, scan)
		}
	}
	g.Stop()
	if serving, _ := hostKeys(t, g); !slices.Equal(serving, next) {
		t.Errorf("stopped, %v serve, want %v", serving, next)
	}
	out := g.CLI("", "cert", "show", "--ssh")
	for _, want := range []string{"localhost. IN SSHFP 1 2 ", "localhost. IN SSHFP 3 2 ", "localhost. IN SSHFP 4 2 ", "localhost ssh-ed25519 AAAA"} {
		if !strings.Contains(out, want) {
			t.Errorf("cert show --ssh lacks %q:\n%s", want, fmt.Sprint(out))
		}
	}
}

// Keys are exchanged anew after so many bytes, in the middle of a transfer.
func TestRekeyAfter(t *testing.T) {
	t.Parallel()
	g := gatewaytest.Start(t, gatewaytest.Options{
		Users:  map[string]string{alice: password},
		Config: gatewaytest.Config + "sftp { \n rekey_after = \"1MiB\" \n}\n",
	})
	path, content := file(t, "up.bin", 8<<20)
	back := filepath.Join(t.TempDir(), "back.bin")
	script := filepath.Join(t.TempDir(), "batch")
	if err := os.WriteFile(script, []byte("put "+path+" r.bin\nget r.bin "+back+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out := must(t, "", "sshpass", "-p", password, "sftp", "-vv", "-P", g.Port("sftp"), "-o", "UserKnownHostsFile=/dev/null",
		"-o", "StrictHostKeyChecking=no", "-o", "PubkeyAuthentication=no", "-o", "BatchMode=no", "-b", script, alice+"@127.0.0.1")
	same(t, "rekeyed", read(t, back), content)
	// The first, and at least one in each transfer: while keys are exchanged more bytes
	// are under way, so that it is not one a MiB.
	if n := strings.Count(out, "SSH2_MSG_KEXINIT received"); n < 3 {
		t.Errorf("%d key exchanges for 16 MiB, want one in each transfer", n)
	}
}
