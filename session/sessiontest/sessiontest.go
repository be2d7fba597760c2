// Package sessiontest has small stand-ins for what lies behind a session.Gate,
// for the tests of the gate and of the front-ends: accounts in a map, rules in a
// function, a record in memory, limits that never bite unless told to.
package sessiontest

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gateway/session"
)

// Accounts is an Authenticator over a map. Passwords are compared as they are.
type Accounts struct {
	mu       sync.Mutex
	accounts map[string]account
	verified int
	fault    error
	// OnVerify, if set, runs while a proof is checked.
	OnVerify func()
}

type account struct {
	session.Account
	password string
	key      string
	code     string
	token    string
	senders  []string
}

// Add makes an account; key is the wire form of its public key, or "".
func (a *Accounts) Add(user, password, key string, groups ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.accounts == nil {
		a.accounts = make(map[string]account)
	}
	a.accounts[user] = account{
		Account: session.Account{Known: true, Identity: session.Identity{
			User: user, Groups: groups, Addresses: []string{user + "@example.com"}, Access: session.FullAccess(),
		}},
		password: password, key: key,
	}
}

// Code makes code the one-time code of the account.
func (a *Accounts) Code(user, code string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	acc := a.accounts[user]
	acc.code = code
	a.accounts[user] = acc
}

// Token makes token one of the account, good for these senders only; none means all.
func (a *Accounts) Token(user, token string, senders ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	acc := a.accounts[user]
	acc.token, acc.senders = token, senders
	a.accounts[user] = acc
}

// Mail changes what the account may send, from its next login on.
func (a *Accounts) Mail(user string, l session.MailLimits) {
	a.mu.Lock()
	defer a.mu.Unlock()
	acc := a.accounts[user]
	acc.Identity.Mail = l
	a.accounts[user] = acc
}

// Allow changes what the account may do with files, from its next login on.
func (a *Accounts) Allow(user string, access session.Access) {
	a.mu.Lock()
	defer a.mu.Unlock()
	acc := a.accounts[user]
	acc.Identity.Access = access
	a.accounts[user] = acc
}

// Disable makes the account unusable; sessions it has are the Gate's to revoke.
func (a *Accounts) Disable(user string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	acc := a.accounts[user]
	acc.Disabled = true
	a.accounts[user] = acc
}

// Change is any change of the account.
func (a *Accounts) Change(user string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	acc := a.accounts[user]
	acc.Generation++
	a.accounts[user] = acc
}

// Fail makes every answer err, until Fail(nil).
func (a *Accounts) Fail(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fault = err
}

// Verified is how many proofs were checked.
func (a *Accounts) Verified() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.verified
}

// Lookup implements session.Authenticator.
func (a *Accounts) Lookup(_ context.Context, _ netip.Addr, user string) (session.Account, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.accounts[user].Account, a.fault
}

