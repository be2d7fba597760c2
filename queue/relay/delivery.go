package relay

import (
	"context"
	"errors"
	"net"
	"time"
)

const (
	// maxHosts bounds the mail exchangers that are tried for one message.
	maxHosts = 10
	// maxAddresses bounds the addresses of each.
	maxAddresses = 6
	// maxConnects bounds the connections that are tried for one message.
	maxConnects = 12
)

// delivery is one Deliver. One goroutine uses it.
type delivery struct {
	client   *Client
	target   Target
	message  Message
	timeouts Timeouts
	result   Result
	done     []bool // recipients that have their answer
}

// run delivers by a connection that is there or by a new one, to the first host
// that takes part in a transaction.
func (d *delivery) run(ctx context.Context) error {
	if err := d.message.check(); err != nil {
		return err
	}
	for {
		c := d.client.idle.take(d.target, d.message.RequireTLS && !d.local())
		if c == nil {
			break
		}
		err := d.use(ctx, c)
		// A peer may have closed the connection meanwhile, which says nothing.
		if f, ok := errors.AsType[*fault](err); !ok || !f.stale {
			return err
		}
	}
	if d.target.Domain != "" {
		return d.runMX(ctx)
	}
	e := d.target.Endpoint
	h := host{name: e.ServerName, demand: demand{authenticate: d.target.TLS == Required || e.ImplicitTLS || !d.target.Auth.IsZero()}}
	if d.message.RequireTLS && !d.local() {
		h.demand.authenticate, h.demand.requireTLS = true, true
	}
	return d.try(ctx, h, e.Network, e.Address)
}

// local is a socket of this host, which nobody else reads.
func (d *delivery) local() bool { return d.target.Domain == "" && d.target.Endpoint.Network == "unix" }

func (d *delivery) runMX(ctx context.Context) error {
	hosts, err := d.client.findHosts(ctx, d.target.Domain)
	if err != nil {
		return err
	}
	worst, connects := error(nil), 0
	for _, candidate := range hosts.list {
		h, addresses, err := d.client.locate(ctx, hosts, candidate, d.target.TLS, d.message.RequireTLS)
		if err != nil {
			worst = worse(worst, d.at(candidate, err))
			continue
		}
		for _, a := range addresses {
			if connects++; connects > maxConnects || ctx.Err() != nil {
				return d.cut(ctx, worst)
			}
			err := d.try(ctx, h, "tcp", a.String())
			f, ok := errors.AsType[*fault](err)
			if !ok || !f.next {
				return err
			}
			worst = worse(worst, d.at(h.name, err))
		}
	}
	return d.cut(ctx, worst)
}

// at adds the name of the host to a fault.
func (d *delivery) at(name string, err error) error {
	f, ok := errors.AsType[*fault](err)
	if !ok || name == d.target.Domain {
		return err
	}
	g := *f
	g.status.Text = clean(name + ": " + f.status.Text)
	return &g
}

// worse chooses what to say when several hosts failed: a fault that may pass
// outweighs one that does not, and the last of a kind the ones before.
func worse(a, b error) error {
	f, ok := errors.AsType[*fault](b)
	if g, was := errors.AsType[*fault](a); ok && was && f.status.Outcome == Failed && g.status.Outcome != Failed {
		return a
	}
	return b
}

// try connects to one address and delivers there.
func (d *delivery) try(ctx context.Context, h host, network, address string) error {
	d.result.RemoteHost, d.result.RemoteName, d.result.TLS = address, h.name, ""
	c, err := d.client.connect(ctx, d, h, network, address)
	if err != nil {
		return d.cut(ctx, err)
	}
	return d.use(ctx, c)
}

// use makes one transaction with c, and keeps it or closes it.
func (d *delivery) use(ctx context.Context, c *conn) error {
	d.result.RemoteHost, d.result.RemoteName, d.result.TLS = c.remote, c.host, c.tls
	c.messages++
	c.begin(d.timeouts.Block)
	t := &transaction{conn: c, delivery: d}
	stop := context.AfterFunc(ctx, c.abort)
	err := t.run()
	cut := !stop()
	f, refused := errors.AsType[*fault](err)
	if err != nil && !refused {
		// Without a reply to a single command a connection that was kept was dead. A
		// new one is to a host that does not work. With content under way there is no
		// way back.
		f = &fault{status: brokenStatus(err), broken: true, next: !t.begun, stale: c.messages > 1 && t.replies == 0}
		err = f
	}
	d.result.Down = f != nil && f.next
	if cut || f != nil && f.broken || c.reader.Buffered() > 0 {
		c.end()
		c.abort()
	} else {
		d.client.idle.put(d.client, d.target, c)
	}
	if cut {
		return d.cut(ctx, err)
	}
	return err
}

// cut says so if it was us who ended the connection.
func (d *delivery) cut(ctx context.Context, err error) error {
	if ctx.Err() != nil && err != nil {
		return deferred("4.4.2", "cut: %s", context.Cause(ctx))
	}
	return err
}

// failRest answers for everybody who has no answer yet.
func (d *delivery) failRest(err error) {
	s := brokenStatus(err)
	if f, ok := errors.AsType[*fault](err); ok {
		s = f.status
	}
	for i, done := range d.done {
		if !done {
			d.answer(i, s)
		}
	}
}

func (d *delivery) answer(i int, s Status) {
	d.result.Statuses[i], d.done[i] = s, true
}

// brokenStatus is what an error of a connection means.
func brokenStatus(err error) Status {
	if errors.Is(err, errReply) {
		return Status{Enhanced: "4.5.0", Text: clean(err.Error())}
	}
	return Status{Enhanced: "4.4.2", Text: clean(err.Error())}
}

func dialReason(err error) string {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err
	}
	return clean(err.Error())
}

// wireTimeout bounds words on which nothing depends: QUIT, and what a peer may
// have said before it stopped listening.
const wireTimeout = 2 * time.Second
