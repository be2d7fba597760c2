package ftp_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"gateway/ftp"
	"gateway/session"
	"gateway/session/sessiontest"
)

// D1: protection is decided when the data connection opens, not when PASV came.
func TestD01ProtectionIsDecidedLate(t *testing.T) {
	t.Parallel()
	f := start(t, sessiontest.Encrypted, ftp.Config{TLS: serverTLS(t)})
	f.tree.put(t, "secret", "secret content")
	c := f.dial(t).secure().login()
	at := c.epsv()
	c.private()
	raw, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	c.do("RETR secret", "150 *")
	_ = raw.SetDeadline(time.Now().Add(5 * time.Second))
	_, _ = io.WriteString(raw, "not a handshake")
	got, _ := io.ReadAll(raw)
	if bytes.Contains(got, []byte("secret")) {
		t.Errorf("the file went out in clear: %q", got)
	}
	c.expect("522 *")
}

// D8, and the rule that a protected control connection moves nothing in clear.
func TestClearDataIsRefusedUnderTLS(t *testing.T) {
	t.Parallel()
	f := start(t, nil, ftp.Config{TLS: serverTLS(t)})
	f.tree.put(t, "f", "x")
	c := f.dial(t).secure().login()
	c.do("EPSV", "229 *")
	for _, command := range []string{"RETR f", "STOR g", "LIST", "MLSD", "NLST", "APPE f"} {
		c.do(command, "522 *")
	}
	allow := start(t, granting(session.DataRules{ClearData: true}), ftp.Config{TLS: serverTLS(t)})
	allow.tree.put(t, "f", "x")
	c = allow.dial(t).secure().login()
	if got := c.retr("RETR f"); got != "x" {
		t.Errorf("got %q", got)
	}
}

// granting are rules that let everybody in and say data of their sessions.
func granting(data session.DataRules) sessiontest.Rules {
	return func(session.Request) session.Verdict { return session.Verdict{Allowed: true, Data: data} }
}

// dataTLS does the data handshake with the client's settings.
func dataTLS(t *testing.T, raw net.Conn, cfg *tls.Config) *tls.Conn {
	t.Helper()
	d := tls.Client(raw, cfg)
	if err := d.Handshake(); err != nil {
		t.Fatalf("data handshake: %v", err)
	}
	return d
}

func TestBoundDataConnections(t *testing.T) {
	t.Parallel()
	for name, version := range map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := serverTLS(t)
			cfg.SessionTicketsDisabled = version == tls.VersionTLS12 // must not void the binding
			f := start(t, sessiontest.Encrypted, ftp.Config{TLS: cfg})
			f.tree.put(t, "f", strings.Repeat("content ", 100_000))
			limit := func(c *client) *client { c.tls.MaxVersion = version; return c }
			c := limit(f.dial(t)).secure().login().private()
			thief := limit(f.dial(t)).secure()
			thief.do("NOOP", "200 *") // has read its ticket
			c.do("TYPE I", "200 *")

			for range 3 { // tickets renewed on data connections stay bound
				raw := c.data()
				c.do("RETR f", "150 *")
				d := dataTLS(t, raw, c.tls)
				got, err := io.ReadAll(d) // an error unless close_notify came
				if err != nil || len(got) != 800_000 {
					t.Fatalf("got %d bytes, %v", len(got), err)
				}
				_ = d.Close()
				c.expect("226 *")
			}
			raw := c.data()
			c.do("STOR g", "150 *")
			d := dataTLS(t, raw, c.tls)
			_, _ = io.WriteString(d, "up")
			_ = d.Close()
			c.expect("226 *")

			for who, cfg := range map[string]*tls.Config{"another session's ticket": thief.tls, "no ticket": clientTLS()} {
				raw = c.data()
				c.do("RETR f", "150 *")
				d = tls.Client(raw, cfg)
				_ = d.Handshake()
				if got, err := io.ReadAll(d); err == nil || len(got) > 0 {
					t.Errorf("%s: got %d bytes, %v", who, len(got), err)
				}
				c.expect("522 *resume*")
			}
		})
	}
}

