package sftp

import (
	"encoding/binary"
	"errors"
	"io"
	"sync"
)

// maxPacket is the longest packet taken, without its length; the draft's 34000
// (section 3) is the least, 256 KiB is what OpenSSH takes.
const maxPacket = 256 << 10

// errPacket is a packet whose length cannot be.
var errPacket = errors.New("packet length out of range")

// order stands between a channel and the request server and follows where
// packets begin and end. The request server works off requests by several
// goroutines at once, which is right for reads and writes at offsets and for
// nothing else: a handle that is guessed while its SSH_FXP_OPEN runs would meet
// it half made, and attributes could be set before the writes that came first.
// So order hands on a read or write when all requests but such are answered, and
// any other request when all are. While a file is open for appending, where each
// write goes behind the one before it, it hands on one request at a time.
type order struct {
	ch io.ReadWriteCloser

	in, out packet // in is used by Read alone, out by Write alone
	alone   bool   // the last request must be answered before the next; used by Read alone

	mu       sync.Mutex
	answered sync.Cond
	waiting  int // requests without an answer
	serial   int // files open for appending
	closed   bool
}

// Types of request that may run at the same time.
const (
	typeRead  = 5
	typeWrite = 6
)

func newOrder(ch io.ReadWriteCloser) *order {
	o := &order{ch: ch}
	o.answered.L = &o.mu
	return o
}

// Read never crosses the end of a packet or of its length.
func (o *order) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if o.in.atStart() {
		alone := o.alone
		o.settle(func() bool { return alone || o.serial > 0 })
	}
	first := o.in.atBody()
	n, err := o.ch.Read(p[:min(len(p), o.in.rest())])
	if first && n > 0 {
		// The request server has the packet only when it has the last byte of it.
		if o.alone = p[0] != typeRead && p[0] != typeWrite; o.alone {
			o.settle(func() bool { return true })
		}
	}
	_, whole, bad := o.in.follow(p[:n])
	if bad != nil {
		return 0, bad
	}
	if whole {
		o.mu.Lock()
		o.waiting++
		o.mu.Unlock()
	}
	if err != nil {
		// The request server forgets answers that wait to be sent when it learns of the
		// end, so that it learns of it when there are none.
		o.settle(func() bool { return true })
	}
	return n, err
}

// settle waits until all requests are answered or no answer can be sent. It
// waits only while needed, which is called with the lock held, says so.
func (o *order) settle(needed func() bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for needed() && o.waiting > 0 && !o.closed {
		o.answered.Wait()
	}
}

func (o *order) Write(p []byte) (int, error) {
	n, err := o.ch.Write(p)
	o.mu.Lock()
	defer o.mu.Unlock()
	for sent := p[:n]; len(sent) > 0; {
		used, whole, bad := o.out.follow(sent)
		if bad != nil {
			return n, errors.Join(err, bad)
		}
		if whole {
			o.waiting--
		}
		sent = sent[used:]
	}
	if err != nil {
		o.closed = true // no answer will come any more
	}
	o.answered.Broadcast()
	return n, err
}

func (o *order) Close() error {
	o.mu.Lock()
	o.closed = true
	o.answered.Broadcast()
	o.mu.Unlock()
	return o.ch.Close()
}

// append counts the files that are open for appending, by +1 and -1.
func (o *order) append(n int) {
	o.mu.Lock()
	o.serial += n
	o.answered.Broadcast()
	o.mu.Unlock()
}

// packet follows the packets in a stream: four bytes of length, then so many.
type packet struct {
	head  [4]byte
	have  int  // bytes of head
	left  int  // bytes of the body to come
	begun bool // some of the body came
}

func (p *packet) atStart() bool { return p.have == 0 }

// atBody reports whether the length is known and nothing of the body came.
func (p *packet) atBody() bool { return p.have == len(p.head) && !p.begun }

// rest is how many bytes may come before follow must be asked again.
func (p *packet) rest() int {
	if p.have < len(p.head) {
		return len(p.head) - p.have
	}
	return p.left
}

// follow takes the bytes of b up to the end of a length or of a packet; whole
// says that a packet ended.
func (p *packet) follow(b []byte) (used int, whole bool, err error) {
	used = min(len(b), p.rest())
	if p.have < len(p.head) {
		p.have += copy(p.head[p.have:], b[:used])
		if p.have < len(p.head) {
			return used, false, nil
		}
		length := binary.BigEndian.Uint32(p.head[:])
		if length == 0 || length > maxPacket {
			return used, false, errPacket
		}
		p.left = int(length)
		return used, false, nil
	}
	p.left -= used
	p.begun = p.begun || used > 0
	if p.left == 0 {
		p.have, p.begun = 0, false
		return used, true, nil
	}
	return used, false, nil
}
