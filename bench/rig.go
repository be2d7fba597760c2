//go:build linux

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

const (
	startTimeout = 30 * time.Second
	dialTimeout  = 10 * time.Second
	// maxSessions is what the servers are told to take at once.
	maxSessions = 30000
	// filesEach is how many files the gateway, which inherits our limit, has open for a
	// session: its connections and its folder.
	filesEach = 4
	// spareFiles are open beside the connections of sessions.
	spareFiles = 2000
)

// bench is one run: the servers, their folders, and the table being filled.
type bench struct {
	options  options
	table    table
	progress *progress

	dir   string // for what is made durable, and configurations
	files string // for the files that are moved
	key   ssh.Signer
	// identity is the file of the key, in OpenSSH's format.
	identity string

	gateway *gateway
	openssh *openssh // nil where it is left out, as Postfix
	postfix *postfix
	// ftpPeers are those that run, in the order of the tables; sftpPeers the same, where
	// SSH servers are not OpenSSH.
	ftpPeers, sftpPeers []*ftpPeer

	notes []string // what the servers are, and which are left out
}

// newBench makes the folders and starts the servers that the options ask for.
func newBench(ctx context.Context, o options, stderr io.Writer) (b *bench, err error) {
	b = &bench{options: o, progress: newProgress(stderr)}
	defer func() {
		if err != nil {
			b.stop()
		}
	}()
	if err := raiseFiles(uint64(filesEach*max(o.idle, o.uploads)) + spareFiles); err != nil {
		return b, err
	}
	if b.dir, err = os.MkdirTemp(o.dir, "gateway-bench-"); err != nil {
		return b, fmt.Errorf("make a folder: %w", err)
	}
	files := o.files
	if files == "" {
		files = b.dir
		if room("/dev/shm") > 12*o.size+int64(o.uploads)*heldSize {
			files = "/dev/shm"
		}
	}
	if b.files, err = os.MkdirTemp(files, "gateway-bench-"); err != nil {
		return b, fmt.Errorf("make a folder for the files: %w", err)
	}
	// The peers' processes give up being root, and must still reach their folders.
	for _, dir := range []string{b.dir, b.files} {
		if err := os.Chmod(dir, 0o711); err != nil {
			return b, err
		}
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return b, err
	}
	if b.key, err = ssh.NewSignerFromKey(private); err != nil {
		return b, err
	}
	if b.identity, err = writeIdentity(b.dir, private); err != nil {
		return b, err
	}
	if b.gateway, err = startGateway(ctx, b); err != nil {
		return b, err
	}
	return b, b.startPeers(ctx)
}

// raiseFiles makes the limit of open files, of this process and of the servers, n
// at least.
func raiseFiles(n uint64) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	limit.Max = max(limit.Max, n)
	limit.Cur = max(limit.Cur, n)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("raise the limit of open files to %d: %w; ask for fewer sessions, or be root", n, err)
	}
	return nil
}

// errSkip is a peer that cannot be measured here; the text says why.
type errSkip string

func (e errSkip) Error() string { return string(e) }

// peer is a server that may be measured beside the gateway.
type peer struct {
	name   string
	wanted bool
	start  func() (version string, err error)
}

// peerNames are the names of all peers, in small letters.
func peerNames() []string {
	names := []string{"openssh", strings.ToLower(modSFTP().title), "postfix"}
	for _, s := range ftpServers() {
		names = append(names, strings.ToLower(s.title))
	}
	return names
}

// startPeers starts those that the wanted subjects have.
func (b *bench) startPeers(ctx context.Context) error {
	o := b.options
	peers := []peer{
		{"OpenSSH", o.wantsPeer("OpenSSH", "sftp"), func() (version string, err error) {
			b.openssh, version, err = startOpenSSH(ctx, b)
			return version, err
		}},
		{modSFTP().title, o.wantsPeer(modSFTP().title, "sftp"), func() (string, error) { return modSFTP().start(ctx, b, &b.sftpPeers) }},
		{"Postfix", o.wantsPeer("Postfix", "smtp"), func() (version string, err error) {
			b.postfix, version, err = startPostfix(ctx, b)
			return version, err
		}},
	}
	for _, s := range ftpServers() {
		peers = append(peers, peer{s.title, o.wantsPeer(s.title, "ftp", "ftps"), func() (string, error) { return s.start(ctx, b, &b.ftpPeers) }})
	}
	for _, p := range peers {
		if !p.wanted {
			continue
		}
		b.progress.show("starting %s", p.name)
		version, err := p.start()
		var skip errSkip
		switch {
		case errors.As(err, &skip):
			b.notes = append(b.notes, p.name+": left out, "+skip.Error())
		case err != nil:
			return fmt.Errorf("%s: %w", p.name, err)
		default:
			b.notes = append(b.notes, p.name+": "+strings.TrimSpace(version))
		}
	}
	b.progress.clear()
	return nil
}