// Each transfer and listing is recorded with the protection of its own data
// connection: bound, not bound, refused for that, or clear.
func TestTheRecordTellsHowDataWasCarried(t *testing.T) {
	t.Parallel()
	certificate := serverTLS(t)
	for name, c := range map[string]struct {
		mode  session.Resumption
		rules sessiontest.Rules
		want  []string // kind, resumed, outcome of RETR, STOR and LIST
	}{
		"bound":   {session.ResumptionRequired, nil, []string{"read tls true done", "write tls true done", "list tls true done"}},
		"unbound": {session.ResumptionPreferred, nil, []string{"read tls false done", "write tls false done", "list tls false done"}},
		"refused": {session.ResumptionRequired, nil, []string{"read tls false failed", "write tls false failed", "list tls false failed"}},
		"ruled": {session.ResumptionOff, granting(session.DataRules{Demanded: session.ResumptionRequired}),
			[]string{"read tls false failed", "write tls false failed", "list tls false failed"}},
		"clear": {session.ResumptionRequired, granting(session.DataRules{ClearData: true}), []string{"read plain false done", "write plain false done", "list plain false done"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t, c.rules, ftp.Config{TLS: certificate, Resumption: c.mode})
			f.tree.put(t, "f", "x")
			k := f.dial(t).secure().login()
			if name != "clear" {
				k.private()
			}
			for _, command := range []string{"RETR f", "STOR g", "LIST"} {
				raw := k.data()
				k.do(command, "150 *")
				settings := clientTLS()
				if name == "bound" {
					settings = k.tls
				}
				var d net.Conn = raw
				if name != "clear" {
					d = dataTLS(t, raw, settings)
				}
				if command == "STOR g" {
					_, _ = io.WriteString(d, "x")
				} else {
					_, _ = io.ReadAll(d)
				}
				_ = d.Close()
				k.reply()
			}
			var got []string
			for _, e := range f.core.Record.Events(session.EventFile) {
				if e.Outcome != session.OutcomeBegun {
					got = append(got, fmt.Sprintf("%s %s %v %s", e.Verb, e.Channel.Kind, e.Channel.Resumed, e.Outcome))
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// D10: who showed a certificate on the control connection shows it on the data
// connection too.
func TestD10DataCertificateIsTheControlOne(t *testing.T) {
	t.Parallel()
	cfg := serverTLS(t)
	cfg.ClientAuth = tls.RequestClientCert
	f := start(t, nil, ftp.Config{TLS: cfg, Resumption: session.ResumptionPreferred})
	f.tree.put(t, "f", "x")
	c := f.dial(t)
	own, other := serverTLS(t).Certificates, serverTLS(t).Certificates
	c.tls.Certificates = own
	c.secure().login().private()
	for name, shown := range map[string][]tls.Certificate{"same": own, "another": other, "none": nil} {
		settings := clientTLS()
		settings.Certificates = shown
		raw := c.data()
		c.do("RETR f", "150 *")
		got, _ := io.ReadAll(dataTLS(t, raw, settings))
		_ = raw.Close()
		if name == "same" {
			c.expect("226 *")
		} else {
			c.expect("522 *")
		}
		if (string(got) == "x") != (name == "same") {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

// The chosen settings of a listener with several names are bound as well.
func TestBoundSettingsChosenByName(t *testing.T) {
	t.Parallel()
	cfg := serverTLS(t)
	chosen := serverTLS(t)
	cfg.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return chosen, nil }
	f := start(t, nil, ftp.Config{TLS: cfg})
	f.tree.put(t, "f", "x")
	c := f.dial(t).secure().login().private()
	raw := c.data()
	c.do("RETR f", "150 *")
	if got, err := io.ReadAll(dataTLS(t, raw, c.tls)); err != nil || string(got) != "x" {
		t.Errorf("got %q, %v", got, err)
	}
	_ = raw.Close()
	c.expect("226 *")
	raw = c.data()
	c.do("RETR f", "150 *")
	_, _ = io.ReadAll(dataTLS(t, raw, clientTLS()))
	c.expect("522 *")
}

// D34: a bare FIN on TLS is not the end of the file.
func TestD34TruncatedUpload(t *testing.T) {
	t.Parallel()
	for _, allow := range []bool{false, true} {
		f := start(t, nil, ftp.Config{TLS: serverTLS(t), TakeTruncated: allow})
		c := f.dial(t).secure().login().private()
		c.do("TYPE I", "200 *")
		raw := c.data()
		c.do("STOR half", "150 *")
		d := dataTLS(t, raw, c.tls)
		_, _ = io.WriteString(d, "half a file")
		_ = raw.(*net.TCPConn).CloseWrite()
		if allow {
			c.expect("226 *")
			continue
		}
		c.expect("426 *close_notify*")
		if f.tree.has("half") {
			t.Error("the cut upload is visible")
		}
		c.do("SIZE half", "213 11") // resumable
	}
}
