package smtp

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"gateway/queue"
	"gateway/session"
	"gateway/session/sessiontest"
)

// memoryQueue is a Queue in memory.
type memoryQueue struct {
	mu        sync.Mutex
	drafts    int // begun
	over      int // committed or discarded
	mails     []mailed
	fault     error         // what Commit returns
	committed chan struct{} // if set, Commit waits for it
}

type mailed struct {
	envelope queue.Envelope
	content  string
}

func (q *memoryQueue) Draft() Draft {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.drafts++
	return &memoryDraft{queue: q, id: fmt.Sprintf("q%d", q.drafts)}
}

func (q *memoryQueue) fail(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.fault = err
}

func (q *memoryQueue) all() []mailed {
	q.mu.Lock()
	defer q.mu.Unlock()
	return append([]mailed(nil), q.mails...)
}

type memoryDraft struct {
	queue *memoryQueue
	id    string
	buf   bytes.Buffer
	over  bool
}

func (d *memoryDraft) ID() string                  { return d.id }
func (d *memoryDraft) Write(p []byte) (int, error) { return d.buf.Write(p) }

func (d *memoryDraft) Commit(_ context.Context, e queue.Envelope) (string, error) {
	if d.queue.committed != nil {
		<-d.queue.committed
	}
	d.queue.mu.Lock()
	defer d.queue.mu.Unlock()
	if d.queue.fault != nil {
		return "", d.queue.fault
	}
	d.over = true
	d.queue.over++
	d.queue.mails = append(d.queue.mails, mailed{e, e.Header + d.buf.String()})
	return d.id, nil
}

func (d *memoryDraft) Discard() {
	d.queue.mu.Lock()
	defer d.queue.mu.Unlock()
	if !d.over {
		d.over = true
		d.queue.over++
	}
}

// fixture is a server with everything behind it in reach.
type fixture struct {
	*sessiontest.Core
	queue  *memoryQueue
	server *Server
	log    *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newFixture makes a server on which a password may be sent over TLS only, if
// rules is nil.
func newFixture(t testing.TB, rules sessiontest.Rules, change func(*Config)) *fixture {
	t.Helper()
	if rules == nil {
		rules = sessiontest.Encrypted
	}
	f := &fixture{Core: sessiontest.New(t, rules), queue: &memoryQueue{}, log: &lockedBuffer{}}
	cfg := Config{
		Gate: f.Gate, Name: "submission", Queue: f.queue, Hostname: "mx.test",
		TLS: serverTLS(t), Log: slog.New(slog.NewTextHandler(f.log, nil)),
	}
	if change != nil {
		change(&cfg)
	}
	f.server = New(cfg)
	t.Cleanup(func() {
		f.queue.mu.Lock()
		defer f.queue.mu.Unlock()
		if f.queue.drafts != f.queue.over {
			t.Errorf("%d drafts were begun, %d ended", f.queue.drafts, f.queue.over)
		}
	})
	return f
}

func anything(session.Request) session.Verdict { return session.Verdict{Allowed: true} }

// listen serves on a port of the kernel's choice until the test is over.
func (f *fixture) listen(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served, server := make(chan struct{}), f.server
	go func() { defer close(served); _ = server.Serve(context.Background(), ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_ = server.Shutdown(ctx)
		<-served
	})
	return ln.Addr().String()
}

// pipeListener hands out one end of net.Pipe; for tests in a synctest bubble.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

func (l *pipeListener) dial() net.Conn {
	client, server := net.Pipe()
	l.conns <- server
	return client
}

var testCertificate = sync.OnceValues(func() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mx.test"}, DNSNames: []string{"mx.test", "localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:   time.Unix(0, 0), NotAfter: time.Now().AddDate(10, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
})

func serverTLS(t testing.TB) *tls.Config {
	t.Helper()
	cert, err := testCertificate()
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}}
}

// clientTLS does not verify: these tests are about the protocol.
func clientTLS() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}
}
