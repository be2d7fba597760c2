//go:build linux

package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/crypto/ssh"
)

// configureProFTPD lets it serve FTP, in clear and by TLS.
func configureProFTPD(ctx context.Context, p *ftpPeer, site ftpSite) (version string, err error) {
	return configureProFTPDWith(ctx, p, site, fmt.Sprintf(`LoadModule mod_tls.c
TLSEngine on
TLSRequired off
TLSProtocol TLSv1.3
TLSLog none
TLSECCertificateFile %s
TLSECCertificateKeyFile %s
`, site.cert, site.key))
}

// modSFTP is the SFTP server that is a module of ProFTPD.
func modSFTP() ftpServer { return ftpServer{"mod_sftp", configureModSFTP} }

// configureModSFTP lets it serve SFTP, by key.
func configureModSFTP(ctx context.Context, p *ftpPeer, site ftpSite) (version string, err error) {
	keys := filepath.Join(site.dir, "keys")
	version, err = configureProFTPDWith(ctx, p, site, fmt.Sprintf(`LoadModule mod_sftp.c
SFTPEngine on
SFTPLog none
SFTPHostKey %s
SFTPAuthMethods publickey
SFTPAuthorizedUserKeys file:%s
`, site.key, keys))
	if err != nil {
		return version, err
	}
	return version, os.WriteFile(keys, []byte(rfc4716(site.userKey)), 0o644)
}

// rfc4716 is how mod_sftp reads a key.
func rfc4716(key ssh.PublicKey) string {
	text := "---- BEGIN SSH2 PUBLIC KEY ----\n"
	for line := range slices.Chunk([]byte(base64.StdEncoding.EncodeToString(key.Marshal())), 70) {
		text += string(line) + "\n"
	}
	return text + "---- END SSH2 PUBLIC KEY ----\n"
}

// configureProFTPDWith gives it one virtual user, and what makes it serve. Nothing is left
// on that costs time at login and that the gateway does not do; RLimitOpenFiles spares
// each of its processes the closing of as many descriptors as there could be.
func configureProFTPDWith(ctx context.Context, p *ftpPeer, site ftpSite, serve string) (version string, err error) {
	at, err := install(ctx, "proftpd", "proftpd-core", "proftpd-mod-crypto")
	if err != nil {
		return "", err
	}
	group, err := user.LookupGroupId(strconv.Itoa(site.gid))
	if err != nil {
		return "", errSkip("the group of " + peerAccount + " has no name")
	}
	passwords, file := filepath.Join(site.dir, "passwd"), filepath.Join(site.dir, "proftpd.conf")
	line := fmt.Sprintf("%s:%s:%d:%d::%s:/bin/false\n", benchUser, benchHash, site.uid, site.gid, site.home)
	config := fmt.Sprintf(`ServerType standalone
DefaultAddress %s
SocketBindTight on
Port %s
UseIPv6 off
User %s
Group %s
ModulePath %s
PidFile %[6]s/pid
ScoreboardFile %[6]s/scoreboard
ControlsEngine off
DelayEngine off
SystemLog none
TransferLog none
WtmpLog off
UseReverseDNS off
AuthOrder mod_auth_file.c
AuthUserFile %s
RequireValidShell off
DefaultRoot ~
AllowOverwrite on
MaxInstances none
RLimitOpenFiles 1024
TimeoutIdle 3600
TimeoutNoTransfer 3600
%s`, site.host, site.port, peerAccount, group.Name, filepath.Join(at.root, "usr/lib/proftpd"), site.dir, passwords, serve)
	p.program, p.args, p.env = at.program, []string{"--nodaemon", "--quiet", "--config", file}, at.env
	return firstLine(at.env, at.program, "--version"),
		errors.Join(os.WriteFile(passwords, []byte(line), 0o600), os.WriteFile(file, []byte(config), 0o600))
}
