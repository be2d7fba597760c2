// Package metrics counts what the gateway does, and serves the counts to Prometheus.
//
// It counts the events on their way to the record (Metrics.Recorder), and asks the
// other parts when it is scraped (Sources). Labels have few values, all known before:
// never a user, an address or a path. What happened to whom is in the record.
//
// docs/operations.md lists the metrics and what to watch.
package metrics

import (
	"context"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"gateway/session"
)

// A Listener is one that connections are counted for.
type Listener struct {
	Name     string
	Protocol session.Protocol
}

// Config says what is measured.
type Config struct {
	Version, Revision string // of the build
	Listeners         []Listener
}

// Sources are the parts that are asked at each scrape. Those that are nil are left
// out.
type Sources struct {
	Sessions interface{ Sessions() []session.Info }
	// Queue tells how many messages wait, and how often it had something put on
	// stable storage since the start.
	Queue interface {
		Len() int
		Syncs() int64
	}
	// Passive tells how many passive ports are free and busy now, and how often none
	// was free since the start.
	Passive interface {
		Stats() (free, busy int, exhausted int64)
	}
	// Exposed tells how many accounts have a password that crossed in clear.
	Exposed func(context.Context) (int, error)
	// Policy tells the hash of the rules in force.
	Policy func() string
}

// Metrics holds the counts of one gateway.
type Metrics struct {
	registry *prometheus.Registry
	counters
}

// New returns Metrics that start at zero. Everything that can be counted is there
// from the start, so that the first of its kind is seen as an increase.
func New(cfg Config) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), counters: newCounters(cfg.Listeners)}
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "gateway_build_info", Help: "The build, in its labels. Always 1.",
	}, []string{"version", "revision", "go"})
	build.WithLabelValues(cfg.Version, cfg.Revision, runtime.Version()).Set(1)
	m.registry.MustRegister(build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		m.connections, m.logins, m.plaintext, m.bytes, m.files, m.auditErrors)
	return m
}

// Watch adds what is asked at each scrape. It is called once, before Serve.
func (m *Metrics) Watch(s Sources) {
	if s.Sessions != nil {
		m.registry.MustRegister(collector{sessionsDesc(), func(send func(float64, ...string)) error {
			count := map[session.Protocol]int{}
			for _, info := range s.Sessions.Sessions() {
				count[info.Protocol]++
			}
			for _, p := range protocols() {
				send(float64(count[p]), string(p))
			}
			return nil
		}})
	}
	if s.Queue != nil {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gateway_queue_messages", Help: "Messages in the mail queue, held ones included.",
		}, func() float64 { return float64(s.Queue.Len()) }), prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "gateway_queue_syncs_total", Help: "How often the mail queue had something put on stable storage.",
		}, func() float64 { return float64(s.Queue.Syncs()) }))
	}
	if s.Passive != nil {
		m.registry.MustRegister(collector{passiveDesc(), func(send func(float64, ...string)) error {
			free, busy, _ := s.Passive.Stats()
			send(float64(free), "free")
			send(float64(busy), "busy")
			return nil
		}}, prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "gateway_ftp_passive_exhausted_total", Help: "How often no passive port was free.",
		}, func() float64 {
			_, _, exhausted := s.Passive.Stats()
			return float64(exhausted)
		}))
	}
	m.watchRules(s)
}

// watchRules adds what is asked about the rules and what they are to end.
func (m *Metrics) watchRules(s Sources) {
	if s.Exposed != nil {
		desc := prometheus.NewDesc("gateway_exposed_credentials", "Accounts with a password that is known to have crossed the network in clear.", nil, nil)
		m.registry.MustRegister(collector{desc, func(send func(float64, ...string)) error {
			ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
			defer cancel()
			n, err := s.Exposed(ctx)
			send(float64(n))
			return err
		}})
	}
	if s.Policy != nil {
		desc := prometheus.NewDesc("gateway_policy_info", "The rules in force, by their hash. Always 1.", []string{"hash"}, nil)
		m.registry.MustRegister(collector{desc, func(send func(float64, ...string)) error {
			send(1, s.Policy())
			return nil
		}})
	}
}

func sessionsDesc() *prometheus.Desc {
	return prometheus.NewDesc("gateway_sessions", "Sessions that are logged in now.", []string{"protocol"}, nil)
}

func passiveDesc() *prometheus.Desc {
	return prometheus.NewDesc("gateway_ftp_passive_ports", "Ports for passive data connections.", []string{"state"}, nil)
}

// collector is a gauge that is asked for when it is scraped.
type collector struct {
	desc *prometheus.Desc
	ask  func(send func(value float64, labels ...string)) error
}

// Describe implements prometheus.Collector.
func (c collector) Describe(to chan<- *prometheus.Desc) { to <- c.desc }

// Collect implements prometheus.Collector.
func (c collector) Collect(to chan<- prometheus.Metric) {
	var asked []prometheus.Metric
	err := c.ask(func(value float64, labels ...string) {
		asked = append(asked, prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, value, labels...))
	})
	if err != nil {
		to <- prometheus.NewInvalidMetric(c.desc, err)
		return
	}
	for _, m := range asked {
		to <- m
	}
}
