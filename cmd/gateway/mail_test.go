package main

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"gateway/smtp/dkim"
)

// nameServer answers from what is put into it, over UDP.
type nameServer struct {
	addr string

	mu  sync.Mutex
	txt map[string][]string
	mx  map[string]string
	a   map[string][4]byte
}

func startNameServer(t *testing.T) *nameServer {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &nameServer{addr: conn.LocalAddr().String(), txt: map[string][]string{}, mx: map[string]string{}, a: map[string][4]byte{}}
	over := make(chan struct{})
	go func() {
		defer close(over)
		query := make([]byte, 4096)
		for {
			n, from, err := conn.ReadFrom(query)
			if err != nil {
				return
			}
			if answer, err := s.answer(query[:n]); err == nil {
				_, _ = conn.WriteTo(answer, from)
			}
		}
	}()
	t.Cleanup(func() { _ = conn.Close(); <-over })
	return s
}

func (s *nameServer) answer(query []byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	q := m.Questions[0]
	name := strings.ToLower(strings.TrimSuffix(q.Name.String(), "."))
	m.Header.Response, m.Header.Authoritative, m.Additionals = true, true, nil
	add := func(body dnsmessage.ResourceBody) {
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class}, Body: body})
	}
	switch host, address := s.mx[name], s.a[name]; q.Type {
	case dnsmessage.TypeTXT:
		for _, text := range s.txt[name] {
			half := len(text) / 2 // no string of a record has more than 255 bytes
			add(&dnsmessage.TXTResource{TXT: []string{text[:half], text[half:]}})
		}
	case dnsmessage.TypeMX:
		if host != "" {
			add(&dnsmessage.MXResource{Pref: 10, MX: dnsmessage.MustNewName(host + ".")})
		}
	case dnsmessage.TypeA:
		if address != [4]byte{} {
			add(&dnsmessage.AResource{A: address})
		}
	}
	if len(s.txt[name]) == 0 && s.mx[name] == "" && s.a[name] == [4]byte{} {
		m.RCode = dnsmessage.RCodeNameError
	}
	return m.Pack()
}

func (s *nameServer) set(name string, texts ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.txt[name] = texts
}

// installation returns the arguments that name a new one.
func installation(t *testing.T) []string {
	t.Helper()
	dir := t.TempDir()
	if status, _, stderr := call(t, "init", "--dir", dir, "--hostname", "mx.example.com"); status != 0 {
		t.Fatal(stderr)
	}
	return []string{"--config", filepath.Join(dir, "gateway.hcl")}
}

// gateway runs a command of an installation.
func gateway(t *testing.T, at []string, line string) (status int, stdout, stderr string) {
	t.Helper()
	return call(t, append(at, strings.Fields(line)...)...)
}

