package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gateway/internal/gatewaytest"
	"gateway/session"
)

// nextHop is a mail server of Debian to which the gateway sends.
type nextHop struct {
	name string
	// start runs it in a folder of its own, at that port of this host.
	start func(t *testing.T, port string) (dir string)
	route string // with the folder and the port
	mail  string // a pattern for the files in which it keeps what it got
	tls   bool   // it speaks STARTTLS
}

func nextHops() []nextHop {
	return []nextHop{
		{"postfix", startPostfixInbound, "smtp://127.0.0.1:%[2]s", "mail/bob/new/*", true},
		{"exim", startExim, "smtp://127.0.0.1:%[2]s", "mail/new/*", true},
		// Its TLS is broken with OpenSSL 3, so that it does not offer any.
		{"opensmtpd", startOpenSMTPD, "smtp://127.0.0.1:%[2]s", "mail/new/*", false},
		{"dovecot by TCP", startDovecot, "lmtp://127.0.0.1:%[2]s", "mail/bob/new/*", false},
		{"dovecot by socket", startDovecot, "lmtp://%[1]s/base/lmtp", "mail/bob/new/*", false},
	}
}

// difficult is a message whose body tempts servers to change it.
const difficult = "From: alice@example.com\r\nTo: bob@remote.test\r\nSubject: on its way\r\nMIME-Version: 1.0\r\n" +
	"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" +
	".\u0020\r\n.dot\r\n..dots\r\nFrom the beginning\r\n\ttab and space \t \r\nünï\r\n\r\n\r\n"

func TestDeliveryToServers(t *testing.T) {
	t.Parallel()
	for _, hop := range nextHops() {
		t.Run(hop.name, func(t *testing.T) {
			t.Parallel()
			port := unusedPort(t)
			dir := hop.start(t, port)
			route := fmt.Sprintf(hop.route, dir, port)
			g := gatewaytest.Start(t, gatewaytest.Options{
				Config: strings.Replace(gatewaytest.Config, `route = "maildir://mail"`, fmt.Sprintf("\n  route = %q\n  retry = [\"1s\"]\n", route), 1),
				Users:  map[string]string{alice: password},
			})
			body := difficult + strings.Repeat("long ", 190) + "\r\nend\r\n"
			must(t, body, "curl", "-sS", "--cacert", ca(t, g), "--user", alice+":"+password,
				"--mail-from", "alice@example.com", "--mail-rcpt", "bob@remote.test", "-T", "-", "smtps://localhost:"+g.Port("submissions"))
			var found []string
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("queue: %s", g.CLI("", "queue", "list", "--json"))
				}
			})
			eventually(t, "it has arrived", func() bool {
				found, _ = filepath.Glob(filepath.Join(dir, hop.mail))
				return len(found) > 0
			})
			_, want, _ := strings.Cut(strings.ReplaceAll(body, "\r\n", "\n"), "\n\n")
			got := strings.ReplaceAll(string(read(t, found[0])), "\r\n", "\n")
			if head, body, _ := strings.Cut(got, "\n\n"); len(found) != 1 || body != want || !strings.Contains(head, "Subject: on its way") {
				t.Errorf("%d messages; arrived:\n%q\nwant the body\n%q", len(found), got, want)
			}
			eventually(t, "it is recorded", func() bool { return len(deliveries(t, g)) == 1 })
			if e := deliveries(t, g)[0]; strings.HasPrefix(e.TLS, "TLS") != hop.tls || e.RemoteHost == "" {
				t.Errorf("recorded: by %q to %q with TLS %q", e.Route, e.RemoteHost, e.TLS)
			}
		})
	}
}

// deliveries are those that went well.
func deliveries(t *testing.T, g *gatewaytest.Gateway) []session.Event {
	t.Helper()
	var list []session.Event
	for _, e := range events(t, g, "--event", "mail", "--outcome", "done") {
		if e.Verb == session.Deliver {
			list = append(list, e)
		}
	}
	return list
}

// unusedPort is a port of 127.0.0.1 at which nobody listens.
func unusedPort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	return port
}

