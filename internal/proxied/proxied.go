// Package proxied reads the header with which a load balancer or another proxy
// tells where a connection that it forwards really comes from: the PROXY protocol,
// versions 1 and 2 (haproxy.org, doc/proxy-protocol.txt).
//
// It reads the header and not one byte more, so that afterwards the bare connection
// can be used for anything: a TLS handshake, sendfile. Whether the sender may be
// believed at all, its caller must have decided before, by Trusted: whoever may send
// a header may claim any address.
package proxied

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/pires/go-proxyproto"
)

const (
	// HeaderTimeout is how long a proxy may take to send its header. It sends it
	// first of all, at once.
	HeaderTimeout = 5 * time.Second

	// signatureSize is what both versions have at least, and can be told apart by.
	signatureSize = 12
	// prefixSize is the part of a header of version 2 that tells how long the rest is.
	prefixSize = 16
	// maxLine bounds a header of version 1, CRLF included (section 2.1).
	maxLine = 107
	// maxRest bounds what follows the prefix of a header of version 2. It may hold a
	// client certificate, which takes 1 to 2 KiB.
	maxRest = 4 << 10
)

// ErrHeader is every header that is missing, cut off, malformed or too long.
var ErrHeader = errors.New("PROXY header")

// A Header is what a proxy said of a connection.
type Header struct {
	// Own says that the proxy speaks for itself, as in a health check (LOCAL), or
	// does not know for whom (UNKNOWN): the addresses of the connection count.
	Own bool
	// Source and Destination are the client and where it connected to. They are not
	// set if Own.
	Source, Destination netip.AddrPort
}

// Read reads one header from c, for at most HeaderTimeout, and leaves c without a
// read deadline. After an error, which is an ErrHeader, c can only be closed.
func Read(c net.Conn) (Header, error) {
	if err := c.SetReadDeadline(time.Now().Add(HeaderTimeout)); err != nil {
		return Header{}, fault(err)
	}
	raw, err := readRaw(c)
	if err != nil {
		return Header{}, fault(err)
	}
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		return Header{}, fault(err)
	}
	h, err := parse(raw)
	if err != nil {
		return Header{}, fault(err)
	}
	return h, nil
}

func fault(err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%w: not sent within %v", ErrHeader, HeaderTimeout)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: the connection ended before it was complete", ErrHeader)
	default:
		return fmt.Errorf("%w: %w", ErrHeader, err)
	}
}

// readRaw reads the bytes of one header.
func readRaw(r io.Reader) ([]byte, error) {
	raw := make([]byte, signatureSize, maxLine)
	if _, err := io.ReadFull(r, raw); err != nil {
		return nil, err
	}
	switch {
	case bytes.Equal(raw, proxyproto.SIGV2):
		return readBinary(r, raw)
	case bytes.HasPrefix(raw, proxyproto.SIGV1):
		return readLine(r, raw)
	default:
		return nil, errors.New("missing: the connection begins with something else")
	}
}

// readLine reads the rest of a header of version 1. Its end cannot be known before
// it is there, so it comes byte by byte.
func readLine(r io.Reader, raw []byte) ([]byte, error) {
	if bytes.IndexByte(raw, '\n') >= 0 {
		return nil, errors.New("shorter than any can be")
	}
	for raw[len(raw)-1] != '\n' {
		if len(raw) == maxLine {
			return nil, fmt.Errorf("no end of line within %d bytes", maxLine)
		}
		raw = raw[:len(raw)+1]
		if _, err := io.ReadFull(r, raw[len(raw)-1:]); err != nil {
			return nil, err
		}
	}
	return raw, nil
}

// readBinary reads the rest of a header of version 2.
func readBinary(r io.Reader, raw []byte) ([]byte, error) {
	raw = raw[:prefixSize]
	if _, err := io.ReadFull(r, raw[signatureSize:]); err != nil {
		return nil, err
	}
	rest := int(binary.BigEndian.Uint16(raw[prefixSize-2:]))
	if rest > maxRest {
		return nil, fmt.Errorf("%d bytes follow its prefix, more than %d", rest, maxRest)
	}
	raw = slices.Grow(raw, rest)[:prefixSize+rest]
	_, err := io.ReadFull(r, raw[prefixSize:])
	return raw, err
}

// parse reads what must be one header and nothing else.
func parse(raw []byte) (Header, error) {
	r := bufio.NewReaderSize(bytes.NewReader(raw), prefixSize+maxRest)
	h, err := proxyproto.Read(r)
	if err != nil {
		return Header{}, err
	}
	if n := r.Buffered(); n != 0 {
		return Header{}, fmt.Errorf("%d bytes behind its end", n)
	}
	if h.Command.IsLocal() {
		return Header{Own: true}, nil
	}
	source, destination, ok := h.TCPAddrs()
	if !ok {
		return Header{}, errors.New("not of a TCP connection")
	}
	return Header{Source: addrPort(source), Destination: addrPort(destination)}, nil
}

func addrPort(a *net.TCPAddr) netip.AddrPort {
	ap := a.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// Trusted reports whether a connection from addr comes from one of the networks of
// proxies. Such a connection must begin with a header; on any other nothing is
// taken for one.
func Trusted(proxies []netip.Prefix, addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	return slices.ContainsFunc(proxies, func(p netip.Prefix) bool { return p.Contains(addr) })
}
