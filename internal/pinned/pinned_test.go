package pinned

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"strings"
	"testing"
)

func TestPin(t *testing.T) {
	t.Parallel()
	certificate := []byte("certificate")
	sum := sha256.Sum256(certificate)
	pin := hex.EncodeToString(sum[:])
	state := tls.ConnectionState{PeerCertificates: []*x509.Certificate{{Raw: certificate}}}
	colons := strings.ToUpper(pin[:2] + ":" + pin[2:])
	for given, right := range map[string]bool{pin: true, strings.ToUpper(pin): true, colons: true, strings.Repeat("00", 32): false, pin[:62]: false} {
		cfg := TLS("files.example.com:21", given, nil)
		if err := cfg.VerifyConnection(state); (err == nil) != right || err != nil && !strings.Contains(err.Error(), pin) {
			t.Errorf("pin %s: got %v", given, err)
		}
		if valid := len(given) != 62; Valid(given) != valid {
			t.Errorf("pin %s: valid %v", given, !valid)
		}
	}
	if cfg := TLS("files.example.com:21", "", nil); cfg.InsecureSkipVerify || cfg.ServerName != "files.example.com" {
		t.Errorf("without a pin: %+v", cfg)
	}
}

func TestPrivate(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{
		"10.1.2.3": true, "192.168.0.1": true, "127.0.0.1": true, "::1": true, "fd00::1": true,
		"192.0.2.7": false, "2001:db8::1": false, "localhost": false, "": false, "10.1.2": false,
	} {
		if got := Private(host); got != want {
			t.Errorf("%s: got %v", host, got)
		}
	}
}
