package ftp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"gateway/session"
)

// chunk is how much the kernel moves between two looks at the clock.
const chunk = 1 << 20

// finishTimeout is how long after our last byte the peer may take to close.
const finishTimeout = time.Second

// dataConn is an open data connection.
type dataConn struct {
	raw   *net.TCPConn
	guard *guarded // raw with a limit on silence
	tls   *tls.Conn
	sends bool // from us to the peer
	stall time.Duration
	count func(n int) // told of each piece moved
	// allow says how many of the next bytes may move now (transfer.Reader.Allow,
	// transfer.Writer.Allow). Nil is all of them.
	allow func(want int64) (int64, error)
	// progress counts what moved on the wire, where the guard does or the kernel.
	progress *atomic.Int64

	// lingers says that somebody else closes raw.
	lingers bool

	srv    *Server
	loan   *[]byte
	lender *sync.Pool
}

// close gives back what the connection holds.
func (d *dataConn) close() {
	d.giveBack()
	if !d.lingers {
		_ = d.raw.Close()
	}
}

// may is how many of the next want bytes may move now.
func (d *dataConn) may(want int64) (int64, error) {
	if d.allow == nil {
		return want, nil
	}
	return d.allow(want)
}

// full is the end of a file for which there is no more room: all is well if the
// peer has sent all of it.
func (d *dataConn) full(err error) error {
	if !errors.Is(err, session.ErrQuota) {
		return err
	}
	_ = d.raw.SetReadDeadline(time.Now().Add(d.stall))
	var more [1]byte
	switch n, readErr := d.Read(more[:]); {
	case n > 0:
		return err
	case readErr == io.EOF:
		return nil
	default:
		return readErr
	}
}

// buffer is what content moves through, on loan: bufferSize bytes, or what TLS
// leaves of them. Where the kernel moves the bytes none is taken.
func (d *dataConn) buffer() []byte {
	if d.tls != nil && d.sends {
		all := d.borrow(&d.srv.sealing)
		d.guard.held = all[pieceSize:][:0]
		return all[:pieceSize]
	}
	all := d.borrow(&d.srv.buffers)
	if d.tls == nil {
		return all
	}
	d.guard.readAhead(all[bufferSize-aheadSize:])
	return all[:bufferSize-aheadSize]
}

func (d *dataConn) borrow(pool *sync.Pool) []byte {
	if d.loan == nil {
		d.loan, d.lender = pool.Get().(*[]byte), pool
	}
	return *d.loan
}

func (d *dataConn) giveBack() {
	if d.loan != nil {
		d.lender.Put(d.loan)
		d.loan = nil
	}
}

// protect puts TLS on the connection; we are the TLS server whoever connected.
func (d *dataConn) protect(ctx context.Context, c *conn, j job) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.DataTimeout)
	defer cancel()
	settings := c.bound.data
	if !j.sends {
		settings = withoutTicket(settings)
	}
	acknowledgeAtOnce(d.raw)
	d.tls = tls.Server(d.guard, settings)
	if err := d.tls.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("%w: %w", errHandshake, err)
	}
	state := d.tls.ConnectionState()
	j.carried(session.TLSChannel(state))
	switch mode := c.sess.Data().Resumption(c.cfg.Resumption); {
	case state.DidResume, mode == session.ResumptionOff,
		mode == session.ResumptionPreferred && sameCertificate(state, c.tls.ConnectionState()):
		return nil
	default:
		return errUnbound
	}
}

// Write writes to the peer.
func (d *dataConn) Write(p []byte) (int, error) {
	var n int
	var err error
	if d.tls != nil {
		d.guard.gather(len(p))
		n, err = d.tls.Write(p)
		if flushed := d.guard.writeThrough(); err == nil {
			err = flushed
		}
	} else {
		n, err = d.guard.Write(p)
	}
	return n, broken(err)
}

// Read reads what the peer sends; io.EOF is its orderly end.
func (d *dataConn) Read(p []byte) (int, error) {
	var n int
	var err error
	if d.tls != nil {
		n, err = d.tls.Read(p)
	} else {
		n, err = d.guard.Read(p)
	}
	if err == io.EOF {
		return n, err
	}
	return n, broken(err)
}

// fill reads until p is full or there is no more. What came counts as moved at
// once: STAT shows it, and it is written whatever comes next.
func (d *dataConn) fill(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		m, err = d.Read(p[n:])
		d.count(m)
		n += m
	}
	return n, err
}

