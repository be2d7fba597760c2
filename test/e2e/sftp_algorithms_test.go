package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// sshKind is a kind of algorithm, as OpenSSH calls it in each place.
type sshKind struct {
	query  string   // of ssh -Q
	option string   // of ssh -o
	line   string   // of its log, before what the server offers
	with   []string // what else it takes to use one
	least  int      // how many both sides know, of OpenSSH 9.2 and newer
}

// sshKinds are all that are negotiated.
func sshKinds() []sshKind {
	return []sshKind{
		{"kex", "KexAlgorithms", "KEX algorithms", nil, 5},
		{"HostKeyAlgorithms", "HostKeyAlgorithms", "host key algorithms", nil, 4},
		{"cipher", "Ciphers", "ciphers ctos", nil, 5},
		// GCM brings its own.
		{"mac", "MACs", "MACs ctos", []string{"-o", "Ciphers=aes128-ctr"}, 4},
	}
}

// common are the algorithms of a kind that the gateway offers and OpenSSH knows.
func (k sshKind) common(t *testing.T, c sshCell) []string {
	t.Helper()
	log, _ := client(t, "", "ssh", append(c.options("-o", "LogLevel=DEBUG2"), "-p", c.port, c.target(), "true")...)
	_, log, _ = strings.Cut(log, "peer server KEXINIT proposal")
	_, log, found := strings.Cut(log, "debug2: "+k.line+": ")
	if !found {
		t.Fatalf("ssh does not tell which %s are offered", k.line)
	}
	offer, _, _ := strings.Cut(log, "\n")
	known := strings.Fields(must(t, "", "ssh", "-Q", k.query))
	var common []string
	for name := range strings.SplitSeq(strings.TrimSpace(offer), ",") {
		if slices.Contains(known, name) {
			common = append(common, name)
		}
	}
	if len(common) < k.least {
		t.Errorf("%s: both sides know %v, want %d at least", k.option, common, k.least)
	}
	return common
}

// OpenSSH moves files with each algorithm that the gateway offers and that it knows,
// with new keys on the way.
func TestOpenSSHAlgorithms(t *testing.T) {
	g := start(t)
	c := newSSHCell(t, g)
	path, content := file(t, "up.bin", 900_001)
	for _, kind := range sshKinds() {
		for _, name := range kind.common(t, c) {
			t.Run(kind.option+"/"+name, func(t *testing.T) {
				t.Parallel()
				there, back := kind.option+" "+name, filepath.Join(t.TempDir(), "back.bin")
				options := append([]string{"-o", kind.option + "=" + name, "-o", "RekeyLimit=256k"}, kind.with...)
				out := c.sftp(t, fmt.Sprintf("put %s \"%s\"\nget \"%[2]s\" %s\nls\n", path, there, back), options...)
				if !strings.Contains(out, there) {
					t.Errorf("%q is not in what was listed:\n%s", there, out)
				}
				same(t, "sent", read(t, filepath.Join(g.Dir, "files", alice, there)), content)
				same(t, "fetched", read(t, back), content)
			})
		}
	}
}

// UpdateHostKeys must not end the session, whether or not the gateway tells its other
// keys.
func TestOpenSSHUpdatesHostKeys(t *testing.T) {
	g := start(t)
	c := newSSHCell(t, g)
	known := read(t, c.known)
	var one string
	for line := range strings.Lines(string(known)) {
		if strings.Contains(line, "ssh-ed25519") {
			one = line
		}
	}
	if err := os.WriteFile(c.known, []byte(one), 0o600); err != nil {
		t.Fatal(err)
	}
	path, content := file(t, "up.bin", 300_001)
	for round := range 2 {
		name := fmt.Sprint("up", round)
		c.sftp(t, "put "+path+" "+name+"\n", "-o", "UpdateHostKeys=yes")
		same(t, name, read(t, filepath.Join(g.Dir, "files", alice, name)), content)
		if !strings.Contains(string(read(t, c.known)), one) {
			t.Errorf("the key that was known is forgotten:\n%s", read(t, c.known))
		}
	}
}
