//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
)

// configureProFTPD gives it one virtual user. Nothing is left on that costs time
// at login and that the gateway does not do; RLimitOpenFiles spares each of its
// processes the closing of as many descriptors as there could be.
func configureProFTPD(ctx context.Context, p *ftpPeer, site ftpSite) (version string, err error) {
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
LoadModule mod_tls.c
PidFile %[6]s/pid
ScoreboardFile %[6]s/scoreboard
ControlsEngine off
DelayEngine off
SystemLog none
TransferLog none
WtmpLog off
UseReverseDNS off
AuthOrder mod_auth_file.c
AuthUserFile %[7]s
RequireValidShell off
DefaultRoot ~
AllowOverwrite on
MaxInstances none
RLimitOpenFiles 1024
TimeoutIdle 3600
TimeoutNoTransfer 3600
TLSEngine on
TLSRequired off
TLSProtocol TLSv1.3
TLSLog none
TLSECCertificateFile %[8]s
TLSECCertificateKeyFile %[9]s
`, site.host, site.port, peerAccount, group.Name, filepath.Join(at.root, "usr/lib/proftpd"), site.dir, passwords, site.cert, site.key)
	p.program, p.args, p.env = at.program, []string{"--nodaemon", "--quiet", "--config", file}, at.env
	return firstLine(at.env, at.program, "--version"),
		errors.Join(os.WriteFile(passwords, []byte(line), 0o600), os.WriteFile(file, []byte(config), 0o600))
}
