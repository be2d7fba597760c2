package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gateway/internal/gatewaytest"
)

// oldServer is a server of Debian that people come from, with its users made by its own
// tools.
type oldServer struct {
	format string
	// start runs it on a port, with users (by their names, with passwords) whose files are
	// in the folders of their names in {dir}/srv, and returns what is imported.
	start func(t *testing.T, dir, port string, users map[string]string) (files []string)
}

// An afternoon (docs/migrate-vsftpd.md and its sisters): the accounts of an old server are
// imported, and its clients come to the gateway with the same passwords; at first in clear,
// as ever, then over TLS and SSH; then nobody needs plaintext any more, and it is refused.
func TestAfternoon(t *testing.T) {
	t.Parallel()
	for _, old := range []oldServer{{"vsftpd", startVsftpd}, {"proftpd", startProFTPD}, {"pureftpd", startPureFTPd}} {
		t.Run(old.format, func(t *testing.T) {
			t.Parallel()
			afternoon(t, old)
		})
	}
}

// filesOf is the user of the system as whom the old servers work. vsftpd wants one with a
// home.
const filesOf = "mail"

const observed = `
allow "files" {
  protocol = ["ftp", "sftp"]
  group    = "users"
}
require "encrypted-login" {
  channel = "encrypted"
  rollout "everybody" {
    everybody = true
    observe   = "2020-01-01"
  }
}
`

func afternoon(t *testing.T, old oldServer) {
	users := map[string]string{"joe": "Secret-of-joe 7", "ann": "pässword of ann"}
	dir, port := daemonDir(t, old.format), unusedPort(t)
	if err := os.Mkdir(filepath.Join(dir, "srv"), 0o755); err != nil {
		t.Fatal(err)
	}
	for user := range users {
		folderOf(t, filepath.Join(dir, "srv", user), filesOf)
	}
	files := old.start(t, dir, port, users)
	answers(t, port)
	kept := map[string][]byte{}
	for user, secret := range users {
		path, content := file(t, "kept.dat", 30_000)
		must(t, "", "curl", "-sS", "--user", user+":"+secret, "-T", path, "ftp://127.0.0.1:"+port+"/")
		kept[user] = content
	}

	g := gatewaytest.Start(t, gatewaytest.Options{Policy: observed})
	said := g.CLI("", append([]string{"import", old.format, "--group", "users"}, files...)...)
	if !strings.Contains(said, "imported: 2 added, 0 changed") || !strings.Contains(said, "home "+filepath.Join(dir, "srv", "joe")) {
		t.Fatalf("import says:\n%s", said)
	}
	if again := g.CLI("", append([]string{"import", old.format, "--group", "users"}, files...)...); !strings.Contains(again, "0 added, 0 changed, 2 as they were") {
		t.Errorf("a second import says:\n%s", again)
	}
	authority := ca(t, g)
	fetch := func(what, user string, args ...string) {
		t.Helper()
		back := filepath.Join(t.TempDir(), "back")
		must(t, "", "curl", append([]string{"-sS", "--cacert", authority, "--user", user + ":" + users[user], "-o", back}, args...)...)
		same(t, user+" "+what, read(t, back), kept[user])
	}
	for user := range users {
		fetch("in clear", user, "ftp://localhost:"+g.Port("ftp")+"/kept.dat")
	}
	if report := g.CLI("", "report", "migration"); strings.Count(report, "plain only") < 2 {
		t.Errorf("report migration says:\n%s", report)
	}
	for user, secret := range users {
		fetch("over TLS", user, "--ssl-reqd", "ftp://localhost:"+g.Port("ftp")+"/kept.dat")
		path, content := file(t, "new.dat", 20_000)
		// tar of SSH is not there: sftp reads its commands from standard input.
		if out, status := client(t, "put "+path+" new.dat\n", "sshpass", append([]string{"-p", secret, "sftp"}, sshOptions(g.Port("sftp"), user+"@127.0.0.1")...)...); status != 0 {
			t.Fatalf("sftp of %s: exit status %d\n%s", user, status, out)
		}
		same(t, user+" over SSH", read(t, filepath.Join(dir, "srv", user, "new.dat")), content)
	}

	g.CLI("", "policy", "apply", settings(t, t.TempDir(), "strict.hcl", strings.Split(observed, "require")[0]+`require "encrypted-login" { channel = "encrypted" }`))
	for user, secret := range users {
		if out, status := client(t, "", "curl", "-sS", "--user", user+":"+secret, "ftp://localhost:"+g.Port("ftp")+"/"); status == 0 {
			t.Errorf("%s is still let in in clear:\n%s", user, out)
		}
		fetch("over TLS, enforced", user, "--ssl-reqd", "ftp://localhost:"+g.Port("ftp")+"/kept.dat")
	}
	report := g.CLI("", "report", "migration", "--csv")
	for user := range users {
		if !strings.Contains(report, "\n"+user+",both,1,") || strings.Contains(report, "allowed") {
			t.Errorf("in the end report migration says of %s:\n%s", user, report)
		}
	}
}

