package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"gateway/session"
	"gateway/storage/remote"
)

// maxRemote bounds the servers that keep files.
const maxRemote = 16

// RemoteStorage is an SFTP server that keeps the files of the accounts in some groups.
type RemoteStorage struct {
	Name   string
	Groups []string
	remote.Config

	at   hcl.Range
	kind string
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
	kind := choice("type", &r.kind, []string{"sftp"}, "", "Kind of storage.")
	groups := list("groups", "group", &r.Groups, parseGroupName, "", "Whose accounts have their files there. Of several storages, the first in the file that is named for a group of the account.")
	address, user := text("address", &r.Address, "", "`HOST:PORT`."), text("user", &r.User, "", "Who logs in there.")
	path := text("path", &r.Root, "", "Folder there that holds one folder per account.")
	hostKeys := list("host_keys", "fingerprint", &r.HostKeys, func(s string) (string, error) { return s, nil }, "", "The host keys that it may have, `SHA256:...` (`ssh-keyscan HOST | ssh-keygen -lf -`).")
	for _, st := range []*setting{&kind, &groups, &address, &user, &path, &hostKeys} {
		st.required = true
	}
	key := parsed("key", "file() or env()", &r.Key, func(s string) (session.Secret, error) { return session.NewSecret(s), nil }, "", "The private key of user, in the form of OpenSSH, instead of a password.")
	key.secret = true
	return section{settings: []setting{
		kind, groups, address, user, secret("password", &r.Password, "The password of user."), key, hostKeys, path,
		duration("timeout", &r.Timeout, "20s", "Time for a connection, and for an answer."),
	}}, nil
}

// checkRemote checks what no setting of a block can check alone.
func (c *Config) checkRemote(d *decoder) {
	for _, r := range c.Remote {
		if err := r.Check(); err != nil {
			d.fault(r.at, "Invalid storage", sentence(fmt.Sprintf("storage %q: %v", r.Name, err)))
		}
	}
}
