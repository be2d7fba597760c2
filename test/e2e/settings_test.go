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
	var extra strings.Builder
	if s.resumption != "" {
		fmt.Fprintf(&extra, "  data_session = %q\n", s.resumption)
	}
	if s.truncation == warn {
		extra.WriteString("  allow_truncated_uploads = true\n")
	}
	const ftpBlock = `ftp  { passive_ports = "20000-29999" }`
	config := strings.Replace(gatewaytest.Config, ftpBlock, "ftp {\n  passive_ports = \"20000-29999\"\n"+extra.String()+"}", 1)
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
