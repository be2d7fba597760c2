//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
)

const (
	// ftpAccount is the one that its package makes for anonymous visitors.
	ftpAccount = "ftp"
	// ftpFolder is below the root, which anonymous visitors may not write to.
	ftpFolder = "data"
)

// vsftpd is a private one, in clear and by AUTH TLS. Its visitors are anonymous,
// since those with a password need an account of the machine.
type vsftpd struct {
	addr    string
	running *group
}

func (v *vsftpd) name() string  { return "vsftpd" }
func (v *vsftpd) group() *group { return v.running }

func startVsftpd(ctx context.Context, b *bench) (v *vsftpd, version string, err error) {
	path, uid, gid, err := findPeer("vsftpd", ftpAccount)
	if err != nil {
		return nil, "", err
	}
	v = &vsftpd{}
	defer func() {
		if err != nil {
			v.stop()
			v = nil
		}
	}()
	dir := filepath.Join(b.dir, "vsftpd")
	root := filepath.Join(b.files, "vsftpd")
	data := filepath.Join(root, ftpFolder)
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if err := errors.Join(os.MkdirAll(filepath.Join(dir, "empty"), 0o755), os.MkdirAll(data, 0o755),
		os.Chown(data, uid, gid), writeCertificate(cert, key)); err != nil {
		return v, "", err
	}
	if v.addr, err = freeAddress(); err != nil {
		return v, "", err
	}
	host, port, err := net.SplitHostPort(v.addr)
	if err != nil {
		return v, "", err
	}
	// seccomp is off because its filter of 2012 does not know what today's C library
	// calls. require_ssl_reuse is on, as in the gateway.
	config := fmt.Sprintf(`listen=YES
listen_address=%s
listen_port=%s
background=NO
seccomp_sandbox=NO
anonymous_enable=YES
local_enable=NO
ftp_username=%s
anon_root=%s
secure_chroot_dir=%s
write_enable=YES
anon_upload_enable=YES
anon_other_write_enable=YES
anon_world_readable_only=NO
anon_umask=022
connect_from_port_20=NO
max_clients=0
max_per_ip=0
ssl_enable=YES
allow_anon_ssl=YES
force_anon_logins_ssl=NO
force_anon_data_ssl=NO
require_ssl_reuse=YES
ssl_ciphers=HIGH
rsa_cert_file=%s
rsa_private_key_file=%s
`, host, port, ftpAccount, root, filepath.Join(dir, "empty"), cert, key)
	file := filepath.Join(dir, "vsftpd.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return v, "", err
	}
	if v.running, err = startGroup("vsftpd", exec.Command(path, file)); err != nil {
		return v, "", err
	}
	// It prints its version to standard input.
	return v, firstLine("/bin/sh", "-c", `exec "$0" -v 0>&1`, path), waitFor(ctx, v.running, v.addr)
}

func (v *vsftpd) stop() {
	if v.running != nil {
		v.running.stop()
	}
}
