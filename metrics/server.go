package metrics

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"
)

// The bounds of the listener. Only Prometheus, and a person with curl, come here.
const (
	maxConnections    = 16
	maxScrapes        = 4 // at the same time; others are answered 503
	maxHeaderBytes    = 8 << 10
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	scrapeTimeout     = 10 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = 2 * time.Minute // longer than any usual scrape interval
)

// A Server serves GET /metrics, over HTTP and to whoever asks.
type Server struct {
	http http.Server
}

// Server returns a Server of m. log may be nil for slog.Default.
func (m *Metrics) Server(log *slog.Logger) *Server {
	if log == nil {
		log = slog.Default()
	}
	errorLog := slog.NewLogLogger(log.Handler(), slog.LevelWarn)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, ErrorLog: errorLog,
		MaxRequestsInFlight: maxScrapes, Timeout: scrapeTimeout,
	}))
	return &Server{http: http.Server{
		Handler: mux, ErrorLog: errorLog, MaxHeaderBytes: maxHeaderBytes,
		ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
	}}
}

// Serve answers on ln until Shutdown, ctx is done, or ln fails. It closes ln.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = s.http.Close() })
	defer stop()
	return s.http.Serve(netutil.LimitListener(ln, maxConnections))
}

// Shutdown stops accepting and waits for the answers that are under way; when ctx is
// done it cuts them and returns its error.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		_ = s.http.Close()
	}
	return err
}
