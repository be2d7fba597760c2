package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gateway/internal/gatewaytest"
	"gateway/session"
	"gateway/smtp/dkim"
)

// mailKeys makes DKIM keys for example.com, before the gateway runs or while it
// does.
func mailKeys(t *testing.T, g *gatewaytest.Gateway) []dkim.Key {
	t.Helper()
	var keys []dkim.Key
	if err := json.Unmarshal([]byte(g.CLI("", "mail", "key", "add", "example.com", "--json")), &keys); err != nil {
		t.Fatal(err)
	}
	return keys
}

// submit sends a message by swaks as alice, who is in example.com.
func submit(t *testing.T, g *gatewaytest.Gateway, more ...string) {
	t.Helper()
	out, status := swaks(t, g.Addr("submissions"), append([]string{"--tls-on-connect", "--auth", "PLAIN", "--auth-user", alice, "--auth-password", password}, more...)...)
	if status != 0 {
		t.Fatalf("swaks: %d\n%s", status, out)
	}
}

// one waits for the only message and writes it to a file, without the field that
// delivery put in front.
func one(t *testing.T, g *gatewaytest.Gateway) (message, path string) {
	t.Helper()
	eventually(t, "the message is delivered", func() bool { return len(delivered(t, g)) == 1 })
	message = delivered(t, g)[0]
	if i := strings.Index(message, "DKIM-Signature:"); i > 0 {
		message = message[i:]
	}
	path = filepath.Join(t.TempDir(), "signed.eml")
	if err := os.WriteFile(path, []byte(message), 0o600); err != nil {
		t.Fatal(err)
	}
	return message, path
}

// opendkimConfig writes a configuration of opendkim that knows these keys.
func opendkimConfig(t *testing.T, keys []dkim.Key, more string) string {
	t.Helper()
	dir := t.TempDir()
	var records strings.Builder
	for _, k := range keys {
		fmt.Fprintf(&records, "%s %s\n", k.Name, k.Record)
	}
	for name, content := range map[string]string{
		"keys": records.String(),
		"conf": "Mode v\nBackground no\nAuthservID verifier.test\nAlwaysAddARHeader yes\nTestPublicKeys " + filepath.Join(dir, "keys") + "\n" + more,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "conf")
}

const opendkim = "/usr/sbin/opendkim"

