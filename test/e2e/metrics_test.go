package e2e

import (
	"net/http"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"gateway/internal/gatewaytest"
)

// scrape asks as Prometheus does.
func scrape(t *testing.T, g *gatewaytest.Gateway) map[string]*dto.MetricFamily {
	t.Helper()
	resp, err := http.Get("http://" + g.Addr("metrics") + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// value is that of the one metric of a family that has these labels.
func value(families map[string]*dto.MetricFamily, name string, labels ...string) float64 {
metrics:
	for _, m := range families[name].GetMetric() {
		have := map[string]string{}
		for _, l := range m.GetLabel() {
			have[l.GetName()] = l.GetValue()
		}
		for _, pair := range labels {
			label, value, _ := strings.Cut(pair, "=")
			if have[label] != value {
				continue metrics
			}
		}
		return m.GetCounter().GetValue() + m.GetGauge().GetValue()
	}
	return -1
}

func TestMetrics(t *testing.T) {
	g := start(t)
	path, content := file(t, "up.bin", 100_000)
	if out, status := batch(t, g.Port("sftp"), "put "+path+" a.bin\n"); status != 0 {
		t.Fatalf("exit status %d\n%s", status, out)
	}
	if got := hello(t, g.Addr("ftp"), "USER alice\r\nQUIT\r\n"); !strings.Contains(got, "530") {
		t.Fatalf("got %q", got)
	}
	eventually(t, "two connections are counted", func() bool {
		got := scrape(t, g)
		return value(got, "gateway_connections_total", "protocol=sftp", "listener=sftp", "outcome=session") == 1 &&
			value(got, "gateway_connections_total", "protocol=ftp", "listener=ftp", "outcome=no-login") == 1
	})
	got := scrape(t, g)
	for _, c := range []struct {
		want   float64
		name   string
		labels []string
	}{
		{1, "gateway_logins_total", []string{"protocol=sftp", "outcome=granted", "channel=ssh", "method=keyboard-interactive"}},
		{1, "gateway_logins_total", []string{"protocol=ftp", "outcome=refused", "channel=plain", "method=none"}},
		{float64(len(content)), "gateway_transfer_bytes_total", []string{"protocol=sftp", "direction=in"}},
		{1, "gateway_file_operations_total", []string{"protocol=sftp", "verb=write", "outcome=done"}},
		{0, "gateway_sessions", []string{"protocol=sftp"}},
		{0, "gateway_queue_messages", nil},
		{0, "gateway_audit_errors_total", nil},
		{10000, "gateway_ftp_passive_ports", []string{"state=free"}},
		{0, "gateway_ftp_passive_exhausted_total", nil},
		{1, "gateway_build_info", nil},
	} {
		if n := value(got, c.name, c.labels...); n != c.want {
			t.Errorf("%s %v: got %v, want %v", c.name, c.labels, n, c.want)
		}
	}
}
