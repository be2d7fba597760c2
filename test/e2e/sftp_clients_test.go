package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"gateway/internal/gatewaytest"
)

// sshCell is a cell, and what a client of SSH needs to be sure of both sides.
type sshCell struct {
	cell
	identity     string   // file of alice's private key, in OpenSSH's format
	known        string   // known_hosts with all host keys
	fingerprints []string // of the same keys, as OpenSSH writes them
}

// newSSHCell gives alice a key, and learns the gateway's.
func newSSHCell(t *testing.T, g *gatewaytest.Gateway) sshCell {
	t.Helper()
	c := sshCell{cell: cell{channel: "ssh", host: "127.0.0.1", port: g.Port("sftp"), user: alice, password: password}}
	dir := t.TempDir()
	c.identity, c.known = filepath.Join(dir, "identity"), filepath.Join(dir, "known_hosts")
	must(t, "", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", c.identity)
	g.CLI("", "user", "key", "add", alice, c.identity+".pub")
	files, err := filepath.Glob(filepath.Join(g.Dir, "state", "*", "ssh_host_*_key"))
	if err != nil || len(files) != 3 {
		t.Fatalf("host keys: %v, %v, want three", files, err)
	}
	var lines string
	for _, name := range files {
		key, err := ssh.ParsePrivateKey(read(t, name))
		if err != nil {
			t.Fatal(err)
		}
		c.fingerprints = append(c.fingerprints, ssh.FingerprintSHA256(key.PublicKey()))
		lines += fmt.Sprintf("[%s]:%s %s", c.host, c.port, ssh.MarshalAuthorizedKey(key.PublicKey()))
	}
	if err := os.WriteFile(c.known, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	return c
}

// options are OpenSSH's, for whichever of its programs: no setting of the machine's
// counts, and an unknown host key is an error. Of two that are the same the first counts.
func (c sshCell) options(more ...string) []string {
	return append(slices.Clone(more), "-F", "none", "-o", "LogLevel=ERROR", "-o", "BatchMode=yes", "-o", "UserKnownHostsFile="+c.known,
		"-o", "GlobalKnownHostsFile=none", "-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes", "-o", "IdentityFile="+c.identity)
}

// target is the account at the gateway, as OpenSSH's programs take it.
func (c sshCell) target() string { return c.user + "@" + c.host }

// sftp runs commands in OpenSSH's client.
func (c sshCell) sftp(t *testing.T, commands string, more ...string) string {
	t.Helper()
	args := append(c.options(more...), "-P", c.port, "-b", "-", c.target())
	return must(t, commands, "sftp", args...)
}

// commands are for the clients that are like OpenSSH's sftp.
func (c sshCell) commands() string {
	return fmt.Sprintf("cd \"%s\"\nput \"%s\" \"%s\"\nget \"%s\" \"%s\"\nls\n", c.folder, c.local, c.up, c.down, c.got)
}

// sshClient is a client as it is installed.
type sshClient struct {
	name   string
	silent bool // it cannot list
	size   int  // of what is fetched in bytes; zero means a little more than is sent
	// move sends, fetches and lists, and returns what was listed.
	move func(t *testing.T, c sshCell) string
}

func sshClients() []sshClient {
	return []sshClient{
		{name: "sftp", move: func(t *testing.T, c sshCell) string { return c.sftp(t, c.commands()) }},
		// Requests of the size that limits@openssh.com tells, new keys every 256 KiB, and
		// the host keys asked for.
		{name: "sftp, large requests", size: 4 << 20, move: func(t *testing.T, c sshCell) string {
			return c.sftp(t, c.commands(), "-B", "261120", "-R", "64", "-o", "RekeyLimit=256k", "-o", "UpdateHostKeys=yes")
		}},
		{name: "sftp over dbclient", move: moveByDbclient},
		{name: "scp", silent: true, move: moveByScp},
		{name: "lftp", move: moveByLftpSSH},
		{name: "curl", move: moveByCurlSSH},
		{name: "psftp", move: moveByPsftp},
		{name: "pscp", move: moveByPscp},
		{name: "rclone", move: moveByRcloneSSH},
		// It asks for all of a file at once, before it reads any of it.
		{name: "paramiko", size: 24 << 20, move: moveByParamiko},
		{name: "ssh2-sftp-client", move: moveBySSH2},
		{name: "JSch", move: moveByJSch},
	}
}

// Each client, as it is installed, knows the gateway by its host key, sends and
// fetches a file and lists the folder.
func TestSFTPClients(t *testing.T) {
	g := start(t)
	reached := newSSHCell(t, g)
	for _, row := range sshClients() {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			c := reached
			c.folder, c.up, c.down = row.name+" é", "sent by ü.bin", "to be fetched ñ.bin"
			var sent []byte
			c.local, sent = file(t, "local ü.bin", 300_000+17)
			_, fetched := file(t, "fetched", max(row.size, 310_007))
			c.got = filepath.Join(t.TempDir(), "got ñ.bin")
			folder := filepath.Join(g.Dir, "files", c.user, c.folder)
			if err := os.MkdirAll(folder, 0o750); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(folder, c.down), fetched, 0o640); err != nil {
				t.Fatal(err)
			}

			listed := row.move(t, c)

			same(t, "fetched", read(t, c.got), fetched)
			same(t, "sent", read(t, filepath.Join(folder, c.up)), sent)
			for _, name := range []string{c.down, c.up} {
				if !row.silent && !strings.Contains(listed, name) {
					t.Errorf("%q is not in what was listed:\n%s", name, listed)
				}
			}
		})
	}
}

