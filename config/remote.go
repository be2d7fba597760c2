package config

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"gateway/session"
	"gateway/storage/mount"
	"gateway/storage/remote"
	"gateway/storage/remote/ftpclient"
	"gateway/storage/remote/ftpfiles"
	"gateway/storage/remote/upstream"
)

// maxRemote bounds the servers that keep files.
const maxRemote = 16

// RemoteStorage is a server that keeps the files of the accounts in some groups.
type RemoteStorage struct {
	Name          string
	Groups        []string
	remote.Config                  // of an SFTP server
	FTP           *ftpfiles.Config // nil for an SFTP server

	at              hcl.Range
	kind            string
	login, point    string
	protection, pin string
	ca              string
}

func (c *Config) remoteStorage(_ *decoder, at hcl.Range, name string) (section, error) {
	if name == "" || strings.ContainsAny(name, " \t\r\n\"") {
		return section{}, fmt.Errorf("the name of a storage is a word without spaces")
	}
	if slices.ContainsFunc(c.Remote, func(r RemoteStorage) bool { return r.Name == name }) {
		return section{}, fmt.Errorf("there is a storage %q already; each needs a name of its own", name)
	}
	// Room for all, so that the pointers taken below stay good.
	if c.Remote == nil {
		c.Remote = make([]RemoteStorage, 0, maxRemote)
	}
	if len(c.Remote) == maxRemote {
		return section{}, fmt.Errorf("there are more than %d of them", maxRemote)
	}
	c.Remote = append(c.Remote, RemoteStorage{Name: name, at: at})
	r := &c.Remote[len(c.Remote)-1]
	kind := choice("type", &r.kind, []string{"sftp", "ftp"}, "", "What the server speaks. What FTP cannot do is refused: links, writing other than from the beginning, reading what is being written.")
	groups := list("groups", "group", &r.Groups, parseGroupName, "", "Whose accounts have their files there. Of several storages, the first in the file that is named for a group of the account.")
	address, user := text("address", &r.Address, "", "`HOST:PORT`."), text("user", &r.User, "", "Who logs in there; needed unless `login` is `own`.")
	path := text("path", &r.Root, "", "Folder there that holds one folder per account, which is made at first use; needed unless `login` is `own`. Then it is the account's own folder, in which `{user}` stands for its name; not said, it is where the login begins.")
	for _, st := range []*setting{&kind, &groups, &address} {
		st.required = true
	}
	key := parsed("key", "file() or env()", &r.Key, func(s string) (session.Secret, error) { return session.NewSecret(s), nil }, "", "Of sftp: the private key of user, in the form of OpenSSH, instead of a password.")
	key.secret = true
	return section{settings: []setting{
		kind, groups, address, user, secret("password", &r.Password, "The password of user."), key,
		list("host_keys", "fingerprint", &r.HostKeys, func(s string) (string, error) { return s, nil }, "", "Of sftp, and needed there: the host keys that it may have, `SHA256:...` (`ssh-keyscan HOST | ssh-keygen -lf -`)."),
		choice("tls", &r.protection, []string{"explicit", "implicit", "none"}, "", "Of ftp: `explicit` is AUTH TLS, and what holds if nothing is said; `implicit` is TLS from the first byte; `none` is in clear, and within a private network only."),
		text("pin", &r.pin, "", "Of ftp: SHA-256 of its certificate, in hex. Without it the certificate must be good."),
		file("ca", &r.ca, "", "Of ftp: certificates of the authorities that are trusted for it, instead of those of the system (PEM)."),
		path,
		choice("login", &r.login, []string{loginFixed, loginOwn}, loginFixed, "`own` logs in as the account, with the password that opened its session: who logs in by a key, a token or SCRAM has no files there. The password is kept for as long as the session lasts, in memory."),
		text("mount", &r.point, "", "Folder of the account's tree in which these files are, such as `/archive`, and all else where it would be. Without it they are the whole tree."),
		count("connections", &r.Connections, upstream.MaxConnections, fmt.Sprint(upstream.DefaultConnections), "How many connections there are at most. Of ftp, each carries one file at a time, and one is left for everything else."),
		duration("timeout", &r.Timeout, "20s", "Time for a connection, for an answer, and to wait for a connection that is free."),
	}}, nil
}

