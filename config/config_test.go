package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gateway/session"
)

const minimal = `hostname = "files.example.com"
listener "sftp" {
  protocol = "sftp"
  address  = ":2222"
}
`

func parse(t *testing.T, src string) (*Config, error) {
	t.Helper()
	return Parse([]byte(src), filepath.Join(t.TempDir(), "gateway.hcl"))
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	c, err := Parse([]byte(minimal), "/etc/gateway/gateway.hcl")
	if err != nil {
		t.Fatal(err)
	}
	for what, pair := range map[string][2]any{
		"hostname": {c.Hostname, "files.example.com"},
		"node":     {c.Node, "files.example.com"},
		"state":    {c.State, "/etc/gateway/state"},
		"policy":   {c.Policy, "/etc/gateway/policy.hcl"},
		"storage":  {c.Storage.Path, "/etc/gateway/files"},
		"passive":  {c.Passive, PortRange{42000, 42099}},
		"grace":    {c.ShutdownGrace, 5 * time.Minute},
		"tls":      {c.Listeners[0].TLS, TLSNone},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: got %v, want %v", what, pair[0], pair[1])
		}
	}
}

func TestSettingsArriveWhereTheyBelong(t *testing.T) {
	t.Setenv("GATEWAY_TEST_HOST", "env.example.com")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "banner"), []byte("Hello.\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Parse([]byte(`
hostname       = env("GATEWAY_TEST_HOST")
state          = "/var/lib/gateway"
shutdown_grace = "90s"
listener "in" {
  protocol = "submission"
  address  = "127.0.0.1:2587"
  tls      = "implicit"
}
listener "old" {
  protocol = "ftp"
  address  = "[::1]:2121"
  tls_resumption = "required"
  public_address = ["203.0.113.7", "10.0.0.0/8=own"]
  client_certificates = "request"
  client_ca = "ca.pem"
  bandwidth = "50MiB"
  proxy_protocol = ["10.0.0.0/8", "2001:db8::1"]
  proxy_data     = true
}
listener "metrics" {
  protocol = "metrics"
  address  = "localhost:9100"
}
listener "metrics-all" {
  protocol     = "metrics"
  address      = ":9100"
  allow_public = true
}
storage {
  file_mode   = "0660"
  folder_mode = "0770"
  umask       = "0007"
}
ftp {
  tls_truncation = "warn"
  passive_ports = "1024-2047"
  idle_timeout  = "10m"
}
sftp { banner = file("banner") }
smtp { max_message = "1MiB" }
mail {
  route = "maildir://inbox"
  retry = ["1m", "1h"]
}
limits {
  connections = 10
  hash_memory = "64MiB"
  trusted     = ["192.0.2.1", "2001:db8::/32"]
}
certificates {
  files {
    cert = "tls/cert.pem"
    key  = "/etc/key.pem"
  }
}
log { level = "debug" }
`), filepath.Join(dir, "gateway.hcl"))
	if err != nil {
		t.Fatal(err)
	}
	for what, pair := range map[string][2]any{
		"hostname":   {c.Hostname, "env.example.com"},
		"state":      {c.State, "/var/lib/gateway"},
		"grace":      {c.ShutdownGrace, 90 * time.Second},
		"protocol":   {c.Listeners[0].Protocol, session.Submission},
		"tls":        {c.Listeners[0].TLS, TLSImplicit},
		"second tls": {c.Listeners[1].TLS, TLSExplicit},
		"address":    {c.Listeners[1].Address, "[::1]:2121"},
		"proxy":      {c.Listeners[1].Proxies[1].String(), "2001:db8::1/128"},
		"proxy data": {c.Listeners[1].ProxyData, true},
		"metrics":    {c.Listeners[2].TLS, TLSNone},
		"names":      {strings.Join(c.Listens(), " "), "in old"},
		"bandwidth":  {c.Listeners[1].Bandwidth, int64(50 << 20)},
		"no limit":   {c.Listeners[0].Bandwidth, int64(0)},
		"file":       {c.Storage.Local.FileMode, fs.FileMode(0o660)},
		"folder":     {c.Storage.Local.FolderMode, fs.FileMode(0o770)},
		"umask":      {c.Storage.Local.Umask, fs.FileMode(0o007)},
		"passive":    {c.Passive, PortRange{1024, 2047}},
		"default":    {c.Listeners[0].Resumption, session.ResumptionPreferred},
		"resumption": {c.Listeners[1].Resumption, session.ResumptionRequired},
		"public":     {len(c.Listeners[1].PublicAddress), 2},
		"client ca":  {c.Listeners[1].ClientCA, filepath.Join(dir, "ca.pem")},
		"truncation": {c.FTP.TakeTruncated, true},
		"idle":       {c.FTP.IdleTimeout, 10 * time.Minute},
		"banner":     {c.SFTP.Banner, "Hello."},
		"message":    {c.SMTP.MaxMessageBytes, int64(1 << 20)},
		"route":      {c.Mail.DefaultRoute.String(), "maildir://inbox"},
		"retry":      {len(c.Mail.Retry), 2},
		"limit":      {c.Limits.MaxConnections, 10},
		"memory":     {c.Hashing.MaxMemory, 64 << 10},
		"trusted":    {c.Limits.Trusted[0].String(), "192.0.2.1/32"},
		"cert":       {c.Certificates.Files.Cert, filepath.Join(dir, "tls/cert.pem")},
		"key":        {c.Certificates.Files.Key, "/etc/key.pem"},
		"log":        {c.Log.Level, "debug"},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: got %v, want %v", what, pair[0], pair[1])
		}
	}
}

// What is wrong is said with file, line, the line itself, and what to do.
// behind is a server of files.
func behind(kind, address, more string) string {
	return fmt.Sprintf("storage \"old\" {\n  type = %q\n  groups = [\"g\"]\n  address = %q\n  user = \"gateway\"\n  password = env(\"HOME\")\n  path = \"/files\"\n  %s\n}\n", kind, address, more)
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		src  string
		want []string
	}{
		"unknown setting":        {strings.Replace(minimal, "protocol", "protokol", 1), []string{"line 3", `protokol = "sftp"`, "Did you mean \"protocol\"?"}},
		"unknown block":          {minimal + "limit {\n}\n", []string{"line 6", "limit {", "Did you mean \"limits\"?"}},
		"missing hostname":       {strings.SplitN(minimal, "\n", 2)[1], []string{"hostname", "required"}},
		"no listener":            {"hostname = \"a\"\n", []string{"No listener", "listener \"sftp\""}},
		"bad host name":          {strings.Replace(minimal, "files.example.com", "a b", 1), []string{"line 1", "not a host name"}},
		"bad protocol":           {strings.Replace(minimal, "\"sftp\"\n", "\"scp\"\n", 1), []string{"line 3", "not one of: ftp, sftp"}},
		"bad address":            {strings.Replace(minimal, ":2222", "2222", 1), []string{"line 4", "not an address such as"}},
		"port out of range":      {strings.Replace(minimal, ":2222", ":222222", 1), []string{"not a port number"}},
		"tls under ssh":          {strings.Replace(minimal, "\":2222\"", "\":2222\"\n  tls = \"implicit\"", 1), []string{"line 2", "No TLS under SSH"}},
		"twice the same name":    {minimal + minimal[strings.Index(minimal, "listener"):], []string{"line 6", "Duplicate listener"}},
		"twice the same block":   {minimal + "sftp {\n}\nsftp {\n}\n", []string{"line 8", "Duplicate sftp block", "gateway.hcl:6"}},
		"bad duration":           {minimal + "shutdown_grace = \"5 minutes\"\n", []string{"line 6", "not a duration"}},
		"negative duration":      {minimal + "shutdown_grace = \"-5m\"\n", []string{"not a duration"}},
		"number as text":         {minimal + "limits {\n  connections = \"many\"\n}\n", []string{"line 7", "a number is expected, not string"}},
		"number out of range":    {minimal + "limits {\n  connections = 0\n}\n", []string{"a whole number from 1"}},
		"fraction":               {minimal + "limits {\n  connections = 1.5\n}\n", []string{"a whole number from 1"}},
		"text as flag":           {minimal + "ftp {\n  convert_ascii = \"yes\"\n}\n", []string{"true or false"}},
		"bad size":               {minimal + "smtp {\n  max_message = \"35M\"\n}\n", []string{"not a size such as"}},
		"bad resumption":         {strings.Replace(minimal, "\":2222\"", "\":2222\"\n  tls_resumption = \"maybe\"", 1), []string{"line 5", "not one of: required, preferred, off"}},
		"bad public address":     {strings.Replace(minimal, "\":2222\"", "\":2222\"\n  public_address = \"10.0.0.0/8=\"", 1), []string{"line 5", "neither an IPv4 address"}},
		"public without ftp":     {strings.Replace(minimal, "\":2222\"", "\":2222\"\n  public_address = \"192.0.2.1\"", 1), []string{"line 2", "belongs to an ftp listener"}},
		"bad ports":              {minimal + "ftp {\n  passive_ports = \"42099-42000\"\n}\n", []string{"not a range of ports"}},
		"bad network":            {minimal + "limits {\n  trusted = [\"10.0.0.1/8\"]\n}\n", []string{"did you mean \"10.0.0.0/8\""}},
		"bad route":              {minimal + "mail {\n  route = \"http://x\"\n}\n", []string{"line 7", "unknown scheme"}},
		"null":                   {minimal + "node = null\n", []string{"No value for node"}},
		"not a text":             {minimal + "node = [\"a\"]\n", []string{"a text in quotes is expected"}},
		"unset variable":         {minimal + "node = env(\"GATEWAY_TEST_NO_SUCH\")\n", []string{"GATEWAY_TEST_NO_SUCH is not set"}},
		"missing file":           {minimal + "node = file(\"no-such-file\")\n", []string{"no-such-file", "no such file"}},
		"mount at the root":      {minimal + own("mount = \"/\""), []string{"mount \"/\": want a folder"}},
		"mount from nowhere":     {minimal + own("mount = \"a\""), []string{"mount \"a\": want a folder"}},
		"mount with dots":        {minimal + own("mount = \"/a/../b\""), []string{"want a folder as accounts see it"}},
		"mount within a mount":   {minimal + own("mount = \"/a\"") + strings.Replace(own("mount = \"/a/b\""), "\"own\"", "\"second\"", 1), []string{"storage \"second\"", "one within the other"}},
		"own login with a user":  {minimal + own("user = \"x\""), []string{"logs in as the account: leave out user"}},
		"own login, bad path":    {minimal + own("path = \"home/{user}\""), []string{"want a whole path"}},
		"nobody who logs in":     {minimal + strings.Replace(own(""), "\"own\"\n}", "\"fixed\"\n}", 1), []string{"user: say who logs in there"}},
		"setuid":                 {minimal + "storage {\n  file_mode = \"4640\"\n}\n", []string{"line 7", "setuid"}},
		"mode in words":          {minimal + "storage {\n  folder_mode = \"u=rwx\"\n}\n", []string{"not a mode such as"}},
		"mode for nobody":        {minimal + "storage {\n  folder_mode = \"0640\"\n}\n", []string{"shuts out the gateway"}},
		"umask for nobody":       {minimal + "storage {\n  umask = \"0777\"\n}\n", []string{"shuts out the gateway"}},
		"bandwidth of mail":      {minimal + "mail {\n  route = \"maildir://m\"\n}\nlistener \"s\" {\n  protocol = \"relay\"\n  address = \":1\"\n  bandwidth = \"1MiB\"\n}\n", []string{"line 9", "No bandwidth for mail"}},
		"submission in clear":    {minimal + "mail {\n  route = \"maildir://m\"\n}\nlistener \"s\" {\n  protocol = \"submission\"\n  address = \":1\"\n  tls = \"none\"\n}\n", []string{"line 9", "Submission without TLS"}},
		"mail without a route":   {minimal + "listener \"s\" {\n  protocol = \"submission\"\n  address = \":1\"\n}\n", []string{"Mail has nowhere to go"}},
		"unknown milter":         {withListener("relay", "  milters = [\"rspamd\"]") + "mail {\n  route = \"maildir://m\"\n}\n", []string{"line 6", "There is no milter \"rspamd\"", "add milter"}},
		"milter of files":        {withListener("sftp", "  milters = [\"rspamd\"]"), []string{"line 6", "Milters without mail"}},
		"milter nowhere":         {minimal + "milter \"rspamd\" {\n}\n", []string{"\"address\" is required"}},
		"milter of no kind":      {minimal + "milter \"rspamd\" {\n  address = \"127.0.0.1:11332\"\n}\n", []string{"not the address of a milter", "inet:127.0.0.1:11332"}},
		"milter with a wish":     {minimal + "milter \"rspamd\" {\n  address = \"inet:[::1]:1\"\n  on_fault = \"ignore\"\n}\n", []string{"not one of: defer, refuse, accept"}},
		"old server in clear":    {minimal + "old_server \"a\" {\n  type = \"ftp\"\n  address = \"192.0.2.7:21\"\n  groups = [\"g\"]\n  until = \"2027-01-01\"\n}\n", []string{"without TLS it must be an address of a private network"}},
		"old server for ever":    {minimal + "old_server \"a\" {\n  type = \"ftps\"\n  address = \"192.0.2.7:21\"\n  groups = [\"g\"]\n}\n", []string{"until: say from which day on"}},
		"old server of no kind":  {minimal + "old_server \"a\" {\n  type = \"pop3\"\n  address = \"192.0.2.7:21\"\n  groups = [\"g\"]\n}\n", []string{"is not one of: ftp"}},
		"password in the file":   {minimal + "old_server \"a\" {\n  type = \"ldaps\"\n  address = \"d:636\"\n  groups = [\"g\"]\n  bind_password = \"x\"\n}\n", []string{"A secret in the configuration"}},
		"files in clear":         {minimal + behind("ftp", "192.0.2.7:21", "tls = \"none\""), []string{"without TLS it must be an address of a private network"}},
		"files with a bad pin":   {minimal + behind("ftp", "192.0.2.7:21", "pin = \"SHA256:abc\""), []string{"pin: want the SHA-256 of the certificate in hex"}},
		"files by one alone":     {minimal + behind("ftp", "192.0.2.7:21", "connections = 1"), []string{"connections: want 2 to 64"}},
		"files without a host":   {minimal + behind("sftp", "192.0.2.7:22", ""), []string{"host_keys: want fingerprints"}},
		"SSH of ftp":             {minimal + behind("ftp", "192.0.2.7:21", "host_keys = [\"SHA256:abc\"]"), []string{"host_keys and key are for sftp"}},
		"TLS of sftp":            {minimal + behind("sftp", "192.0.2.7:22", "tls = \"explicit\""), []string{"tls, pin and ca are for ftp"}},
		"files of no authority":  {minimal + behind("ftp", "192.0.2.7:21", "ca = \"none.pem\""), []string{"none.pem holds no"}},
		"milter twice":           {minimal + "milter \"a\" {\n  address = \"inet:[::1]:1\"\n}\nmilter \"a\" {\n  address = \"inet:[::1]:1\"\n}\n", []string{"a milter \"a\" already"}},
		"files and acme":         {minimal + "certificates {\n  files {\n    cert = \"a\"\n    key = \"b\"\n  }\n  acme {\n  }\n}\n", []string{"choose between"}},
		"files without a key":    {minimal + "certificates {\n  files {\n    cert = \"a\"\n  }\n}\n", []string{"\"key\" is required"}},
		"everybody a proxy":      {withListener("ftp", "  proxy_protocol = [\"0.0.0.0/0\"]"), []string{"line 9", "everybody", "name the balancers"}},
		"data without a proxy":   {withListener("ftp", "  proxy_data = true"), []string{"line 6", "proxy_data is for an ftp listener with proxy_protocol"}},
		"data ports of sftp":     {withListener("sftp", "  proxy_protocol = [\"::1\"]\n  proxy_data = true"), []string{"line 6", "proxy_data is for an ftp listener"}},
		"certificate and SSH":    {withListener("sftp", "  client_certificates = \"request\""), []string{"line 6", "an sftp listener takes SSH keys"}},
		"public sftp":            {withListener("sftp", "  allow_public = true"), []string{"line 6", "allow_public is for"}},
		"metrics for everybody":  {withListener("metrics", ""), []string{"line 6", "Metrics for everybody", "127.0.0.1:9100", "allow_public"}},
		"metrics with TLS":       {withListener("metrics", "  allow_public = true\n  tls = \"explicit\""), []string{"No TLS for metrics"}},
		"metrics by a proxy":     {withListener("metrics", "  allow_public = true\n  proxy_protocol = [\"::1\"]"), []string{"No proxy for metrics"}},
		"not HCL":                {"hostname: files\n", []string{"line 1"}},
		"several faults at once": {strings.Replace(minimal, ":2222", "x", 1) + "nodee = \"a\"\n", []string{"2 reasons", "line 4", "nodee"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := parse(t, c.src)
			wrong, ok := errors.AsType[*Error](err)
			if !ok {
				t.Fatalf("got %v, want an *Error", err)
			}
			for _, want := range c.want {
				if !strings.Contains(flat(wrong.Error()), flat(want)) {
					t.Errorf("no %q in:\n%s", want, wrong)
				}
			}
		})
	}
}

// withListener adds a listener with such a line to minimal, from line 6 on.
func withListener(protocol, line string) string {
	return minimal + "listener \"x\" {\n  protocol = \"" + protocol + "\"\n  address = \":9100\"\n" + line + "\n}\n"
}

// Metrics are for this host, unless somebody says otherwise.
func TestLoopback(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{
		"127.0.0.1:9100": true, "127.1.2.3:0": true, "[::1]:9100": true, "localhost:9100": true, "[::ffff:127.0.0.1]:1": true,
		":9100": false, "0.0.0.0:9100": false, "[::]:9100": false, "192.0.2.1:9100": false, "[2001:db8::1]:9100": false, "": false,
	} {
		if got := loopback(address); got != want {
			t.Errorf("%q: got %v, want %v", address, got, want)
		}
	}
}

// flat makes a text comparable over line breaks and capital letters.
func flat(s string) string { return strings.ToLower(strings.Join(strings.Fields(s), " ")) }

func TestParseSize(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"1": 1, "512B": 512, "64KiB": 65536, "35MiB": 35 << 20, "2GiB": 2 << 30, "1TiB": 1 << 40} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("%s: got %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "0", "-1", "1M", "MiB", "1.5MiB", "9999999999TiB", "1 MiB"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("%q is taken as %d", text, got)
		}
	}
}

// own is a storage that each account logs in to by itself.
func own(more string) string {
	return "storage \"own\" {\n  type = \"sftp\"\n  groups = [\"g\"]\n  address = \"10.0.0.1:22\"\n  host_keys = [\"SHA256:x\"]\n" + more + "\n  login = \"own\"\n}\n"
}

// docs/config.md is printed from the settings and must not lag behind them.
func TestReferenceIsFresh(t *testing.T) {
	t.Parallel()
	written, err := os.ReadFile("../docs/config.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(written) != Reference() {
		t.Error("docs/config.md is not what the settings say: run make docs")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(minimal)
	f.Add("hostname = 1\nlistener \"a\" {\n}\n")
	f.Add("limits {\n trusted = [[]]\n hashes = 1e400\n}\n")
	f.Add("mail { retry = {a = 1} }")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, src string) {
		if strings.Contains(src, "file") { // the fuzzer has no business with our files
			return
		}
		c, err := Parse([]byte(src), filepath.Join(dir, "gateway.hcl"))
		if (c == nil) == (err == nil) {
			t.Errorf("got %v and %v", c, err)
		}
		if err == nil && (c.Hostname == "" || len(c.Listeners) == 0) {
			t.Errorf("taken without a host name or a listener: %q", src)
		}
	})
}
