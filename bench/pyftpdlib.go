//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// debianPython is where Debian's packages of Python are seen; another python3 may
// come first in PATH.
const debianPython = "/usr/bin/python3"

// configurePyftpdlib writes a server of the library's own parts. It logs errors
// only, and stays who it is.
func configurePyftpdlib(ctx context.Context, p *ftpPeer, site ftpSite) (version string, err error) {
	found := exec.CommandContext(ctx, debianPython, "-c",
		"import pyftpdlib, pyftpdlib.handlers as h; h.TLS_FTPHandler; print('pyftpdlib', pyftpdlib.__ver__)")
	out, err := found.Output()
	if err != nil {
		return "", errSkip("python3-pyftpdlib or python3-openssl is not installed")
	}
	script := fmt.Sprintf(`import logging
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import TLS_FTPHandler
from pyftpdlib.servers import FTPServer

logging.basicConfig(level=logging.ERROR)
TLS_FTPHandler.authorizer = DummyAuthorizer()
TLS_FTPHandler.authorizer.add_user(%q, %q, %q, perm="elradfmwMT")
TLS_FTPHandler.certfile = %q
TLS_FTPHandler.keyfile = %q
TLS_FTPHandler.timeout = 3600
FTPServer.max_cons = %d
FTPServer.max_cons_per_ip = 0
FTPServer((%q, %s), TLS_FTPHandler, backlog=4096).serve_forever()
`, benchUser, benchPassword, site.home, site.cert, site.key, maxSessions, site.host, site.port)
	file := filepath.Join(site.dir, "server.py")
	p.program, p.args = debianPython, []string{file}
	return string(out), os.WriteFile(file, []byte(script), 0o600)
}
