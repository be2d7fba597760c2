//go:build linux

package main

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/crypto/ssh"
)

const (
	// peerAccount owns the peers' files and runs their sessions. It exists everywhere,
	// and so does its home, where vsftpd goes at first.
	peerAccount = "daemon"
	// benchHash is benchPassword for crypt(3). It is of the cheapest kind that the
	// peers take: the gateway, too, verifies a password once and then remembers.
	benchHash = "$1$bench$hReiSplPhMx93QPZ5ayOp1"
	// opensslConfig makes every peer encrypt as the gateway does: some would choose
	// AES-256, whatever the client likes best (config(5) of OpenSSL).
	opensslConfig = `openssl_conf = init
[init]
ssl_conf = ssl
[ssl]
system_default = default
[default]
Ciphersuites = TLS_AES_128_GCM_SHA256
`
)

// ftpPeer is an FTP server that is measured beside the gateway: a private one,
// which listens in clear and takes AUTH TLS, or serves SFTP instead.
type ftpPeer struct {
	title          string
	addr           string
	user, password string
	home           string // what its visitors see, on the measured file system
	folder         string // below home, to be written to: empty, or ends in a slash
	program        string
	args, env      []string
	running        *group
}

func (p *ftpPeer) name() string  { return p.title }
func (p *ftpPeer) group() *group { return p.running }

// ftpSite is what a peer is configured with.
type ftpSite struct {
	dir, home  string // for its configuration, and what it serves
	cert, key  string // PEM files
	host, port string
	uid, gid   int // of peerAccount
	userKey    ssh.PublicKey
}

// ftpServer is a kind of FTP server.
type ftpServer struct {
	title string
	// configure finds the program, an errSkip if there is none, and writes its
	// configuration into the site's folder. It fills in how the peer is started, and
	// where it deviates from benchUser in a home that can be written to.
	configure func(context.Context, *ftpPeer, ftpSite) (version string, err error)
}

// ftpServers are in the order of the tables.
func ftpServers() []ftpServer {
	return []ftpServer{
		{"vsftpd", configureVsftpd}, {"Pure-FTPd", configurePureFTPd},
		{"ProFTPD", configureProFTPD}, {"pyftpdlib", configurePyftpdlib},
	}
}

// start configures a server of the kind, starts it, and adds it to peers.
func (s ftpServer) start(ctx context.Context, b *bench, peers *[]*ftpPeer) (version string, err error) {
	uid, gid, err := accountOf(peerAccount)
	if err != nil {
		return "", err
	}
	site := ftpSite{dir: filepath.Join(b.dir, s.title), home: filepath.Join(b.files, s.title), uid: uid, gid: gid, userKey: b.key.PublicKey()}
	site.cert, site.key = filepath.Join(site.dir, "cert.pem"), filepath.Join(site.dir, "key.pem")
	ciphers := filepath.Join(site.dir, "openssl.cnf")
	if err := errors.Join(os.Mkdir(site.dir, 0o755), os.Mkdir(site.home, 0o755), os.Chown(site.home, uid, gid),
		writeCertificate(site.cert, site.key), os.WriteFile(ciphers, []byte(opensslConfig), 0o644)); err != nil {
		return "", err
	}
	p := &ftpPeer{title: s.title, user: benchUser, password: benchPassword, home: site.home}
	if p.addr, err = freeAddress(); err != nil {
		return "", err
	}
	if site.host, site.port, err = net.SplitHostPort(p.addr); err != nil {
		return "", err
	}
	if version, err = s.configure(ctx, p, site); err != nil {
		return "", err
	}
	p.env = append(p.env, "OPENSSL_CONF="+ciphers)
	*peers = append(*peers, p)
	return version, p.start(ctx)
}

func (p *ftpPeer) start(ctx context.Context) (err error) {
	cmd := exec.Command(p.program, p.args...)
	cmd.Env = append(os.Environ(), p.env...)
	if p.running, err = startGroup(p.title, cmd); err != nil {
		return err
	}
	return waitFor(ctx, p.running, p.addr)
}

// restart forgets the memory of sessions.
func (p *ftpPeer) restart(ctx context.Context) error {
	p.stop()
	return p.start(ctx)
}

func (p *ftpPeer) stop() {
	if p.running != nil {
		p.running.stop()
	}
}