// stop ends the servers and removes everything.
func (b *bench) stop() {
	if b.gateway != nil {
		b.gateway.stop()
		b.gateway.sink.end()
	}
	if b.openssh != nil {
		b.openssh.stop()
	}
	for _, p := range slices.Concat(b.ftpPeers, b.sftpPeers) {
		p.stop()
	}
	if b.postfix != nil {
		b.postfix.stop()
	}
	for _, dir := range []string{b.dir, b.files} {
		if dir != "" {
			_ = os.RemoveAll(dir)
		}
	}
}

// machine says what the figures hold for.
func (b *bench) machine() string {
	cpu := "?"
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				cpu = strings.TrimSpace(value)
				break
			}
		}
	}
	kernel := "?"
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		kernel, _, _ = strings.Cut(strings.TrimSpace(string(release)), "-")
	}
	// One that paces what it sends, as BBR does, bounds even loopback.
	congestion, err := os.ReadFile("/proc/sys/net/ipv4/tcp_congestion_control")
	if err != nil {
		congestion = []byte("?")
	}
	memory, _ := os.ReadFile("/proc/meminfo")
	var kib int64
	_, _ = fmt.Sscanf(string(memory), "MemTotal: %d kB", &kib)
	lines := append([]string{
		fmt.Sprintf("%d processors (%s), %d GiB, Linux %s, TCP %s, %s",
			runtime.NumCPU(), cpu, (kib+1<<19)>>20, kernel, strings.TrimSpace(string(congestion)), runtime.Version()),
		fmt.Sprintf("files on %s; databases, records and mail on %s; %s; median of %d",
			fileSystem(b.files), fileSystem(b.dir), b.options.cipher, b.options.rounds),
	}, b.notes...)
	return strings.Join(lines, "\n")
}

// fileSystem names the kind that holds dir.
func fileSystem(dir string) string {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil {
		return "?"
	}
	switch s.Type {
	case unix.TMPFS_MAGIC:
		return "tmpfs"
	case unix.EXT4_SUPER_MAGIC:
		return "ext4"
	case unix.XFS_SUPER_MAGIC:
		return "xfs"
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs"
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlayfs"
	}
	return fmt.Sprintf("a file system of type %#x", s.Type)
}

// room is the free space in dir in bytes, 0 if there is no such folder.
func room(dir string) int64 {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil {
		return 0
	}
	return int64(s.Bavail) * s.Bsize
}

// freeAddress is one on loopback where nothing listens.
func freeAddress() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}

// dial connects to a server. The connection is closed when ctx ends, which ends
// whatever waits for it.
func dial(ctx context.Context, addr string) (*net.TCPConn, error) { return dialFrom(ctx, nil, addr) }

// dialFrom does it from an address of loopback; nil leaves the choice to the kernel.
func dialFrom(ctx context.Context, source net.IP, addr string) (*net.TCPConn, error) {
	d := net.Dialer{Timeout: dialTimeout}
	if source != nil {
		d.LocalAddr = &net.TCPAddr{IP: source}
	}
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = c.Close() })
	return c.(*net.TCPConn), nil
}

// waitFor waits until g listens on addr.
func waitFor(ctx context.Context, g *group, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("does not listen on %s: %w\n%s", addr, err, g.output.String())
		case <-g.ended:
			return fmt.Errorf("ended at once:\n%s", g.output.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// lastWords is what a server that has ended had to say.
func lastWords(s server) string {
	g := s.group()
	select {
	case <-g.ended:
		return "\nit has ended: " + g.output.String()
	default:
		return ""
	}
}

// writeCertificate makes a self-signed one, as the gateway's, of ECDSA P-256.
func writeCertificate(certFile, keyFile string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o644),
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
}

// writeIdentity writes a private key for OpenSSH's client.
func writeIdentity(dir string, key ed25519.PrivateKey) (name string, err error) {
	block, err := ssh.MarshalPrivateKey(key, "bench")
	if err != nil {
		return "", err
	}
	name = filepath.Join(dir, "identity")
	return name, os.WriteFile(name, pem.EncodeToMemory(block), 0o600)
}
