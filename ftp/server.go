package ftp

import (
	"context"
	"errors"
	"net"
	"runtime"
	"sync"

	"gateway/internal/lineio"
	"gateway/internal/listener"
	"gateway/session"
)

// A Server serves FTP on any number of listeners. Make one with New.
type Server struct {
	cfg     Config
	server  *listener.Server
	table   map[string]command
	ports   *PassivePorts
	buffers sync.Pool // of *[]byte, bufferSize long
	// digests holds one entry for each digest that is at work, as many as there are
	// processors.
	digests chan struct{}
}

// bufferSize is that of the buffers through which bytes move that the kernel
// cannot move alone. A transfer holds one while it runs.
const bufferSize = 256 << 10

// New returns a Server. What is wrong with cfg is reported by Serve, or before
// by Config.Validate.
func New(cfg Config) *Server {
	s := &Server{cfg: cfg.withDefaults(), table: commandTable(), ports: cfg.PassivePorts, digests: make(chan struct{}, runtime.GOMAXPROCS(0))}
	if s.ports == nil {
		s.ports = &PassivePorts{}
	}
	s.buffers.New = func() any {
		b := make([]byte, bufferSize)
		return &b
	}
	s.server = &listener.Server{
		Gate: cfg.Gate, Name: cfg.Name, Protocol: session.FTP, Proxies: cfg.Proxies,
		Refuse: s.refuse, Handle: s.handle, Log: cfg.Log,
	}
	return s
}

// Serve accepts control connections on ln until Shutdown, ctx is done, or ln
// fails. It closes ln.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	if err := s.cfg.Validate(); err != nil {
		return errors.Join(err, ln.Close())
	}
	return s.server.Serve(ctx, ln)
}

// Shutdown stops accepting, says 421 to idle connections, lets transfers finish
// until ctx is done, and then cuts them. It returns when no connection is left.
func (s *Server) Shutdown(ctx context.Context) error { return s.server.Shutdown(ctx) }

// refuse answers a connection that is not served. Where TLS comes first nothing
// can be said.
func (s *Server) refuse(c net.Conn, cause error) {
	if !s.cfg.Implicit {
		_ = lineio.NewWriter(c).Reply(421, refusal(cause).text)
	}
}

func (s *Server) handle(ctx context.Context, lc *listener.Conn, a *session.Attempt) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := newConn(s, lc, a)
	defer c.end()
	return c.serve(ctx)
}