// answers waits until somebody listens.
func answers(t *testing.T, port string) {
	t.Helper()
	eventually(t, "the next hop listens", func() bool {
		conn, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

// selfSigned makes key.pem and cert.pem for peer.test.
func selfSigned(t *testing.T, dir string) {
	t.Helper()
	must(t, "", "openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=peer.test", "-addext", "subjectAltName=DNS:peer.test",
		"-keyout", filepath.Join(dir, "key.pem"), "-out", filepath.Join(dir, "cert.pem"), "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
}

// settings writes a file of a daemon, in which {dir} stands for its folder.
func settings(t *testing.T, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(content, "{dir}", dir)), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// folderOf makes a folder that belongs to a user of the system.
func folderOf(t *testing.T, path, name string) {
	t.Helper()
	uid, gid := ids(t, name)
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, uid, gid); err != nil {
		t.Fatal(err)
	}
}

// mailServers is where test.sh unpacks daemons, since only one mail server can be
// installed on a Debian.
const mailServers = "/usr/local/lib/gateway-tests/"

// unpacked finds a daemon there.
func unpacked(t *testing.T, name string) string {
	t.Helper()
	if _, err := os.Stat(mailServers + name); err != nil {
		t.Skipf("%s is not in %s; test.sh unpacks it there where it may", name, mailServers)
	}
	return mailServers + name
}

func startPostfixInbound(t *testing.T, port string) string {
	uid, gid := ids(t, "nobody")
	certs := daemonDir(t, "certs")
	selfSigned(t, certs)
	dir := runPostfix(t, fmt.Sprintf(`myhostname = peer.test
virtual_mailbox_domains = remote.test
virtual_mailbox_base = {dir}/mail
virtual_mailbox_maps = inline:{ { bob@remote.test = bob/ } }
virtual_minimum_uid = 1
virtual_uid_maps = static:%d
virtual_gid_maps = static:%d
smtpd_tls_security_level = may
smtpd_tls_cert_file = %[3]s/cert.pem
smtpd_tls_key_file = %[3]s/key.pem
smtpd_recipient_restrictions = reject_unauth_destination
`, uid, gid, certs), "127.0.0.1:"+port+` inet n - n - - smtpd
virtual unix - n n - - virtual
anvil   unix - - n - 1 anvil
tlsmgr  unix - - n 1000? 1 tlsmgr
`)
	folderOf(t, filepath.Join(dir, "mail"), "nobody")
	answers(t, port)
	return dir
}

func startExim(t *testing.T, port string) string {
	exim := unpacked(t, "exim4/usr/sbin/exim4")
	dir := daemonDir(t, "exim")
	for _, name := range []string{"spool", "log", "mail"} {
		folderOf(t, filepath.Join(dir, name), "Debian-exim")
	}
	selfSigned(t, dir)
	uid, gid := ids(t, "Debian-exim")
	if err := os.Chown(filepath.Join(dir, "key.pem"), uid, gid); err != nil {
		t.Fatal(err)
	}
	conf := settings(t, dir, "conf", `primary_hostname = peer.test
exim_path = `+exim+`
spool_directory = {dir}/spool
log_file_path = {dir}/log/%slog
pid_file_path = {dir}/pid
daemon_smtp_ports = `+port+`
local_interfaces = 127.0.0.1
acl_smtp_rcpt = everybody
tls_advertise_hosts = *
tls_certificate = {dir}/cert.pem
tls_privatekey = {dir}/key.pem
begin acl
everybody:
  accept
begin routers
all:
  driver = accept
  transport = keep
begin transports
keep:
  driver = appendfile
  directory = {dir}/mail
  maildir_format
  user = Debian-exim
`)
	daemon(t, exim, "-C", conf, "-bdf")
	answers(t, port)
	return dir
}

// startOpenSMTPD runs it where its spool and its helpers are, which it has no setting
// for: there can be one at a time.
func startOpenSMTPD(t *testing.T, port string) string {
	smtpd := unpacked(t, "opensmtpd/usr/sbin/smtpd")
	ids(t, "opensmtpd")
	if _, err := os.Stat("/usr/libexec/opensmtpd/mail.maildir"); err != nil {
		t.Skip("OpenSMTPD's helpers are not where it looks for them; test.sh puts them there where it may")
	}
	dir := daemonDir(t, "opensmtpd")
	folderOf(t, filepath.Join(dir, "mail"), "nobody")
	conf := settings(t, dir, "conf", `table everybody { "@" = nobody }
listen on 127.0.0.1 port `+port+`
action "keep" maildir "{dir}/mail" virtual <everybody>
match from any for any action "keep"
`)
	daemon(t, smtpd, "-d", "-f", conf)
	answers(t, port)
	return dir
}

func startDovecot(t *testing.T, port string) string {
	const dovecot = "/usr/sbin/dovecot"
	if _, err := os.Stat("/usr/lib/dovecot/lmtp"); err != nil {
		t.Skip("Dovecot's LMTP (Debian package dovecot-lmtpd) is not installed")
	}
	ids(t, "dovenull")
	dir := daemonDir(t, "dovecot")
	folderOf(t, filepath.Join(dir, "mail"), "nobody")
	conf := settings(t, dir, "conf", `base_dir = {dir}/base
state_dir = {dir}/state
log_path = {dir}/log
protocols = lmtp
mail_location = maildir:{dir}/mail/%n
postmaster_address = postmaster@peer.test
first_valid_uid = 1
ssl = no
passdb {
  driver = static
}
userdb {
  driver = static
  args = uid=nobody gid=nogroup home={dir}/mail/%n allow_all_users=yes
}
service lmtp {
  inet_listener lmtp {
    address = 127.0.0.1
    port = `+port+`
  }
  unix_listener lmtp {
    mode = 0666
  }
}
`)
	daemon(t, dovecot, "-F", "-c", conf)
	answers(t, port)
	return dir
}