// Verify implements session.Authenticator. An exchange is right if the response to
// the challenge "challenge" is the password.
func (a *Accounts) Verify(_ context.Context, _ netip.Addr, c session.Credential) (session.Proof, error) {
	if a.OnVerify != nil {
		a.OnVerify()
	}
	if c.Method == session.MethodSCRAM {
		response, err := c.Exchange.Ask("challenge")
		if err != nil {
			return session.Proof{}, err
		}
		c.Secret, c.Exchange.Final = session.NewSecret(response), "final"
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.verified++
	if a.fault != nil {
		return session.Proof{}, a.fault
	}
	acc, known := a.accounts[c.User]
	want := acc.password
	var proof session.Proof
	switch c.Method {
	case session.MethodCode:
		want = acc.code
	case session.MethodToken:
		want, proof = acc.token, session.Proof{Token: "token", Senders: acc.senders}
	}
	right := known && c.Method == session.MethodPublicKey && acc.key != "" && c.Key.Blob == acc.key ||
		known && c.Method != session.MethodPublicKey && !c.Secret.Empty() && c.Secret == session.NewSecret(want)
	if !right {
		return session.Proof{}, session.ErrDenied
	}
	return proof, nil
}

// Knows implements session.Authenticator.
func (a *Accounts) Knows(_ context.Context, _ netip.Addr, user string, key session.Key) (session.KeyAnswer, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	acc := a.accounts[user]
	return session.KeyAnswer{Known: acc.key != "" && acc.key == key.Blob}, a.fault
}

// Rules is a Policy made of a function; nil allows everything.
type Rules func(session.Request) session.Verdict

// Decide implements session.Policy.
func (r Rules) Decide(q session.Request) session.Verdict {
	if r == nil {
		return session.Verdict{Allowed: true}
	}
	return r(q)
}

// Hash implements session.Policy.
func (Rules) Hash() string { return "test" }

// Encrypted is the rule that no credential may be sent in clear.
func Encrypted(q session.Request) session.Verdict {
	if q.Phase != session.PhaseConnect && !q.Channel.Encrypted() {
		return session.Verdict{Insecure: true, Rule: `require "encrypted-login" (test)`, Reason: "channel is plain", Hint: "Use TLS."}
	}
	return session.Verdict{Allowed: true}
}

// Factors is the rule that one of the ways must be proven, each such as
// "publickey+password".
func Factors(ways ...string) Rules {
	list := make([]session.Factors, len(ways))
	for i, text := range ways {
		f, err := session.ParseFactors(text)
		if err != nil {
			panic(err) // a test that is wrong
		}
		list[i] = f
	}
	lacking := session.LackingAllBut(list...)
	return func(q session.Request) session.Verdict {
		if q.Phase == session.PhaseVerified && lacking.More(q.Proven) {
			return session.Verdict{Rule: `require "factors" (test)`, Reason: "not proven", Lacking: lacking}
		}
		return session.Verdict{Allowed: true, Lacking: lacking}
	}
}

// Record is a Recorder in memory.
type Record struct {
	mu     sync.Mutex
	events []session.Event
	fault  error
}

// Fail makes the record refuse every event, until Fail(nil).
func (r *Record) Fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fault = err
}

// Commit implements session.Recorder.
func (r *Record) Commit(_ context.Context, e session.Event) error { return r.Append(e) }

// Append implements session.Recorder.
func (r *Record) Append(e session.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fault != nil {
		return r.fault
	}
	e.Seq = int64(len(r.events) + 1)
	e.Time = time.Now()
	r.events = append(r.events, e)
	return nil
}

// Events returns the events of one kind, or all for "".
func (r *Record) Events(kind string) []session.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []session.Event
	for _, e := range r.events {
		if kind == "" || e.Event == kind {
			list = append(list, e)
		}
	}
	return list
}

// Outcomes returns "event outcome" of every event, in order.
func (r *Record) Outcomes() []string {
	var list []string
	for _, e := range r.Events("") {
		list = append(list, e.Event+" "+e.Outcome)
	}
	return list
}

// Limits is a Limiter that lets everything pass but what was set.
type Limits struct {
	mu       sync.Mutex
	errs     map[string]error
	offences []session.Offence
	admitted int
	inside   int
}

// Refuse makes Admit, Guess or Enter (by that name) return err; nil lifts it.
func (l *Limits) Refuse(method string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.errs == nil {
		l.errs = make(map[string]error)
	}
	l.errs[method] = err
}

// Offences returns what peers were charged for.
func (l *Limits) Offences() []session.Offence {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.offences)
}

// Held returns how many connections and sessions were not given back.
func (l *Limits) Held() (admitted, inside int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.admitted, l.inside
}

// Admit implements session.Limiter.
func (l *Limits) Admit(session.Peer) (session.Admission, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.errs["Admit"]; err != nil {
		return nil, err
	}
	l.admitted++
	return &admission{limits: l}, nil
}

type admission struct {
	limits *Limits
	once   sync.Once
}

func (*admission) LoggedIn() {}

func (a *admission) Release() {
	a.once.Do(func() {
		a.limits.mu.Lock()
		a.limits.admitted--
		a.limits.mu.Unlock()
	})
}

// Guess implements session.Limiter.
func (l *Limits) Guess(session.Peer, string, session.Method) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.errs["Guess"]
}

// Throttle implements session.Limiter.
func (l *Limits) Throttle(session.Peer, session.Rate) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.errs["Throttle"]
}

// Offend implements session.Limiter.
func (l *Limits) Offend(_ session.Peer, _ string, o session.Offence) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.offences = append(l.offences, o)
}

// Succeeded implements session.Limiter.
func (l *Limits) Succeeded(session.Peer, string) {}

