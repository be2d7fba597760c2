package metrics

import (
	"cmp"
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"gateway/session"
)

// counters are what events are counted in. The maps hold every combination of labels
// there can be, so that counting one is a look-up and an addition.
type counters struct {
	connections, logins, plaintext, bytes, files *prometheus.CounterVec
	auditErrors                                  prometheus.Counter

	connection map[connection]prometheus.Counter
	login      map[login]prometheus.Counter
	clear      map[clear]prometheus.Counter
	file       map[file]prometheus.Counter
	moved      map[moved]prometheus.Counter
}

type (
	connection struct {
		protocol          session.Protocol
		listener, outcome string
	}
	login struct {
		protocol session.Protocol
		outcome  string
		channel  session.ChannelKind
		method   session.Method
	}
	clear struct {
		protocol session.Protocol
		outcome  string
	}
	file struct {
		protocol session.Protocol
		verb     session.Verb
		outcome  string
	}
	moved struct {
		protocol session.Protocol
		in       bool
	}
)

// protocols are those that somebody can log in by.
func protocols() []session.Protocol {
	return []session.Protocol{session.FTP, session.SFTP, session.Submission, session.Relay}
}

// methods are those that somebody can log in with; empty for none, of what was over
// before one was chosen.
func methods() []session.Method {
	return []session.Method{
		"", session.MethodPassword, session.MethodPublicKey, session.MethodKeyboardInteractive, session.MethodSCRAM,
		session.MethodToken, session.MethodCode, session.MethodDevice,
	}
}

func newCounters(listeners []Listener) counters {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	c := counters{
		connections: counter("gateway_connections_total", "Connections that are over, by how they ended.", "protocol", "listener", "outcome"),
		logins:      counter("gateway_logins_total", "Logins that were decided; channel=\"plain\" crossed the network in clear or tried to.", "protocol", "outcome", "channel", "method"),
		plaintext:   counter("gateway_plaintext_credentials_total", "Credentials that crossed the network in clear, right or wrong, by what became of the login.", "protocol", "outcome"),
		bytes:       counter("gateway_transfer_bytes_total", "Content of files and mail moved; in is towards the gateway. Counted at the end of each transfer.", "protocol", "direction"),
		files:       counter("gateway_file_operations_total", "Operations on files. A stat that succeeded is not counted.", "protocol", "verb", "outcome"),
		auditErrors: prometheus.NewCounter(prometheus.CounterOpts{Name: "gateway_audit_errors_total", Help: "Events that could not be recorded."}),

		connection: make(map[connection]prometheus.Counter),
		login:      make(map[login]prometheus.Counter),
		clear:      make(map[clear]prometheus.Counter),
		file:       make(map[file]prometheus.Counter),
		moved:      make(map[moved]prometheus.Counter),
	}
	for _, l := range listeners {
		for _, o := range []string{
			session.OutcomeSession, session.OutcomeRefused, session.OutcomeFailed,
			session.OutcomeNoLogin, session.OutcomeHandshakeFailed, session.OutcomeBanned,
		} {
			c.connection[connection{l.Protocol, l.Name, o}] = c.connections.WithLabelValues(string(l.Protocol), l.Name, o)
		}
	}
	for _, p := range protocols() {
		// Before its handshake a connection to any of them has a plain channel.
		channels := []session.ChannelKind{session.Plain, session.TLS}
		if p == session.SFTP {
			channels = []session.ChannelKind{session.Plain, session.SSH}
		}
		for _, o := range []string{session.OutcomeGranted, session.OutcomeRefused, session.OutcomeFailed, session.OutcomeError} {
			for _, k := range channels {
				for _, m := range methods() {
					c.login[login{p, o, k, m}] = c.logins.WithLabelValues(string(p), o, k.String(), cmp.Or(string(m), "none"))
				}
			}
			c.clear[clear{p, o}] = c.plaintext.WithLabelValues(string(p), o)
		}
		c.moved[moved{p, true}] = c.bytes.WithLabelValues(string(p), "in")
		if p != session.FTP && p != session.SFTP {
			continue
		}
		c.moved[moved{p, false}] = c.bytes.WithLabelValues(string(p), "out")
		for _, v := range []session.Verb{
			session.Read, session.Write, session.Append, session.List, session.Stat, session.Remove,
			session.Rename, session.Mkdir, session.Rmdir, session.SetAttr, session.Link,
		} {
			for _, o := range []string{session.OutcomeDone, session.OutcomeFailed, session.OutcomeRefused} {
				c.file[file{p, v, o}] = c.files.WithLabelValues(string(p), string(v), o)
			}
		}
	}
	return c
}

// Recorder returns a Recorder that counts events and hands them on to next.
func (m *Metrics) Recorder(next session.Recorder) session.Recorder { return recorder{next, m} }

type recorder struct {
	next    session.Recorder
	metrics *Metrics
}

// Commit implements session.Recorder.
func (r recorder) Commit(ctx context.Context, e session.Event) error {
	return r.metrics.count(&e, r.next.Commit(ctx, e))
}

// Append implements session.Recorder.
func (r recorder) Append(e session.Event) error {
	return r.metrics.count(&e, r.next.Append(e))
}

// count counts e after it was recorded, or could not be: then what it says may not
// have happened, unless it is about something that is over.
func (c *counters) count(e *session.Event, err error) error {
	if err != nil {
		c.auditErrors.Inc()
	}
	switch e.Event {
	case session.EventConnection:
		add(c.connection[connection{e.Protocol, e.Listener, e.Outcome}], e.Count)
	case session.EventLogin:
		key := login{protocol: e.Protocol, outcome: e.Outcome, method: e.Method}
		if e.Channel != nil {
			key.channel = e.Channel.Kind
		}
		if err != nil && e.Outcome == session.OutcomeGranted {
			key.outcome = session.OutcomeError // it is not granted then
		}
		add(c.login[key], 1)
		if e.Credential == session.CredentialPlaintext {
			add(c.clear[clear{e.Protocol, key.outcome}], 1)
		}
	case session.EventFile:
		if e.Outcome == session.OutcomeBegun {
			break
		}
		add(c.file[file{e.Protocol, e.Verb, e.Outcome}], 1)
		if e.Verb == session.Read || e.Verb == session.Write || e.Verb == session.Append {
			add(c.moved[moved{e.Protocol, e.Verb != session.Read}], e.Bytes)
		}
	case session.EventMail:
		if e.Verb == session.Accept && e.Outcome == session.OutcomeDone {
			add(c.moved[moved{e.Protocol, true}], e.Size)
		}
	}
	return err
}

// add adds n, which is not below zero, to a counter that there is.
func add(c prometheus.Counter, n int64) {
	if c != nil && n > 0 {
		c.Add(float64(n))
	}
}
