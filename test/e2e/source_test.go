package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"

	"gateway/internal/gatewaytest"
	"gateway/session"
)

// directory is an OpenLDAP with one person, alice, who is in the group ftp-users.
type directory struct {
	address string // localhost:port, LDAPS
	cert    string // file of its certificate
	secret  string // file of the password of its administrator
	stop    func()
}

const (
	aliceDN = "cn=Alice (Ops),ou=people,dc=example,dc=com"
	adminDN = "cn=admin,dc=example,dc=com"
)

func startDirectory(t *testing.T) directory {
	t.Helper()
	const slapd = "/usr/sbin/slapd"
	if _, err := os.Stat(slapd); err != nil {
		t.Skip("slapd is not installed")
	}
	dir, port := daemonDir(t, "slapd"), unusedPort(t)
	if err := os.Mkdir(filepath.Join(dir, "db"), 0o700); err != nil {
		t.Fatal(err)
	}
	must(t, "", "openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:true",
		"-keyout", filepath.Join(dir, "key.pem"), "-out", filepath.Join(dir, "cert.pem"), "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
	conf := settings(t, dir, "slapd.conf", `include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
pidfile {dir}/pid
modulepath /usr/lib/ldap
moduleload back_mdb
TLSCertificateFile {dir}/cert.pem
TLSCertificateKeyFile {dir}/key.pem
database mdb
suffix "dc=example,dc=com"
rootdn "`+adminDN+`"
rootpw admin-secret
directory {dir}/db
`)
	settings(t, dir, "all.ldif", `dn: dc=example,dc=com
objectClass: dcObject
objectClass: organization
o: example
dc: example

dn: ou=people,dc=example,dc=com
objectClass: organizationalUnit
ou: people

dn: `+aliceDN+`
objectClass: inetOrgPerson
cn: Alice (Ops)
sn: Alice
uid: alice
mail: Alice@Example.com
userPassword: `+password+`

dn: cn=ftp-users,dc=example,dc=com
objectClass: groupOfNames
cn: ftp-users
member: `+aliceDN+`
`)
	must(t, "", "/usr/sbin/slapadd", "-f", conf, "-l", filepath.Join(dir, "all.ldif"))
	d := directory{address: "localhost:" + port, cert: filepath.Join(dir, "cert.pem"), secret: settings(t, dir, "bind", "admin-secret")}
	d.stop = daemon(t, slapd, "-f", conf, "-h", "ldaps://localhost:"+port+"/", "-d", "0")
	answers(t, port)
	return d
}

// set changes an attribute of alice.
func (d directory) set(t *testing.T, attribute, value string) {
	t.Helper()
	pem, err := os.ReadFile(d.cert)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	c, err := ldap.DialURL("ldaps://"+d.address, ldap.DialWithTLSConfig(&tls.Config{RootCAs: roots, ServerName: "localhost"}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	change := ldap.NewModifyRequest(aliceDN, nil)
	change.Replace(attribute, []string{value})
	if err := c.Bind(adminDN, "admin-secret"); err != nil {
		t.Fatal(err)
	}
	if err := c.Modify(change); err != nil {
		t.Fatal(err)
	}
}

func sourceBlock(d directory) string {
	return gatewaytest.Config + fmt.Sprintf(`
limits { trusted = "127.0.0.0/8" }
source "people" {
  type          = "ldaps"
  address       = %q
  ca            = %q
  bind_dn       = %q
  bind_password = file(%q)
  base          = "dc=example,dc=com"
  filter        = "(&(objectClass=inetOrgPerson)(uid={user}))"
  group_filter  = "(&(objectClass=groupOfNames)(member={dn}))"
  groups        = { "cn=ftp-users,dc=example,dc=com" = "users" }
  everybody     = ["mail"]
  addresses     = "mail"
  disabled      = "employeeType=left"
}
`, d.address, d.cert, adminDN, d.secret)
}

// An account that only a directory has logs in by every protocol, is what the directory
// says, and ends with it.
func TestAccountOfADirectory(t *testing.T) {
	t.Parallel()
	d := startDirectory(t)
	g := gatewaytest.Start(t, gatewaytest.Options{Config: sourceBlock(d), Users: map[string]string{"bob": "secret-of-bob-1"}})
	authority := ca(t, g)
	ftp := func(user, secret string) (string, bool) {
		out, status := client(t, "", "curl", "-sS", "-v", "--cacert", authority, "--ssl-reqd", "--user", user+":"+secret, "ftp://localhost:"+g.Port("ftp")+"/")
		return out, status == 0
	}
	tried := func() (test struct {
		By      string
		Right   bool
		Sources []struct{ Name, Answer string }
	}) {
		out, _, _ := g.Try(password+"\n", "auth", "test", alice, "--password-stdin", "--json")
		if err := json.Unmarshal([]byte(out), &test); err != nil {
			t.Fatalf("auth test says %q: %v", out, err)
		}
		return test
	}
	if got := tried(); got.By != "people" || !got.Right || got.Sources[0].Answer != "has the account, in mail, users; the password is right" {
		t.Errorf("auth test: %+v", got)
	}
	for login, want := range map[string]bool{alice + " wrong": false, alice + " ": false, "nobody " + password: false, "bob secret-of-bob-1": true} {
		user, secret, _ := strings.Cut(login, " ")
		if out, in := ftp(user, secret); in != want {
			t.Errorf("%s: let in %v\n%s", login, in, out)
		}
	}
	if out, in := ftp(alice, password); !in {
		t.Errorf("FTPS: not let in\n%s", out)
	}
	if out, status := batch(t, g.Port("sftp"), "pwd\n"); status != 0 {
		t.Errorf("SFTP: exit status %d\n%s", status, out)
	}
	if out, status := swaks(t, g.Addr("submissions"), "--tls-on-connect", "--auth", "PLAIN", "--auth-user", alice, "--auth-password", password); status != 0 {
		t.Errorf("465: exit status %d\n%s", status, out)
	}
	if shown := g.CLI("", "user", "show", alice); !strings.Contains(shown, "password   kept by people") || !strings.Contains(shown, "addresses  alice@example.com") || !strings.Contains(shown, "groups     mail, users") {
		t.Errorf("user show:\n%s", shown)
	}
	if _, refused, err := g.Try("another-secret-9\n", "user", "passwd", alice, "--password-stdin"); err == nil || !strings.Contains(refused, `the source "people"`) {
		t.Errorf("user passwd: %v\n%s", err, refused)
	}

	d.set(t, "userPassword", "another-secret-9")
	if out, in := ftp(alice, password); in {
		t.Errorf("the old password is let in\n%s", out)
	}
	if out, in := ftp(alice, "another-secret-9"); !in {
		t.Errorf("the new password is not let in\n%s", out)
	}
	d.set(t, "employeeType", "left")
	if out, in := ftp(alice, "another-secret-9"); in || !strings.Contains(out, "530") {
		t.Errorf("disabled in the directory: let in %v\n%s", in, out)
	}
	d.set(t, "employeeType", "staff")
	d.stop()
	if out, in := ftp(alice, "another-secret-9"); in || !strings.Contains(out, "421") {
		t.Errorf("while the directory is down: let in %v\n%s", in, out)
	}
	if out, in := ftp("bob", "secret-of-bob-1"); !in {
		t.Errorf("bob, of the store, is not let in\n%s", out)
	}
	if got := tried(); got.Right || !strings.Contains(got.Sources[0].Answer, "connection refused") {
		t.Errorf("auth test: %+v", got)
	}
	wantFollowed(t, g)
}

// wantFollowed wants the record to say what became of the account, and by whom.
func wantFollowed(t *testing.T, g *gatewaytest.Gateway) {
	t.Helper()
	var changes []string
	for _, e := range events(t, g, "--event", "admin") {
		if e.User == "source people" && e.Outcome == session.OutcomeDone {
			changes = append(changes, string(e.Verb)+" "+e.Object)
		}
	}
	if got := strings.Join(changes, ", "); got != "add user alice, disable user alice" {
		t.Errorf("recorded: %s", got)
	}
}