// dbclient is Dropbear's client as the transport of OpenSSH's sftp, which starts it with
// options of OpenSSH's that it does not know, and warns of. It looks for known hosts in
// the home of the account, wherever $HOME is, so that it is told not to.
func moveByDbclient(t *testing.T, c sshCell) string {
	if _, err := exec.LookPath("dbclient"); err != nil {
		t.Skip("dbclient is not installed")
	}
	transport := filepath.Join(t.TempDir(), "transport")
	script := fmt.Sprintf("#!/bin/sh\nDROPBEAR_PASSWORD=%s exec dbclient -y -y \"$@\" 2>%s.log\n", c.password, transport)
	if err := os.WriteFile(transport, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	out, status := client(t, c.commands(), "sftp", "-S", transport, "-o", "BatchMode=no", "-P", c.port, "-b", "-", c.target())
	if status != 0 {
		t.Fatalf("exit status %d\n%s%s", status, out, read(t, transport+".log"))
	}
	return out
}

func moveByScp(t *testing.T, c sshCell) string {
	args := append(c.options(), "-s", "-P", c.port)
	must(t, "", "scp", append(args, c.local, c.target()+":"+c.folder+"/"+c.up)...)
	must(t, "", "scp", append(args, c.target()+":"+c.folder+"/"+c.down, c.got)...)
	return ""
}

// lftp returns a way to run commands in it. It reads a password from a terminal that
// it makes for ssh.
func (c sshCell) lftp(t *testing.T) func(commands string) string {
	options := []string{"-F", "none", "-o", "UserKnownHostsFile=" + c.known, "-o", "StrictHostKeyChecking=yes", "-o", "PubkeyAuthentication=no"}
	return func(commands string) string {
		t.Helper()
		return must(t, "", "lftp", "--norc", "-c", fmt.Sprintf("set cmd:fail-exit yes; set net:max-retries 1; set net:timeout 20; "+
			"set sftp:connect-program 'ssh -a -x %s'; open -u %s,%s sftp://%s:%s; %s",
			strings.Join(options, " "), c.user, c.password, c.host, c.port, commands))
	}
}

func moveByLftpSSH(t *testing.T, c sshCell) string {
	return c.lftp(t)(fmt.Sprintf("cd '%s'; put '%s' -o '%s'; get '%s' -o '%s'; cls -1", c.folder, c.local, c.up, c.down, c.got))
}

func moveByCurlSSH(t *testing.T, c sshCell) string {
	if out, _ := client(t, "", "curl", "--version"); !strings.Contains(out, "sftp") {
		t.Skip("this curl has no SFTP")
	}
	home := filepath.Join(t.TempDir(), ".ssh")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, "known_hosts"), read(t, c.known), 0o600); err != nil {
		t.Fatal(err)
	}
	curl := func(args ...string) string {
		return must(t, "", "env", append([]string{"HOME=" + filepath.Dir(home), "curl", "-sS", "--user", c.user + ":" + c.password}, args...)...)
	}
	curl("-T", c.local, c.url("sftp", c.up))
	curl("-o", c.got, c.url("sftp", c.down))
	return curl("-l", c.url("sftp", ""))
}

// putty are the options of PuTTY's programs.
func (c sshCell) putty() []string {
	args := []string{"-batch", "-P", c.port, "-pw", c.password}
	for _, f := range c.fingerprints {
		args = append(args, "-hostkey", f)
	}
	return args
}

