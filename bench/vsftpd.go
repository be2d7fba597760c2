//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// configureVsftpd lets anonymous visitors in, since those with a password need an
// account of the machine. They may not write to their root, but below it.
func configureVsftpd(ctx context.Context, p *ftpPeer, site ftpSite) (version string, err error) {
	at, err := install(ctx, "vsftpd", "vsftpd")
	if err != nil {
		return "", err
	}
	p.user, p.password, p.folder = "anonymous", "bench@example.com", "data/"
	empty, data := filepath.Join(site.dir, "empty"), filepath.Join(site.home, p.folder)
	if err := errors.Join(os.Mkdir(empty, 0o755), os.Mkdir(data, 0o755), os.Chown(data, site.uid, site.gid),
		os.Chown(site.home, 0, 0)); err != nil {
		return "", err
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
nopriv_user=%[3]s
anon_root=%s
secure_chroot_dir=%s
write_enable=YES
anon_upload_enable=YES
anon_mkdir_write_enable=YES
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
`, site.host, site.port, peerAccount, site.home, empty, site.cert, site.key)
	file := filepath.Join(site.dir, "vsftpd.conf")
	p.program, p.args, p.env = at.program, []string{file}, at.env
	// It prints its version to standard input.
	return firstLine(at.env, "/bin/sh", "-c", `exec "$0" -v 0>&1`, at.program), os.WriteFile(file, []byte(config), 0o600)
}
