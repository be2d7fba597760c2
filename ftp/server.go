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
	cfg    Config
	server *listener.Server
	table  map[string]command
	ports  *PassivePorts
	// buffers and sealing lend *[]byte, the latter for downloads over TLS.
	buffers, sealing sync.Pool
	// digests holds one entry for each digest that is at work, as many as there are
	// processors.
	digests chan struct{}
}

const (
	// bufferSize is that of the buffers through which bytes move that the kernel
	// cannot move alone. A transfer holds one while it runs, and nothing else that
	// grows with what it moves.
	bufferSize = 160 << 10
	// aheadSize is the part of it that an upload over TLS is read into, and the rest
	// holds what was decrypted.
	aheadSize = 64 << 10
	// A download over TLS has a buffer of its own kind: pieceSize is what is read and
	// encrypted at a time, sealedSize what gathers its records.
	pieceSize  = 256 << 10
	sealedSize = pieceSize + (pieceSize/recordSize+1)*recordOverhead
)

// New returns a Server. What is wrong with cfg is reported by Serve, or before
// by Config.Validate.
func New(cfg Config) *Server {
	s := &Server{cfg: cfg.withDefaults(), table: commandTable(), ports: cfg.PassivePorts, digests: make(chan struct{}, runtime.GOMAXPROCS(0))}
	if s.ports == nil {
		s.ports = &PassivePorts{}
	}
	s.buffers.New, s.sealing.New = lend(bufferSize), lend(pieceSize+sealedSize)
	s.server = &listener.Server{
		Gate: cfg.Gate, Name: cfg.Name, Protocol: session.FTP, Proxies: cfg.Proxies,
		Refuse: s.refuse, Handle: s.handle, Log: cfg.Log,
	}
	return s
}

// lend makes buffers of a size for a sync.Pool.
func lend(size int) func() any {
	return func() any {
		b := make([]byte, size)
		return &b
	}
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
