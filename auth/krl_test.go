package auth

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// keygen runs ssh-keygen in dir.
func keygen(t testing.TB, dir string, args ...string) error {
	t.Helper()
	if _, err := exec.LookPath("ssh-keygen"); err != nil {
		t.Skip("no ssh-keygen")
	}
	cmd := exec.Command("ssh-keygen", args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	if err != nil {
		return fmt.Errorf("%s", out)
	}
	return nil
}

// Of every certificate the list says what ssh-keygen -Q says of it.
func TestKRLAsOpenSSH(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	must := func(args ...string) {
		t.Helper()
		if err := keygen(t, dir, args...); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"ca", "ca2", "k1", "k2", "k3", "k4"} {
		must("-q", "-t", "ed25519", "-N", "", "-f", name)
	}
	specs := map[string]string{
		"serials": "serial: 5\nserial: 7-9\nserial: 1000-1100\nserial: 18446744073709551615\n",
		"bitmap":  "serial: 1\nserial: 3\nserial: 5\nserial: 7\nserial: 9\nserial: 11\nserial: 13\nserial: 64\nserial: 66\n",
		"ids":     "id: laptop\nid: phone\n",
		"mixed":   "serial: 40\nid: phone\n",
	}
	var lists []string
	for name, spec := range specs {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(spec), 0o600); err != nil {
			t.Fatal(err)
		}
		must("-q", "-k", "-f", name+".krl", "-s", "ca.pub", "-z", "42", name)
		lists = append(lists, name+".krl")
	}
	must("-q", "-k", "-f", "key.krl", "k2.pub")
	must("-q", "-k", "-f", "authority.krl", "ca2.pub")
	for _, hash := range []string{"sha1", "sha256"} {
		spec := hash + ": " + strings.TrimSpace(string(file("k3.pub"))) + "\n"
		if err := os.WriteFile(filepath.Join(dir, hash), []byte(spec), 0o600); err != nil {
			t.Fatal(err)
		}
		must("-q", "-k", "-f", hash+".krl", hash)
		lists = append(lists, hash+".krl")
	}
	lists = append(lists, "key.krl", "authority.krl")
	must("-q", "-k", "-f", "empty.krl", "/dev/null")
	lists = append(lists, "empty.krl")

	revoked := 0
	for i, c := range []struct{ key, ca, id, serial string }{
		{"k1", "ca", "laptop", "0"}, {"k1", "ca", "other", "0"}, {"k1", "ca2", "phone", "5"}, {"k2", "ca", "x", "2"}, {"k3", "ca", "x", "2"},
		{"k4", "ca", "x", "5"}, {"k4", "ca", "x", "6"}, {"k4", "ca", "x", "7"}, {"k4", "ca", "x", "9"}, {"k4", "ca", "x", "10"}, {"k4", "ca", "x", "1"},
		{"k4", "ca", "x", "40"}, {"k4", "ca", "x", "66"}, {"k4", "ca", "x", "65"}, {"k4", "ca", "x", "1100"}, {"k4", "ca", "x", "1101"},
		{"k4", "ca", "x", "18446744073709551615"}, {"k4", "ca", "x", "13"}, {"k4", "ca", "x", "14"},
	} {
		must("-q", "-s", c.ca, "-I", c.id, "-n", "joe", "-z", c.serial, c.key+".pub")
		pub, _, _, _, err := ssh.ParseAuthorizedKey(file(c.key + "-cert.pub"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range lists {
			k, err := parseKRL(file(name))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			want := keygen(t, dir, "-Q", "-f", name, c.key+"-cert.pub") != nil
			if got := k.revokes(pub.(*ssh.Certificate)); (got != "") != want {
				t.Errorf("%s, certificate %d %+v: revoked %q, ssh-keygen says %v", name, i, c, got, want)
			}
			if want {
				revoked++
			}
		}
	}
	if revoked < 10 {
		t.Errorf("only %d are revoked: the test tests nothing", revoked)
	}
	for name, want := range map[string]string{"k1.pub": "", "serials": ""} {
		if _, err := parseKRL(file(name)); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v %s", name, err, want)
		}
	}
	// A list that was cut anywhere is refused, or at the end of a section.
	whole := file("mixed.krl")
	for n := range whole {
		if k, err := parseKRL(whole[:n]); err == nil && len(k.certs) > 0 {
			t.Errorf("cut after %d of %d bytes, and taken", n, len(whole))
		}
	}
}

func FuzzKRL(f *testing.F) {
	head := krlMagic + "\x00\x00\x00\x01" + strings.Repeat("\x00", 24) + "\x00\x00\x00\x00" + "\x00\x00\x00\x00"
	certs := func(s string) string {
		body := "\x00\x00\x00\x00\x00\x00\x00\x00" + s
		return head + "\x01\x00\x00\x00" + string(rune(len(body))) + body
	}
	for _, seed := range []string{
		head, certs("\x20\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x07"), certs("\x22\x00\x00\x00\x0e\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x02\x00\x55"),
		certs("\x21\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x09"), certs("\x23\x00\x00\x00\x05\x00\x00\x00\x01x"),
		head + "\xff\x00\x00\x00\x06\x00\x00\x00\x01x\x01", head + "\x02\x00\x00\x00\x05\x00\x00\x00\x01x",
	} {
		f.Add([]byte(seed), uint64(7))
	}
	key, err := ssh.NewPublicKey(ed25519.PublicKey(make([]byte, ed25519.PublicKeySize)))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte, serial uint64) {
		k, err := parseKRL(data)
		if err != nil {
			if !errors.Is(err, ErrInvalid) || strings.ContainsAny(err.Error(), "\x00\x1b") {
				t.Errorf("got %q", err)
			}
			return
		}
		cert := &ssh.Certificate{Key: key, SignatureKey: key, Serial: serial, KeyId: "x"}
		first := k.revokes(cert)
		again, err := parseKRL(bytes.Clone(data))
		if err != nil || again.revokes(cert) != first {
			t.Errorf("read twice: %q, then %v", first, err)
		}
	})
}