// sendFile lets the kernel send f from offset on, and not beyond end. The deadline rolls: as long as
// something moves within the stall time, it goes on.
func (d *dataConn) sendFile(f *os.File, offset, end int64) error {
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return fault(err)
	}
	for offset < end {
		may, err := d.may(min(chunk, end-offset))
		if err != nil {
			return err
		}
		_ = d.raw.SetWriteDeadline(time.Now().Add(d.stall))
		n, err := io.CopyN(d.raw, f, may)
		d.count(int(n))
		d.progress.Add(n)
		offset += n
		switch {
		case err == nil:
		case err == io.EOF:
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded) && n > 0:
			if _, err := f.Seek(offset, io.SeekStart); err != nil {
				return fault(err)
			}
		default:
			return fault(err)
		}
	}
	return nil
}

// receiveFile lets the kernel write what the peer sends to f, at its offset.
func (d *dataConn) receiveFile(f *os.File) error {
	for {
		may, err := d.may(chunk)
		if err != nil {
			return d.full(err)
		}
		_ = d.raw.SetReadDeadline(time.Now().Add(d.stall))
		n, err := io.CopyN(f, d.raw, may)
		d.count(int(n))
		d.progress.Add(n)
		switch {
		case err == nil, errors.Is(err, os.ErrDeadlineExceeded) && n > 0:
		case err == io.EOF:
			return nil
		default:
			return fault(err)
		}
	}
}

// send sends what src holds from offset on.
func (d *dataConn) send(src io.ReaderAt, offset int64) error {
	buf := d.buffer()
	for {
		may, err := d.may(int64(len(buf)))
		if err != nil {
			return err
		}
		n, err := src.ReadAt(buf[:may], offset)
		if n > 0 {
			if _, err := d.Write(buf[:n]); err != nil {
				return err
			}
			offset += int64(n)
			d.count(n)
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return fault(err)
		}
	}
}

// receive writes what the peer sends to dst from offset on.
func (d *dataConn) receive(dst io.WriterAt, offset int64) error {
	buf := d.buffer()
	for {
		may, err := d.may(int64(len(buf)))
		if err != nil {
			return d.full(err)
		}
		n, err := d.fill(buf[:may])
		if n > 0 {
			if _, err := dst.WriteAt(buf[:n], offset); err != nil {
				return fault(err)
			}
			offset += int64(n)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// finishSending tells the peer that this was all. In clear the close says so.
func (d *dataConn) finishSending() error {
	if d.tls == nil {
		return nil
	}
	_ = d.raw.SetDeadline(time.Now().Add(d.stall))
	if err := d.tls.CloseWrite(); err != nil {
		return broken(err)
	}
	return broken(d.raw.CloseWrite())
}

// linger waits a little for the peer to close a connection on which all was sent, and
// closes it. A peer answers our close_notify by its own, and if nobody read that any
// more the connection would be reset, which could cut the tail of what it has not read.
func linger(raw *net.TCPConn) {
	_ = raw.SetDeadline(time.Now().Add(finishTimeout))
	_, _ = io.CopyN(io.Discard, raw, maxLinger)
	_ = raw.Close()
}

// finishReceiving checks that what ended was meant to end: errTruncated if under
// TLS only the TCP connection was closed.
func (d *dataConn) finishReceiving() error {
	if d.tls == nil {
		return nil
	}
	truncated := d.guard.eof.Load() // before anything else reads
	_ = d.raw.SetDeadline(time.Now().Add(finishTimeout))
	_ = d.tls.CloseWrite()
	if truncated {
		return errTruncated
	}
	return nil
}

// cut closes at once, so that the peer cannot take what it has for a whole file.
func (d *dataConn) cut() {
	_ = d.raw.SetLinger(0)
	_ = d.raw.Close()
}

// broken says which fault of the connection err is.
func broken(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errStalled
	default:
		return fmt.Errorf("%w: %w", errBroken, innermost(err))
	}
}

// fault says whose fault err is when the kernel moved the bytes: a timeout of
// the socket comes as an error of the file, with the name of the file in it.
func fault(err error) error {
	var network *net.OpError
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return session.ErrNoSpace
	case errors.Is(err, syscall.EDQUOT):
		return session.ErrQuota
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &network),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ETIMEDOUT),
		errors.Is(err, net.ErrClosed):
		return broken(err)
	default:
		return innermost(err)
	}
}

// innermost strips file names and addresses, which are nobody's business in the
// record of a transfer.
func innermost(err error) error {
	if number, ok := errors.AsType[syscall.Errno](err); ok {
		return number
	}
	if path, ok := errors.AsType[*os.PathError](err); ok {
		return path.Err
	}
	return err
}
