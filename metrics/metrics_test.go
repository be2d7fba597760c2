package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"gateway/metrics"
	"gateway/session"
	"gateway/session/sessiontest"
)

// parts stand for the gateway's.
type parts struct{}

func (parts) Sessions() []session.Info {
	return []session.Info{{Protocol: session.SFTP}, {Protocol: session.FTP}, {Protocol: session.SFTP}}
}
func (parts) Len() int                 { return 7 }
func (parts) Syncs() int64             { return 11 }
func (parts) Stats() (int, int, int64) { return 90, 10, 3 }

func newMetrics() *metrics.Metrics {
	return metrics.New(metrics.Config{Version: "1.2.3", Revision: "abc", Listeners: []metrics.Listener{
		{Name: "sftp", Protocol: session.SFTP}, {Name: "ftps", Protocol: session.FTP},
	}})
}

// serve starts a server and returns its URL.
func serve(t *testing.T, m *metrics.Metrics) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := m.Server(nil)
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background(), ln) }()
	t.Cleanup(func() {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve returned %v", err)
		}
	})
	return "http://" + ln.Addr().String()
}

// scrape returns every sample by its name and labels.
func scrape(t *testing.T, url string) map[string]float64 {
	t.Helper()
	resp, err := http.Get(url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("got %s", resp.Status)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	samples := map[string]float64{}
	for name, family := range families {
		for _, m := range family.GetMetric() {
			samples[name+labels(m)] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return samples
}

func labels(m *dto.Metric) string {
	var words []string
	for _, l := range m.GetLabel() {
		words = append(words, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
	}
	if len(words) == 0 {
		return ""
	}
	return "{" + strings.Join(words, ",") + "}"
}

func want(t *testing.T, got, want map[string]float64) {
	t.Helper()
	for name, value := range want {
		if n, found := got[name]; !found || n != value {
			t.Errorf("%s: got %v (%v), want %v", name, n, found, value)
		}
	}
}

func TestEventsAreCounted(t *testing.T) {
	t.Parallel()
	m, record := newMetrics(), &sessiontest.Record{}
	r := m.Recorder(record)
	tls, plain := &session.Channel{Kind: session.TLS}, &session.Channel{}
	events := []session.Event{
		{Event: session.EventConnection, Protocol: session.FTP, Listener: "ftps", Outcome: session.OutcomeBanned, Count: 40},
		{Event: session.EventConnection, Protocol: session.FTP, Listener: "ftps", Outcome: session.OutcomeSession, Count: 1},
		{Event: session.EventLogin, Protocol: session.FTP, Outcome: session.OutcomeGranted, Channel: tls, User: "alice", Method: session.MethodPassword},
		{Event: session.EventLogin, Protocol: session.FTP, Outcome: session.OutcomeRefused, Channel: plain, User: "mallory"},
		{Event: session.EventLogin, Protocol: session.FTP, Outcome: session.OutcomeGranted, Channel: plain, User: "alice", Method: session.MethodPassword,
			Credential: session.CredentialPlaintext},
		{Event: session.EventFile, Protocol: session.SFTP, Verb: session.Write, Outcome: session.OutcomeBegun, Path: "/secret"},
		{Event: session.EventFile, Protocol: session.SFTP, Verb: session.Write, Outcome: session.OutcomeDone, Bytes: 1000, Path: "/secret"},
		{Event: session.EventFile, Protocol: session.SFTP, Verb: session.Append, Outcome: session.OutcomeFailed, Bytes: 10},
		{Event: session.EventFile, Protocol: session.SFTP, Verb: session.Read, Outcome: session.OutcomeDone, Bytes: 500},
		{Event: session.EventFile, Protocol: session.SFTP, Verb: session.Remove, Outcome: session.OutcomeRefused},
		{Event: session.EventMail, Protocol: session.Submission, Verb: session.Accept, Outcome: session.OutcomeDone, Size: 77},
		{Event: session.EventMail, Protocol: session.Submission, Verb: session.Deliver, Outcome: session.OutcomeDone, Size: 77},
		{Event: session.EventAdmin, Protocol: session.CLI, Verb: "user.add"},
		// What nobody foresaw is recorded and not counted, for it could be anything.
		{Event: session.EventConnection, Protocol: "x", Listener: "y", Outcome: "z", Count: 1},
	}
	for i, e := range events {
		var err error
		if i%2 == 0 {
			err = r.Append(e)
		} else {
			err = r.Commit(t.Context(), e)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := len(record.Events("")); got != len(events) {
		t.Errorf("%d events were handed on, want %d", got, len(events))
	}
	url := serve(t, m)
	got := scrape(t, url)
	want(t, got, map[string]float64{
		`gateway_connections_total{listener="ftps",outcome="banned",protocol="ftp"}`:               40,
		`gateway_connections_total{listener="ftps",outcome="session",protocol="ftp"}`:              1,
		`gateway_connections_total{listener="sftp",outcome="handshake-failed",protocol="sftp"}`:    0,
		`gateway_logins_total{channel="tls",method="password",outcome="granted",protocol="ftp"}`:   1,
		`gateway_logins_total{channel="plain",method="none",outcome="refused",protocol="ftp"}`:     1,
		`gateway_logins_total{channel="plain",method="password",outcome="granted",protocol="ftp"}`: 1,
		`gateway_plaintext_credentials_total{outcome="granted",protocol="ftp"}`:                    1,
		`gateway_plaintext_credentials_total{outcome="refused",protocol="ftp"}`:                    0,
		`gateway_file_operations_total{outcome="done",protocol="sftp",verb="write"}`:               1,
		`gateway_file_operations_total{outcome="failed",protocol="sftp",verb="append"}`:            1,
		`gateway_file_operations_total{outcome="refused",protocol="sftp",verb="remove"}`:           1,
		`gateway_transfer_bytes_total{direction="in",protocol="sftp"}`:                             1010,
		`gateway_transfer_bytes_total{direction="out",protocol="sftp"}`:                            500,
		`gateway_transfer_bytes_total{direction="in",protocol="submission"}`:                       77,
		`gateway_audit_errors_total`: 0,
	})
	if _, found := got["go_goroutines"]; !found {
		t.Error("no metrics of the Go runtime")
	}
	if _, found := got["process_open_fds"]; !found {
		t.Error("no metrics of the process")
	}
	for name := range got {
		for _, private := range []string{"alice", "mallory", "secret", `"x"`} {
			if strings.Contains(name, private) {
				t.Errorf("%s has %q in it", name, private)
			}
		}
	}
}

// A login that could not be recorded was not granted.
func TestUnrecordedGrantIsAnError(t *testing.T) {
	t.Parallel()
	m, record := newMetrics(), &sessiontest.Record{}
	fault := errors.New("disk full")
	record.Fail(fault)
	e := session.Event{Event: session.EventLogin, Protocol: session.SFTP, Outcome: session.OutcomeGranted, Channel: &session.Channel{Kind: session.SSH}}
	if err := m.Recorder(record).Commit(t.Context(), e); !errors.Is(err, fault) {
		t.Errorf("got %v", err)
	}
	want(t, scrape(t, serve(t, m)), map[string]float64{
		`gateway_logins_total{channel="ssh",method="none",outcome="granted",protocol="sftp"}`: 0,
		`gateway_logins_total{channel="ssh",method="none",outcome="error",protocol="sftp"}`:   1,
		`gateway_audit_errors_total`: 1,
	})
}

func TestSourcesAreAsked(t *testing.T) {
	t.Parallel()
	m := newMetrics()
	m.Watch(metrics.Sources{Sessions: parts{}, Queue: parts{}, Passive: parts{},
		Exposed: func(context.Context) (int, error) { return 5, nil }, Policy: func() string { return "abc" }})
	want(t, scrape(t, serve(t, m)), map[string]float64{
		`gateway_sessions{protocol="sftp"}`:       2,
		`gateway_sessions{protocol="ftp"}`:        1,
		`gateway_sessions{protocol="relay"}`:      0,
		`gateway_queue_messages`:                  7,
		`gateway_queue_syncs_total`:               11,
		`gateway_ftp_passive_ports{state="free"}`: 90,
		`gateway_ftp_passive_ports{state="busy"}`: 10,
		`gateway_exposed_credentials`:             5,
		`gateway_policy_info{hash="abc"}`:         1,
		`gateway_ftp_passive_exhausted_total`:     3,
	})
}

// There is one page, and it can only be read.
func TestOnlyGetMetrics(t *testing.T) {
	t.Parallel()
	url := serve(t, newMetrics())
	for _, c := range []struct {
		method, path string
		want         int
	}{
		{"GET", "/", 404}, {"GET", "/metrics/x", 404}, {"GET", "/debug/pprof/", 404},
		{"POST", "/metrics", 405}, {"PUT", "/metrics", 405}, {"HEAD", "/metrics", 200},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, url+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != c.want {
			t.Errorf("%s %s: got %d, want %d", c.method, c.path, resp.StatusCode, c.want)
		}
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go func() {
		_, _ = io.WriteString(conn, "GET /metrics HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("x", 64<<10)+"\r\n\r\n")
	}()
	answer := make([]byte, 12)
	if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != "HTTP/1.1 431" {
		t.Errorf("a header of 64 KiB: got %q, %v", answer, err)
	}
}

// Counting an event allocates nothing.
func TestCountingIsCheap(t *testing.T) {
	r := newMetrics().Recorder(discard{})
	channel := &session.Channel{Kind: session.TLS}
	for _, e := range []session.Event{
		{Event: session.EventConnection, Protocol: session.FTP, Listener: "ftps", Outcome: session.OutcomeSession, Count: 1},
		{Event: session.EventLogin, Protocol: session.FTP, Outcome: session.OutcomeGranted, Channel: channel},
		{Event: session.EventFile, Protocol: session.FTP, Verb: session.Read, Outcome: session.OutcomeDone, Bytes: 1},
	} {
		if n := testing.AllocsPerRun(100, func() { _ = r.Append(e) }); n > 0 {
			t.Errorf("%s: %v allocations", e.Event, n)
		}
	}
}

type discard struct{}

func (discard) Commit(context.Context, session.Event) error { return nil }
func (discard) Append(session.Event) error                  { return nil }
