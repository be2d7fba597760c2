//go:build linux

package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
)

// sshEmptyFolder is where sshd locks up the process that speaks to strangers, and
// sshAccount who that is run as.
const (
	sshEmptyFolder = "/run/sshd"
	sshAccount     = "sshd"
)

// openssh is a private sshd that serves SFTP to peerAccount by key. That has no
// shell, which the subsystem inside of sshd does not need.
type openssh struct {
	addr, folder string
	running      *group
	madeEmpty    bool // sshEmptyFolder was not there
}

func (s *openssh) name() string  { return "OpenSSH" }
func (s *openssh) group() *group { return s.running }

func startOpenSSH(ctx context.Context, b *bench) (s *openssh, version string, err error) {
	at, err := install(ctx, "sshd", "openssh-server")
	if err != nil {
		return nil, "", err
	}
	uid, gid, err := accountOf(peerAccount)
	if err != nil {
		return nil, "", err
	}
	s = &openssh{folder: filepath.Join(b.files, "openssh")}
	defer func() {
		if err != nil {
			s.stop()
			s = nil
		}
	}()
	dir := filepath.Join(b.dir, "openssh")
	if err := errors.Join(os.Mkdir(dir, 0o755), os.Mkdir(s.folder, 0o755), os.Chown(s.folder, uid, gid)); err != nil {
		return s, "", err
	}
	if s.madeEmpty = os.Mkdir(sshEmptyFolder, 0o755) == nil; s.madeEmpty {
		_ = os.Chmod(sshEmptyFolder, 0o755) // whatever the umask
	}
	if s.addr, err = freeAddress(); err != nil {
		return s, "", err
	}
	if err := s.configure(dir, b.key.PublicKey()); err != nil {
		return s, "", err
	}
	prefix, err := withSSHAccount(dir)
	if err != nil {
		return s, "", err
	}
	line := append(prefix, at.program, "-D", "-e", "-f", filepath.Join(dir, "sshd_config"))
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Env = append(os.Environ(), at.env...)
	if s.running, err = startGroup("openssh", cmd); err != nil {
		return s, "", err
	}
	version = "OpenSSH"
	for word := range strings.FieldsSeq(firstLine(at.env, at.program, "-V") + " " + firstLine(nil, "ssh", "-V")) {
		if strings.HasPrefix(word, "OpenSSH_") { // only newer ones of sshd know -V
			version = strings.TrimSuffix(word, ",")
			break
		}
	}
	return s, version + ", internal-sftp", waitFor(ctx, s.running, s.addr)
}

// configure writes the host key, the authorized key and sshd_config(5). Nothing
// is left on that costs time at login and that the gateway does not do.
func (s *openssh) configure(dir string, key ssh.PublicKey) error {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	block, err := ssh.MarshalPrivateKey(private, "bench")
	if err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		return err
	}
	config := fmt.Sprintf(`ListenAddress %s
Port %s
HostKey %s
AuthorizedKeysFile %s
Subsystem sftp internal-sftp -d %s
AllowUsers %s
PidFile none
UsePAM no
UseDNS no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
LogLevel ERROR
MaxStartups 4096
`, host, port, filepath.Join(dir, "host_key"), filepath.Join(dir, "authorized_keys"), s.folder, peerAccount)
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "host_key"), pem.EncodeToMemory(block), 0o600),
		os.WriteFile(filepath.Join(dir, "authorized_keys"), ssh.MarshalAuthorizedKey(key), 0o644),
		os.WriteFile(filepath.Join(dir, "sshd_config"), []byte(config), 0o644))
}

// withSSHAccount is what to put before sshd so that the account exists which the process
// that speaks to strangers is run as. Installing sshd makes it; else sshd alone is shown
// accounts with one more.
func withSSHAccount(dir string) (prefix []string, err error) {
	if _, err := user.Lookup(sshAccount); err == nil {
		return nil, nil
	}
	unshare, err := findProgram("unshare")
	if err != nil {
		return nil, err
	}
	accounts, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "passwd")
	line := sshAccount + ":x:65533:65534::" + sshEmptyFolder + ":/usr/sbin/nologin\n"
	if err := os.WriteFile(file, append(accounts, line...), 0o644); err != nil {
		return nil, err
	}
	prefix = []string{unshare, "--mount", "/bin/sh", "-c", `mount --bind "$0" /etc/passwd && exec "$@"`, file}
	try := append(prefix[1:len(prefix):len(prefix)], "/bin/true")
	if out, err := exec.Command(prefix[0], try...).CombinedOutput(); err != nil {
		return nil, errSkip(fmt.Sprintf("there is no account %s, and none can be shown to it: %s", sshAccount, strings.TrimSpace(string(out))))
	}
	return prefix, nil
}

func (s *openssh) stop() {
	if s.running != nil {
		s.running.stop()
	}
	if s.madeEmpty {
		_ = os.Remove(sshEmptyFolder)
	}
}