// From the first key to the replaced one, as an operator goes.
func TestMailDomain(t *testing.T) {
	t.Parallel()
	at, dns := installation(t), startNameServer(t)
	dns.mx["example.com"], dns.a["mx.example.com"] = "mx.example.com", [4]byte{192, 0, 2, 25}
	ask := " --resolver " + dns.addr

	status, out, _ := gateway(t, at, "check --mail example.com"+ask)
	if status != 1 || !strings.Contains(out, "gateway mail key add example.com") {
		t.Errorf("without keys: got status %d and\n%s", status, out)
	}
	status, out, _ = gateway(t, at, "mail key add example.com --selector a")
	if status != 0 || !strings.Contains(out, `a-rsa._domainkey.example.com. IN TXT ( "v=DKIM1; k=rsa; p=`) || !strings.Contains(out, `a-ed25519._domainkey.example.com. IN TXT "v=DKIM1; k=ed25519; p=`) {
		t.Fatalf("add: got status %d and\n%s", status, out)
	}

	status, out, errs := gateway(t, at, "mail dns example.com --json"+ask)
	var records published
	if err := json.Unmarshal([]byte(out), &records); status != 0 || err != nil || len(records.Records) != 6 || !strings.Contains(records.Policy, "mx: mx.example.com") {
		t.Fatalf("dns: got status %d, %v, %s and\n%s", status, err, errs, out)
	}
	status, out, errs = gateway(t, at, "check --mail example.com"+ask)
	if status != 1 || strings.Count(out, " missing ") != 4 || !strings.Contains(out, "not used") || !strings.Contains(errs, "example.com: the DNS is not as it should be, in 4 of 6 points") {
		t.Errorf("nothing published: got status %d, %s and\n%s", status, errs, out)
	}
	for _, r := range records.Records {
		dns.set(r.Name, r.Value)
	}
	if status, out, errs = gateway(t, at, "check --mail example.com"+ask); status != 0 {
		t.Errorf("all published: got status %d, %s and\n%s", status, errs, out)
	}
	if status, out, _ = gateway(t, at, "check --mail example.com --address 198.51.100.1"+ask); status != 1 || !strings.Contains(out, "198.51.100.1 (softfail)") {
		t.Errorf("another address: got status %d and\n%s", status, out)
	}

	status, out, _ = gateway(t, at, "mail key rotate example.com --json"+ask)
	var next []dkim.Key
	if err := json.Unmarshal([]byte(out), &next); status != 0 || err != nil || len(next) != 2 || next[0].State != dkim.Next {
		t.Fatalf("rotate: got status %d, %v and\n%s", status, err, out)
	}
	if status, _, errs = gateway(t, at, "mail key rotate example.com"+ask); status != 1 || !strings.Contains(errs, "it is missing: publish it") {
		t.Errorf("rotate before it is published: got status %d and\n%s", status, errs)
	}
	for _, k := range next {
		dns.set(k.Name, k.Record)
	}
	status, out, errs = gateway(t, at, "mail key rotate example.com"+ask)
	if status != 0 || !strings.Contains(out, "is signed by "+next[0].Selector+", "+next[1].Selector+" from now on") {
		t.Errorf("rotate: got status %d, %s and\n%s", status, errs, out)
	}
	if _, out, _ = gateway(t, at, "mail dns example.com"+ask); strings.Count(out, "retired: keep it until") != 2 || !strings.Contains(out, "\n; mx: mx.example.com\n") {
		t.Errorf("dns: got\n%s", out)
	}
	if status, out, _ = gateway(t, at, "mail key remove example.com a-rsa"); status != 0 || !strings.Contains(out, "The rsa key a-rsa of example.com (retired) is gone.") {
		t.Errorf("remove: got status %d and\n%s", status, out)
	}
	if _, out, _ = gateway(t, at, "mail key list"); strings.Contains(out, "a-rsa") || strings.Count(out, "active") != 2 || strings.Count(out, "retired") != 1 {
		t.Errorf("list: got\n%s", out)
	}
	if _, out, _ = gateway(t, at, "audit query --event admin --json"); strings.Contains(out, "PRIVATE") || !strings.Contains(out, `"verb":"rotate"`) {
		t.Errorf("recorded:\n%s", out)
	}
}

// What an operator gets wrong.
func TestMailDomainRefusals(t *testing.T) {
	t.Parallel()
	at, dns := installation(t), startNameServer(t)
	if status, _, errs := gateway(t, at, "mail key add example.com --algorithm ed25519"); status != 0 {
		t.Fatal(errs)
	}
	for line, want := range map[string]struct {
		status int
		text   string
	}{
		"mail key add example.com --algorithm ed25519":           {1, "replace it with 'gateway mail key rotate example.com'"},
		"mail key add localhost":                                 {2, "want a name such as example.com"},
		"mail key add example.com --algorithm dsa":               {2, "want rsa, ed25519 or both"},
		"mail key add example.org --selector a_b":                {2, "want letters, digits and hyphens"},
		"mail key rotate example.org":                            {1, "nothing is signed for example.org"},
		"mail key remove example.com nope":                       {1, "there is no such key: nope of example.com"},
		"mail key remove example.com":                            {2, "takes DOMAIN SELECTOR"},
		"mail dns example.com --reports a,b":                     {2, "is not a mail address"},
		"mail dns example.com --mx a_b":                          {2, "--mx:"},
		"mail dns example.com --address here":                    {2, "is not an IP address"},
		"mail dns example.com --resolver dns.test":               {2, "is not IP or IP:PORT"},
		"check --mail ..":                                        {2, "want a name such as example.com"},
		"check --address 192.0.2.1":                              {2, "are about --mail"},
		"mail key list ..":                                       {2, "want a name"},
		"mail key rotate example.com --resolver x":               {2, "is not IP or IP:PORT"},
		"check --mail example.com --resolver 127.0.0.1:1":        {1, "the DNS is not as it should be"},
		"mail dns example.com --mx *.Example.COM --resolver ::1": {0, ""},
	} {
		status, _, errs := gateway(t, at, line)
		if status != want.status || !strings.Contains(errs, want.text) {
			t.Errorf("%s: got status %d, %q, want %d, %q", line, status, errs, want.status, want.text)
		}
	}
	_, out, _ := gateway(t, at, "mail dns example.com --resolver "+dns.addr)
	if !strings.Contains(out, "No MTA-STS: the domain has no MX") {
		t.Errorf("got\n%s", out)
	}
	// A key that others may read stops whatever needs it.
	name := filepath.Join(filepath.Dir(at[1]), "state", "keys", "dkim", "example.com.json")
	if err := os.Chmod(name, 0o644); err != nil {
		t.Fatal(err)
	}
	if status, _, errs := gateway(t, at, "mail key list"); status != 1 || !strings.Contains(errs, "chmod 600") {
		t.Errorf("got status %d, %q, want advice", status, errs)
	}
}