// What the gateway signs, others verify: both signatures by dkimpy and by opendkim.
func TestDKIMVerifiers(t *testing.T) {
	g := start(t)
	keys := mailKeys(t, g)
	submit(t, g, "--body", ".dots\n\n  blanks  at \t the end \t \n..\n\n\n", "--header", "Cc: carol@remote.test", "--header", "X-Folded: a\n\tb")
	message, path := one(t, g)
	if n := strings.Count(message, "DKIM-Signature:"); n != 2 {
		t.Fatalf("%d signatures, want 2 in\n%s", n, message)
	}

	t.Run("dkimpy", func(t *testing.T) {
		if _, status := client(t, "", systemPython, "-c", "import dkim, nacl"); status != 0 {
			t.Skip("dkim is not installed for " + systemPython)
		}
		records := map[string]string{}
		for _, k := range keys {
			records[k.Name+"."] = k.Record
		}
		text, err := json.Marshal(records)
		if err != nil {
			t.Fatal(err)
		}
		const script = `
import dkim, json, sys
records = json.loads(sys.argv[1])
message = open(sys.argv[2], "rb").read()
lookup = lambda name, timeout=5: records[name.decode() if isinstance(name, bytes) else name].encode()
def good(message):
    d = dkim.DKIM(message, minkey=2048)
    found = []
    for i in range(2):
        try:
            found.append(d.verify(idx=i, dnsfunc=lookup))
        except dkim.DKIMException as e:
            found.append(False)
    return found
assert good(message) == [True, True], good(message)
assert good(message.replace(b"blanks", b"blank")) == [False, False]
assert good(b"Subject: another\r\n" + message) == [False, False]
print("verified")
`
		if out := must(t, "", systemPython, "-c", script, string(text), path); !strings.Contains(out, "verified") {
			t.Error(out)
		}
	})

	t.Run("opendkim", func(t *testing.T) {
		conf := opendkimConfig(t, keys, "")
		// It looks at the first signature that is good, so each is shown alone.
		first, rest, _ := strings.Cut(message[1:], "\nDKIM-Signature:")
		trace := strings.Index(rest, "\nReceived:")
		for _, signed := range []string{message[:1] + first + rest[trace:], "DKIM-Signature:" + rest} {
			if err := os.WriteFile(path, []byte(signed), 0o600); err != nil {
				t.Fatal(err)
			}
			if out := must(t, "", opendkim, "-x", conf, "-t", path); !strings.Contains(out, "succeeded") {
				t.Errorf("%s\n%s", out, signed)
			}
			if err := os.WriteFile(path, []byte(strings.Replace(signed, "blanks", "blank", 1)), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, _ := client(t, "", opendkim, "-x", conf, "-t", path); strings.Contains(out, "succeeded") {
				t.Errorf("a changed body: %s", out)
			}
		}
	})
}

// A real milter looks at what is submitted: opendkim verifies what the gateway signed
// before, and its field is in what is delivered. When it is down, mail waits.
func TestOpendkimAsMilter(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat(opendkim); err != nil {
		t.Skip("opendkim is not installed")
	}
	signer := gatewaytest.Start(t, gatewaytest.Options{Users: map[string]string{alice: password}})
	keys := mailKeys(t, signer)
	submit(t, signer, "--body", "hello")
	_, signed := one(t, signer)

	socket := filepath.Join(t.TempDir(), "s")
	g := gatewaytest.Start(t, gatewaytest.Options{
		Config: strings.Replace(gatewaytest.Config, `listener "submissions" {`, `
milter "opendkim" {
  address = "unix:`+socket+`"
  timeout = "20s"
}
listener "submissions" {
  milters = ["opendkim"]`, 1),
		Users: map[string]string{alice: password},
	})
	login := []string{"--tls-on-connect", "--auth", "PLAIN", "--auth-user", alice, "--auth-password", password}
	if out, status := swaks(t, g.Addr("submissions"), login...); status == 0 || !strings.Contains(out, "451 4.7.1") {
		t.Errorf("the milter is down: exit status %d\n%s", status, out)
	}
	startProcess(t, opendkim, "-f", "-x", opendkimConfig(t, keys, "Socket local:"+socket+"\n"))
	eventually(t, "opendkim listens", func() bool { _, err := os.Stat(socket); return err == nil })
	submit(t, g, "--data", "@"+signed)
	eventually(t, "the message is delivered", func() bool { return len(delivered(t, g)) == 1 })
	message := strings.Join(strings.Fields(delivered(t, g)[0]), " ")
	if !strings.Contains(message, "Authentication-Results: verifier.test; dkim=pass") {
		t.Errorf("no result of opendkim in\n%s", delivered(t, g)[0])
	}
}

// A rule keeps copies of mail in the folder of an account, which can then be read
// over SFTP like any other; when none can be kept, mail waits.
func TestJournalByRule(t *testing.T) {
	t.Parallel()
	g := gatewaytest.Install(t, gatewaytest.Options{Users: map[string]string{alice: password}})
	policy := string(read(t, filepath.Join(g.Dir, "policy.hcl")))
	g.Write("policy.hcl", policy+`
require "archive" {
  journal = "archive:/mail/{user}"
  when { protocol = "submission" }
}
`)
	g.Run()
	submit(t, g, "--to", "bob@remote.test,carol@remote.test", "--header", "Bcc: carol@remote.test")
	folder := filepath.Join(g.Dir, "files", "archive", "mail", alice)
	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) != 1 || !strings.HasSuffix(entries[0].Name(), ".eml") {
		t.Fatalf("got %v, %v, want one copy", entries, err)
	}
	copied := string(read(t, filepath.Join(folder, entries[0].Name())))
	eventually(t, "the message is delivered", func() bool { return len(delivered(t, g)) >= 1 })
	want := "Return-Path: <alice@example.com>\r\nX-Envelope-To: <bob@remote.test>,\r\n <carol@remote.test>\r\nReceived: "
	if !strings.HasPrefix(copied, want) || strings.Contains(copied, "Bcc:") || !strings.Contains(copied, "Subject: swaks test") {
		t.Errorf("got\n%s", copied)
	}
	found := false
	for _, e := range events(t, g, "--event", "file") {
		found = found || e.Verb == session.Write && e.Outcome == session.OutcomeDone && e.Path == "archive:/mail/alice/"+entries[0].Name()
	}
	if !found {
		t.Error("the copy is not recorded")
	}
	if err := os.Chmod(folder, 0o500); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 { // whom permissions do not stop
		if err := os.RemoveAll(folder); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(folder, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, status := swaks(t, g.Addr("submissions"), "--tls-on-connect", "--auth", "PLAIN", "--auth-user", alice, "--auth-password", password)
	if status == 0 || !strings.Contains(out, "451 4.3.0") {
		t.Errorf("the copy cannot be written: exit status %d\n%s", status, out)
	}
}
