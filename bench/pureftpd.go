//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// configurePureFTPd gives it one virtual user. All of its settings are arguments.
func configurePureFTPd(ctx context.Context, p *ftpPeer, site ftpSite) (version string, err error) {
	at, err := install(ctx, "pure-ftpd", "pure-ftpd", "pure-ftpd-common")
	if err != nil {
		return "", err
	}
	passwords, database := filepath.Join(site.dir, "passwd"), filepath.Join(site.dir, "users.pdb")
	user := fmt.Sprintf("%s:%s:%d:%d::%s/./::::::::::::\n", benchUser, benchHash, site.uid, site.gid, site.home)
	if err := os.WriteFile(passwords, []byte(user), 0o600); err != nil {
		return "", err
	}
	compile := exec.CommandContext(ctx, filepath.Join(at.root, "usr/bin/pure-pw"), "mkdb", database, "-f", passwords)
	compile.Env = append(os.Environ(), at.env...)
	if out, err := compile.CombinedOutput(); err != nil {
		return "", fmt.Errorf("pure-pw mkdb: %w\n%s", err, out)
	}
	p.program, p.env = at.program, at.env
	p.args = []string{
		"--bind", site.host + "," + site.port, "--ipv4only", "--pidfile", filepath.Join(site.dir, "pid"),
		"--login", "puredb:" + database, "--minuid", "1", "--noanonymous", "--chrooteveryone",
		"--tls", "1", "--certfile", site.cert + "," + site.key,
		"--dontresolve", "--syslogfacility", "none",
		"--maxclientsnumber", fmt.Sprint(maxSessions), "--limitrecursion", "1000000:10",
	}
	return firstLine(at.env, at.program, "--help"), nil
}