func moveByPsftp(t *testing.T, c sshCell) string {
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte(c.commands()), 0o600); err != nil {
		t.Fatal(err)
	}
	return must(t, "", "psftp", append(c.putty(), "-b", script, c.target())...)
}

func moveByPscp(t *testing.T, c sshCell) string {
	args := append(c.putty(), "-sftp", "-q")
	must(t, "", "pscp", append(args, c.local, c.target()+":"+c.folder+"/"+c.up)...)
	must(t, "", "pscp", append(args, c.target()+":"+c.folder+"/"+c.down, c.got)...)
	return must(t, "", "pscp", append(args, "-ls", c.target()+":"+c.folder)...)
}

// rclone returns a way to run it with the gateway as ":sftp:". It asks for a shell and
// for programs that make checksums, and does without.
func (c sshCell) rclone(t *testing.T) func(args ...string) string {
	t.Helper()
	secret := strings.TrimSpace(must(t, "", "rclone", "obscure", c.password))
	login := []string{"--config", filepath.Join(t.TempDir(), "none"), "--retries", "1", "--low-level-retries", "1",
		"--sftp-host", c.host, "--sftp-port", c.port, "--sftp-user", c.user, "--sftp-pass", secret, "--sftp-known-hosts-file", c.known}
	return func(args ...string) string {
		t.Helper()
		return must(t, "", "rclone", append(args, login...)...)
	}
}

func moveByRcloneSSH(t *testing.T, c sshCell) string {
	run := c.rclone(t)
	run("copyto", c.local, ":sftp:"+c.folder+"/"+c.up)
	run("copyto", ":sftp:"+c.folder+"/"+c.down, c.got)
	return run("lsf", ":sftp:"+c.folder)
}

// settings are what the programs in testdata are given.
func (c sshCell) settings(t *testing.T, module string) string {
	t.Helper()
	port, err := strconv.Atoi(c.port)
	if err != nil {
		t.Fatal(err)
	}
	settings, err := json.Marshal(map[string]any{
		"module": module, "host": c.host, "port": port, "known": c.known, "fingerprints": c.fingerprints, "user": c.user,
		"password": c.password, "identity": c.identity, "folder": c.folder, "local": c.local, "up": c.up, "down": c.down, "got": c.got,
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(settings)
}

// systemPython is the one that has Debian's modules.
const systemPython = "/usr/bin/python3"

func moveByParamiko(t *testing.T, c sshCell) string {
	if _, status := client(t, "", systemPython, "-c", "import paramiko"); status != 0 {
		t.Skip("paramiko is not installed for " + systemPython)
	}
	return must(t, "", systemPython, "testdata/move_paramiko.py", c.settings(t, ""))
}

func moveBySSH2(t *testing.T, c sshCell) string {
	return must(t, "", "node", "testdata/move_ssh2_sftp.mjs", c.settings(t, npmModule(t, "ssh2-sftp-client", "src/index.js")))
}

// jschLibrary is where Debian puts JSch.
const jschLibrary = "/usr/share/java/jsch.jar"

// JSch 0.1.55 knows ssh-rsa and ECDSA of host keys. Its user keys are RSA or ECDSA, in PEM.
func moveByJSch(t *testing.T, c sshCell) string {
	if _, err := exec.LookPath("javac"); err != nil {
		t.Skip("javac is not installed")
	}
	if _, err := os.Stat(jschLibrary); err != nil {
		t.Skip("JSch is not installed")
	}
	// The compiler is run by java, and leaves no files.
	return must(t, "", "java", "-XX:TieredStopAtLevel=1", "-Dfile.encoding=UTF-8", "-cp", jschLibrary, "testdata/MoveJSch.java",
		c.host, c.port, c.known, c.user, c.password, c.folder, c.local, c.up, c.down, c.got)
}

// npmModule is a file of a package that test.sh has installed.
func npmModule(t *testing.T, name, path string) string {
	t.Helper()
	tools := os.Getenv("GATEWAY_TOOLS")
	if tools == "" {
		tools = "../../.tools"
	}
	found, _ := filepath.Glob(filepath.Join(tools, name+"-*", "node_modules", name, path))
	if len(found) == 0 {
		t.Skipf("%s is not in $GATEWAY_TOOLS; test.sh installs it where there is npm", name)
	}
	module, err := filepath.Abs(found[len(found)-1])
	if err != nil {
		t.Fatal(err)
	}
	return module
}