// checkRemote checks what no setting of a block can check alone.
func (c *Config) checkRemote(d *decoder) {
	for i := range c.Remote {
		if err := c.Remote[i].check(); err != nil {
			d.fault(c.Remote[i].at, "Invalid storage", sentence(fmt.Sprintf("storage %q: %v", c.Remote[i].Name, err)))
		}
	}
	// Two may have the same place, for accounts of different groups.
	var points []string
	for _, r := range c.Remote {
		point := r.MountPoint()
		if point == "" || slices.Contains(points, point) {
			continue
		}
		if err := mount.Check(append(points, point)...); err != nil {
			d.fault(r.at, "Invalid storage", sentence(fmt.Sprintf("storage %q: mount: %v", r.Name, err)))
			continue
		}
		points = append(points, point)
	}
}

// The words of login.
const (
	loginFixed = "fixed"
	loginOwn   = "own"
)

// ownConnections is how many connections the sessions of one account have that logs in by itself,
// if nothing is said: two is the least that FTP does with.
const ownConnections = 2

// OwnLogin reports whether each account logs in there by itself.
func (r RemoteStorage) OwnLogin() bool { return r.login == loginOwn }

// MountPoint is where in an account's tree it is, as package storage has names; empty is the
// whole tree.
func (r RemoteStorage) MountPoint() string { return strings.TrimPrefix(r.point, "/") }

// Folder is that of an account that logs in by itself.
func (r RemoteStorage) Folder() string { return cmp.Or(r.Root, ".") }

// As is the storage with an account that logs in by itself.
func (r RemoteStorage) As(user string, password session.Secret) RemoteStorage {
	r.User, r.Password, r.Connections = user, password, cmp.Or(r.Connections, ownConnections)
	if r.FTP != nil {
		f := *r.FTP
		f.User, f.Password, f.Connections = user, password, r.Connections
		r.FTP = &f
	}
	return r
}

// checkPlace checks where in the tree it is, and whose folder there.
func (r *RemoteStorage) checkPlace() error {
	if point := r.MountPoint(); r.point != "" && (!strings.HasPrefix(r.point, "/") || mount.Check(point) != nil) {
		return fmt.Errorf("mount %q: want a folder as accounts see it, in its shortest form, such as /archive", r.point)
	}
	switch {
	case !r.OwnLogin() && r.User == "":
		return errors.New("user: say who logs in there, or login = \"own\"")
	case !r.OwnLogin() && r.Root == "":
		return errors.New("path: say which folder there holds one folder per account")
	case r.OwnLogin() && (r.User != "" || !r.Password.Empty() || !r.Key.Empty()):
		return errors.New("login = \"own\" logs in as the account: leave out user, password and key")
	}
	return nil
}

func (r *RemoteStorage) check() (err error) {
	if err := r.checkPlace(); err != nil {
		return err
	}
	if r.OwnLogin() {
		// What can be wrong with it is as if somebody logged in.
		sample := r.As("somebody", session.NewSecret("password"))
		sample.login, sample.Root = loginFixed, strings.ReplaceAll(cmp.Or(r.Root, "/"), "{user}", "somebody")
		if err := sample.check(); err != nil {
			return err
		}
		r.FTP = sample.FTP
		return nil
	}
	switch {
	case r.kind == "sftp" && (r.protection != "" || r.pin != "" || r.ca != ""):
		return errors.New("tls, pin and ca are for ftp: of sftp, say host_keys")
	case r.kind == "sftp":
		return r.Check()
	case len(r.HostKeys) > 0 || !r.Key.Empty():
		return errors.New("host_keys and key are for sftp: of ftp, say password, and pin or ca")
	}
	f := ftpfiles.Config{
		Address: r.Address, User: r.User, Password: r.Password, Protection: ftpclient.Explicit, Pin: r.pin,
		Root: r.Root, Timeout: r.Timeout, Connections: r.Connections,
	}
	if r.protection != "" {
		f.Protection = ftpclient.Protection(r.protection)
	}
	if f.Roots, err = authorities(r.ca); err != nil {
		return err
	}
	r.FTP = &f
	return f.Check()
}

// authorities reads the file of a setting "ca"; nil, for those of the system, without one.
func authorities(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(path)
	roots := x509.NewCertPool()
	if err != nil || !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca: %s holds no certificates that can be read", shortName(path))
	}
	return roots, nil
}