// startVsftpd runs it with guests of pam_userdb, whose passwords are in clear.
func startVsftpd(t *testing.T, dir, port string, users map[string]string) []string {
	return runVsftpd(t, dir, port, users, "")
}

// runVsftpd is startVsftpd with further settings.
func runVsftpd(t *testing.T, dir, port string, users map[string]string, more string) []string {
	program := unpacked(t, "vsftpd/usr/sbin/vsftpd")
	if _, err := exec.LookPath("db5.3_load"); err != nil {
		t.Skip("db5.3-util is not installed")
	}
	var logins strings.Builder
	for user, secret := range users {
		fmt.Fprintf(&logins, "%s\n%s\n", user, secret)
	}
	database := filepath.Join(dir, "login.db")
	must(t, logins.String(), "db5.3_load", "-T", "-t", "hash", database)
	// PAM looks for the files of services in one place only.
	service := "gateway-test-" + port
	pam := settings(t, "/etc/pam.d", service, fmt.Sprintf("auth required pam_userdb.so db=%[1]s\naccount required pam_userdb.so db=%[1]s\n", strings.TrimSuffix(database, ".db")))
	t.Cleanup(func() { _ = os.Remove(pam) })
	conf := settings(t, dir, "vsftpd.conf", `listen=YES
listen_address=127.0.0.1
listen_port=`+port+`
background=NO
seccomp_sandbox=NO
anonymous_enable=NO
local_enable=YES
guest_enable=YES
guest_username=`+filesOf+`
nopriv_user=nobody
virtual_use_local_privs=YES
write_enable=YES
user_sub_token=$USER
local_root={dir}/srv/$USER
chroot_local_user=YES
allow_writeable_chroot=YES
pam_service_name=`+service+`
secure_chroot_dir=/var/run/vsftpd/empty
`+more)
	daemon(t, program, conf)
	return []string{conf, settings(t, dir, "login.dump", must(t, "", "db5.3_dump", "-p", database))}
}

// startProFTPD runs it with an AuthUserFile that ftpasswd wrote.
func startProFTPD(t *testing.T, dir, port string, users map[string]string) []string {
	return runProFTPD(t, dir, port, users, "")
}

// runProFTPD is startProFTPD with further settings.
func runProFTPD(t *testing.T, dir, port string, users map[string]string, more string) []string {
	root := unpacked(t, "proftpd-core")
	uid, gid := ids(t, filesOf)
	passwords := filepath.Join(dir, "ftpd.passwd")
	for user, secret := range users {
		must(t, secret+"\n", root+"/usr/sbin/ftpasswd", "--passwd", "--sha512", "--stdin", "--file", passwords, "--name", user,
			"--uid", fmt.Sprint(uid), "--gid", fmt.Sprint(gid), "--home", filepath.Join(dir, "srv", user), "--shell", "/bin/false")
	}
	conf := settings(t, dir, "proftpd.conf", `ServerName "old"
ServerType standalone
Port `+port+`
DefaultAddress 127.0.0.1
User nobody
Group nogroup
DefaultRoot ~
RequireValidShell off
UseReverseDNS off
WtmpLog off
ScoreboardFile {dir}/scoreboard
PidFile {dir}/pid
DelayTable none
SystemLog {dir}/log
AuthPAM off
AuthOrder mod_auth_file.c
AuthUserFile {dir}/ftpd.passwd
`+more)
	daemon(t, root+"/usr/sbin/proftpd", "-n", "-q", "-c", conf)
	return []string{conf}
}

// startPureFTPd runs it with users of pure-pw, whose hashes take as long as that found
// right on this machine.
func startPureFTPd(t *testing.T, dir, port string, users map[string]string) []string {
	return runPureFTPd(t, dir, port, users, []string{"-N", "10", "-n", "100"})
}

// runPureFTPd is startPureFTPd with options of pure-pw and of the server.
func runPureFTPd(t *testing.T, dir, port string, users map[string]string, account []string, more ...string) []string {
	tools, program := unpacked(t, "pure-ftpd-common"), unpacked(t, "pure-ftpd/usr/sbin/pure-ftpd")
	uid, gid := ids(t, filesOf)
	purepw := tools + "/usr/bin/pure-pw"
	if _, err := os.Stat(purepw); err != nil {
		purepw = unpacked(t, "pure-ftpd/usr/bin/pure-pw")
	}
	passwords := filepath.Join(dir, "pureftpd.passwd")
	for user, secret := range users {
		must(t, secret+"\n"+secret+"\n", purepw, append([]string{"useradd", user, "-f", passwords, "-u", fmt.Sprint(uid), "-g", fmt.Sprint(gid),
			"-d", filepath.Join(dir, "srv", user)}, account...)...)
	}
	database := filepath.Join(dir, "users.pdb")
	must(t, "", purepw, "mkdb", database, "-f", passwords)
	daemon(t, program, append([]string{"--bind", "127.0.0.1," + port, "--ipv4only", "--pidfile", filepath.Join(dir, "pid"), "--login", "puredb:" + database,
		"--minuid", "1", "--noanonymous", "--chrooteveryone", "--dontresolve", "--syslogfacility", "none"}, more...)...)
	return []string{passwords}
}
