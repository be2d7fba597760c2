package listener

import (
	"fmt"

	"gateway/internal/proxied"
	"gateway/session"
)

// maxAwaited is how many connections of proxies may be waiting for their header at
// once. They are not counted among those of any source before it is known.
const maxAwaited = 512

// readHeader reads the header of a connection that comes from one of Proxies, and
// puts what it says into peer.
func (s *Server) readHeader(c *Conn, peer *session.Peer) (err error) {
	if !proxied.Trusted(s.Proxies, peer.Remote.Addr()) {
		return nil
	}
	c.proxied = true
	if err := s.await(c); err != nil {
		return err
	}
	defer s.awaitedNoMore(c)
	defer func() {
		if v := recover(); v != nil {
			s.panicked(*peer, v)
			err = session.ErrPanic
		}
	}()
	header, err := proxied.Read(c.Conn)
	if err != nil && s.draining() {
		return session.ErrShutdown
	}
	if err != nil {
		return fmt.Errorf("%w: %w", session.ErrHandshake, err)
	}
	if !header.Own {
		peer.Remote, peer.Local = header.Source, header.Destination
	}
	return nil
}

// await makes c one of those that Shutdown closes at once.
func (s *Server) await(c *Conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return session.ErrShutdown
	case len(s.awaited) >= maxAwaited:
		return fmt.Errorf("%w connections without a PROXY header", session.ErrTooMany)
	}
	if s.awaited == nil {
		s.awaited = make(map[*Conn]struct{})
	}
	s.awaited[c] = struct{}{}
	return nil
}

func (s *Server) awaitedNoMore(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.awaited, c)
}