// Enter implements session.Limiter.
func (l *Limits) Enter(string) (func(), error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.errs["Enter"]; err != nil {
		return nil, err
	}
	l.inside++
	return func() {
		l.mu.Lock()
		l.inside--
		l.mu.Unlock()
	}, nil
}

// MailCounter lets everybody with a limit send two messages, and says until when.
type MailCounter struct {
	mu    sync.Mutex
	sent  map[string]int
	fault error
}

// LimitEnds is when a limit of a MailCounter ends.
func LimitEnds() time.Time { return time.Date(2027, 1, 1, 8, 0, 0, 0, time.UTC) }

// Fail makes every answer err, until Fail(nil).
func (m *MailCounter) Fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = err
}

// Room implements session.MailCounter.
func (m *MailCounter) Room(user string, _ session.MailLimits, _ []string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.room(user)
}

func (m *MailCounter) room(user string) error {
	if m.fault == nil && m.sent[user] == 2 {
		return &session.LimitError{What: "2 messages", Until: LimitEnds()}
	}
	return m.fault
}

// Take implements session.MailCounter.
func (m *MailCounter) Take(user string, _ session.MailLimits, _ []string) (giveBack func(), err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.room(user); err != nil {
		return nil, err
	}
	if m.sent == nil {
		m.sent = make(map[string]int)
	}
	m.sent[user]++
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.sent[user]--
	}, nil
}

// Core is a Gate with everything behind it in reach.
type Core struct {
	Gate     *session.Gate
	Accounts *Accounts
	Record   *Record
	Limits   *Limits
	Mail     *MailCounter
}

// New returns a Core with the rules given and the accounts alice (password
// "right", group users) and bob (password "bob", no group). Failures are
// answered on a grid of a millisecond. The test fails at its end if a connection
// or session was not given back.
func New(t testing.TB, rules Rules) *Core {
	t.Helper()
	return NewWith(t, rules, func(*session.Config) {})
}

// NewWith is New with a Config that was changed.
func NewWith(t testing.TB, rules Rules, change func(*session.Config)) *Core {
	t.Helper()
	c := &Core{Accounts: &Accounts{}, Record: &Record{}, Limits: &Limits{}, Mail: &MailCounter{}}
	c.Accounts.Add("alice", "right", "", "users")
	c.Accounts.Add("bob", "bob", "")
	cfg := session.Config{
		Auth: c.Accounts, Policy: rules, Recorder: c.Record, Limiter: c.Limits,
		NameKey: []byte("test"), FailureTime: time.Millisecond, Mail: c.Mail,
	}
	change(&cfg)
	c.Gate = session.NewGate(cfg)
	t.Cleanup(func() {
		c.Gate.Close()
		if admitted, inside := c.Limits.Held(); admitted != 0 || inside != 0 {
			t.Errorf("at the end: %d connections and %d sessions were not given back", admitted, inside)
		}
	})
	return c
}

// Peer is a peer with a fresh connection id at 192.0.2.7.
func Peer(p session.Protocol) session.Peer {
	return session.Peer{
		Conn: session.NewID(), Listener: string(p), Protocol: p,
		Remote: netip.MustParseAddrPort("192.0.2.7:40000"), Local: netip.MustParseAddrPort("192.0.2.1:21"),
	}
}

// Connect connects a Peer of protocol p, over a channel of that kind.
func (c *Core) Connect(t testing.TB, p session.Protocol, kind session.ChannelKind) *session.Attempt {
	t.Helper()
	a, err := c.Gate.Connect(t.Context(), Peer(p))
	if err != nil {
		t.Fatalf("Connect: %v", err)
	}
	if kind != session.Plain {
		a.Upgraded(session.Channel{Kind: kind})
	}
	t.Cleanup(func() { a.Close(nil) })
	return a
}

// String describes an event for failure messages.
func String(e session.Event) string {
	return fmt.Sprintf("%s %s user=%q reason=%q verb=%s path=%q", e.Event, e.Outcome, e.User, e.Reason, e.Verb, e.Path)
}

// Like compares a line with a pattern in which "*" stands for anything, for
// dialogues written as text.
func Like(line, pattern string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return line == pattern
	}
	if !strings.HasPrefix(line, parts[0]) {
		return false
	}
	line = line[len(parts[0]):]
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(line, part)
		if i < 0 {
			return false
		}
		line = line[i+len(part):]
	}
	return strings.HasSuffix(line, parts[len(parts)-1])
}
