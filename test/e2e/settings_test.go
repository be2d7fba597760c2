package e2e

import (
	"fmt"
	"strings"

	"gateway/internal/gatewaytest"
)

// ftpSettings are those that decide which FTP clients can work. The zero value
// is what the gateway does if nothing is said.
type ftpSettings struct {
	resumption string // of the TLS session by data connections: required, preferred or off
	truncation string // of an upload over TLS, without close_notify: refuse or warn
	state      string // the folder of the state and the files
}

const (
	required  = "required"
	preferred = "preferred"
	warn      = "warn"
)

// scanner is the account that may log in without encryption.
const (
	scanner         = "scanner"
	scannerPassword = "scan-pw-2291"
)

// options makes an installation with s, and with the accounts alice, who must
// encrypt, and scanner, who need not. The names of the settings are said here
// only.
func (s ftpSettings) options() gatewaytest.Options {
	config := gatewaytest.Config
	set := func(where, setting string) { // behind each place
		if !strings.Contains(config, where) {
			panic("there is no " + where + " in gatewaytest.Config")
		}
		config = strings.ReplaceAll(config, where, where+"\n"+setting+"\n")
	}
	if s.resumption != "" {
		set(`protocol = "ftp"`, fmt.Sprintf("tls_resumption = %q", s.resumption))
	}
	if s.truncation == warn {
		set("ftp {", `tls_truncation = "warn"`)
	}
	if s.state != "" {
		config = fmt.Sprintf("state = %q\nstorage {\n  path = %q\n}\n", s.state+"/state", s.state+"/files") + config
	}
	o := gatewaytest.Options{
		Config: config,
		Policy: exempted,
		Users:  map[string]string{alice: password, scanner: scannerPassword},
	}
	if s.state != "" {
		o.State = s.state + "/state"
	}
	return o
}
