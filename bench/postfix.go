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
	"strings"
)

// mailAccount owns Postfix's queue; its package makes it.
const mailAccount = "postfix"

// postfix is a private one with a queue of its own. It takes mail from loopback without
// a login, in clear, by STARTTLS and over implicit TLS, and hands it on to a sink.
type postfix struct {
	plain, addr string // in clear or by STARTTLS; implicit TLS
	sink        *sink
	running     *group
}

func (p *postfix) name() string  { return "Postfix" }
func (p *postfix) group() *group { return p.running }

func startPostfix(ctx context.Context, b *bench) (p *postfix, version string, err error) {
	path, err := findProgram("postfix")
	if err != nil {
		return nil, "", err
	}
	uid, gid, err := accountOf(mailAccount)
	if err != nil {
		return nil, "", err
	}
	postconf, err := findProgram("postconf")
	if err != nil {
		return nil, "", err
	}
	out, err := exec.CommandContext(ctx, postconf, "-dh", "daemon_directory", "command_directory", "mail_version").Output()
	places := strings.Fields(string(out))
	if err != nil || len(places) != 3 {
		return nil, "", errSkip("postconf does not say where its programs are")
	}
	p = &postfix{}
	defer func() {
		if err != nil {
			p.stop()
			p = nil
		}
	}()
	dir := filepath.Join(b.dir, "postfix")
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if err := errors.Join(os.Mkdir(dir, 0o755), os.Mkdir(filepath.Join(dir, "queue"), 0o755),
		os.Mkdir(filepath.Join(dir, "data"), 0o755), os.Chown(filepath.Join(dir, "data"), uid, gid), writeCertificate(cert, key)); err != nil {
		return p, "", err
	}
	for _, addr := range []*string{&p.plain, &p.addr} {
		if *addr, err = freeAddress(); err != nil {
			return p, "", err
		}
	}
	if p.sink, err = startSink(); err != nil {
		return p, "", err
	}
	_, sinkPort, _ := net.SplitHostPort(p.sink.addr)
	main := fmt.Sprintf(`compatibility_level = 3.6
queue_directory = %[1]s/queue
data_directory = %[1]s/data
daemon_directory = %[2]s
command_directory = %[3]s
mail_owner = %[4]s
setgid_group = postdrop
myhostname = localhost
mydestination =
alias_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_peername_lookup = no
smtpd_tls_cert_file = %[5]s
smtpd_tls_key_file = %[6]s
default_process_limit = %[7]d
in_flow_delay = 0
smtpd_tls_security_level = may
smtp_tls_security_level = none
relayhost = [127.0.0.1]:%[8]s
`, dir, places[0], places[1], mailAccount, cert, key, max(200, min(b.options.idle, maxPeerIdle)+100), sinkPort)
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "main.cf"), []byte(main), 0o644),
		os.WriteFile(filepath.Join(dir, "master.cf"), []byte(masterTable(p.plain, p.addr)), 0o644)); err != nil {
		return p, "", err
	}
	// It makes the folders of the queue.
	if out, err := exec.CommandContext(ctx, path, "-c", dir, "check").CombinedOutput(); err != nil {
		return p, "", fmt.Errorf("postfix check: %w\n%s", err, out)
	}
	// The master itself: "postfix start-fg" would start it beyond our reach.
	if p.running, err = startGroup("postfix", exec.Command(filepath.Join(places[0], "master"), "-c", dir, "-d")); err != nil {
		return p, "", err
	}
	return p, "Postfix " + places[2], waitFor(ctx, p.running, p.addr)
}

// masterTable is master(5) with the services of the package, none of them in a
// chroot, and the listeners.
func masterTable(plain, implicit string) string {
	return plain + " inet n - n - - smtpd\n" + implicit + ` inet n - n - - smtpd
  -o smtpd_tls_wrappermode=yes
pickup     unix n - n 60    1 pickup
cleanup    unix n - n -     0 cleanup
qmgr       unix n - n 300   1 qmgr
tlsmgr     unix - - n 1000? 1 tlsmgr
rewrite    unix - - n -     - trivial-rewrite
bounce     unix - - n -     0 bounce
defer      unix - - n -     0 bounce
trace      unix - - n -     0 bounce
verify     unix - - n -     1 verify
flush      unix n - n 1000? 0 flush
proxymap   unix - - n -     - proxymap
proxywrite unix - - n -     1 proxymap
showq      unix n - n -     - showq
error      unix - - n -     - error
retry      unix - - n -     - error
smtp       unix - - n -     - smtp
anvil      unix - - n -     1 anvil
scache     unix - - n -     1 scache
`
}

func (p *postfix) stop() {
	if p.running != nil {
		p.running.stop()
	}
	p.sink.end()
}
