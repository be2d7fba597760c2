package property

import (
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"gateway/session"
)

// A world is who has an account, what they can prove, and what is remembered of
// them. It is what the front-ends are told through the gate, and what the test knows
// without them.
type world struct {
	people map[string]*person
	// like says for each name without an account whose facts stand for its own.
	like map[string]string

	mu       sync.Mutex
	verified []verified
	exposed  []string
	suspects []string
}

// A person is an account.
type person struct {
	groups      []string
	password    string
	token       string
	code        string
	key         string // the name of one of keys, or ""
	certificate bool   // has the key of certificateOf(knownCertificate)
	disabled    bool
	passwordSet time.Time
	exposed     time.Time
	places      []netip.Prefix
	favourite   session.Client // the class of the client that the floors are about
	floors      session.Floors
}

// verified is a proof that was checked.
type verified struct {
	user   string
	method session.Method
}

func knownNames() []string   { return []string{"alice", "bob", "carol", "dave", "erin"} }
func unknownNames() []string { return []string{"mallory", "nobody", "ghost"} }
func allNames() []string     { return append(knownNames(), unknownNames()...) }

// The networks of the peers, and some that nobody is in.
func places() []string { return []string{"10.1.2.0/24", "192.0.2.0/24", "2001:db8:1::/48"} }

// newWorld is the same for the same seed.
func newWorld(seed uint64) *world {
	r := rand.New(rand.NewPCG(seed, 1))
	w := &world{people: make(map[string]*person), like: make(map[string]string)}
	for _, name := range knownNames() {
		p := &person{
			groups: some(r, "g", "h"), password: "right-" + name, code: fmt.Sprintf("%06d", r.IntN(1_000_000)),
			key: pick(r, "", "ed25519", "ecdsa-256", "ed25519"), certificate: name == "alice" && r.IntN(2) == 0, disabled: r.IntN(8) == 0,
			passwordSet: begin().AddDate(0, 0, -r.IntN(150)), favourite: session.Client(r.IntN(4)),
		}
		if r.IntN(2) == 0 {
			p.token = tokenOf(name)
		}
		if r.IntN(3) == 0 {
			p.exposed = begin().AddDate(0, 0, -r.IntN(40))
		}
		for _, place := range some(r, places()...) {
			p.places = append(p.places, netip.MustParsePrefix(place))
		}
		for l := range session.Levels {
			p.floors.Client[l], p.floors.Account[l], p.floors.Quiet[l] = uint16(r.IntN(4)), uint16(r.IntN(6)), uint16(r.IntN(50))
		}
		w.people[name] = p
	}
	for _, name := range append(unknownNames(), "") {
		w.like[name] = pick(r, knownNames()...)
	}
	return w
}

// tokenOf is a token in its form.
func tokenOf(name string) string {
	const digits = "abcdefghijklmnopqrstuvwxyz234567"
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	r := rand.New(rand.NewPCG(h.Sum64(), 0))
	token := "gwt-"
	for range 26 {
		token += string(digits[r.IntN(len(digits))])
	}
	return token
}

// subject is the account whose facts count for a name, and its name.
func (w *world) subject(name string) (*person, string) {
	if p := w.people[name]; p != nil {
		return p, ""
	}
	return w.people[w.like[name]], w.like[name]
}

// right reports whether a proof is one of that account's.
func (w *world) right(user string, p proof) bool {
	who := w.people[user]
	if who == nil || p.Secret == "" {
		return false
	}
	switch p.Method {
	case session.MethodPublicKey:
		return p.Secret == who.key || p.Secret == knownCertificate && who.certificate
	case session.MethodToken:
		return p.Secret == who.token
	case session.MethodCode:
		return p.Secret == who.code
	default:
		return p.Secret == who.password
	}
}

// Lookup implements session.Authenticator.
func (w *world) Lookup(_ context.Context, _ netip.Addr, user string) (session.Account, error) {
	if p := w.people[user]; p != nil {
		return session.Account{
			Known: true, Disabled: p.disabled, PasswordSet: p.passwordSet, Generation: 1,
			Identity: session.Identity{User: user, Groups: p.groups, Access: session.FullAccess()},
		}, nil
	}
	as := w.like[user]
	p := w.people[as]
	return session.Account{As: as, Identity: session.Identity{Groups: p.groups}, PasswordSet: p.passwordSet}, nil
}

// Verify implements session.Authenticator, and notes what it was asked. An exchange
// is right if what answers the challenge is the password.
func (w *world) Verify(_ context.Context, _ netip.Addr, c session.Credential) (session.Proof, error) {
	w.mu.Lock()
	w.verified = append(w.verified, verified{c.User, c.Method})
	w.mu.Unlock()
	if c.Method == session.MethodSCRAM {
		response, err := c.Exchange.Ask("challenge")
		if err != nil {
			return session.Proof{}, err
		}
		c.Secret, c.Exchange.Final = session.NewSecret(response), "final"
	}
	p := w.people[c.User]
	if p == nil {
		return session.Proof{}, session.ErrDenied
	}
	right := false
	switch c.Method {
	case session.MethodPublicKey:
		right = p.holds(c.Key)
	case session.MethodToken:
		right = c.Secret == session.NewSecret(p.token)
	case session.MethodCode:
		right = c.Secret == session.NewSecret(p.code)
	default:
		right = c.Secret == session.NewSecret(p.password)
	}
	if !right || c.Method != session.MethodPublicKey && c.Secret.Empty() {
		return session.Proof{}, session.ErrDenied
	}
	if c.Method == session.MethodToken {
		return session.Proof{Token: "token-" + c.User}, nil
	}
	return session.Proof{}, nil
}

// Knows implements session.Authenticator.
func (w *world) Knows(_ context.Context, _ netip.Addr, user string, key session.Key) (session.KeyAnswer, error) {
	p := w.people[user]
	return session.KeyAnswer{Known: p != nil && !p.disabled && p.holds(key)}, nil
}

// holds reports whether a key is one of the account's.
func (p *person) holds(key session.Key) bool {
	if key.Algorithm == session.KeyX509 {
		return p.certificate && key.Fingerprint == fingerprintOf(knownCertificate)
	}
	return p.key != "" && key.Blob == string(signerOf(p.key).PublicKey().Marshal())
}

// Recall implements session.Historian.
func (w *world) Recall(user string, c session.ClientID) session.Past {
	p := w.people[user]
	if p == nil {
		return session.Past{}
	}
	out := session.Past{Floors: p.floors, Place: slices.Contains(p.places, c.Network), Exposed: p.exposed}
	if c.Class != p.favourite {
		out.Floors.Client = session.Days{}
	}
	return out
}

// Entered implements session.Historian: what is remembered stays as it is.
func (w *world) Entered(string, session.ClientID, [session.Levels]bool) {}

// Exposed implements session.Historian.
func (w *world) Exposed(user string, _ netip.Addr) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.exposed = append(w.exposed, user)
}

// Suspect implements session.Historian.
func (w *world) Suspect(c session.Credential, _ netip.Addr) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.suspects = append(w.suspects, c.User)
}

// seen returns what was noted since it was last asked.
func (w *world) seen() (checked []verified, exposed, suspects []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	checked, exposed, suspects = w.verified, w.exposed, w.suspects
	w.verified, w.exposed, w.suspects = nil, nil, nil
	return checked, exposed, suspects
}

// A record is a Recorder in memory that tells of each connection that is over.
type record struct {
	mu     sync.Mutex
	logins []session.Event
	conns  chan session.Event
}

func newRecord() *record { return &record{conns: make(chan session.Event, 1)} }

// Commit implements session.Recorder.
func (r *record) Commit(_ context.Context, e session.Event) error { return r.Append(e) }

// Append implements session.Recorder.
func (r *record) Append(e session.Event) error {
	switch e.Event {
	case session.EventConnection:
		r.conns <- e
	case session.EventLogin:
		r.mu.Lock()
		r.logins = append(r.logins, e)
		r.mu.Unlock()
	}
	return nil
}

// take returns the connection that is over, once it is, and its logins.
func (r *record) take() (session.Event, []session.Event) {
	conn := <-r.conns
	r.mu.Lock()
	defer r.mu.Unlock()
	logins := r.logins
	r.logins = nil
	return conn, logins
}

func pick[T any](r *rand.Rand, list ...T) T { return list[r.IntN(len(list))] }

// some are any of the list, in its order; maybe none.
func some(r *rand.Rand, list ...string) []string {
	var out []string
	for _, x := range list {
		if r.IntN(2) == 0 {
			out = append(out, x)
		}
	}
	return out
}

// The world that the front-ends are told of is the one that the test knows.
func TestWorldIsConsistent(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		w := newWorld(seed)
		for name := range maps.Keys(w.people) {
			p := w.people[name]
			for _, method := range session.Methods() {
				for _, secret := range []string{p.password, p.key, "wrong"} {
					if method == session.MethodSCRAM {
						continue
					}
					c := session.Password(name, secret)
					if c.Method = method; method == session.MethodPublicKey {
						if !slices.Contains(keyNames(), secret) {
							continue
						}
						c = session.PublicKey(name, sshKey(secret))
					}
					_, err := w.Verify(t.Context(), netip.Addr{}, c)
					if want := w.right(name, proof{Method: method, Secret: secret}); (err == nil) != want {
						t.Errorf("seed %d: %s of %s %q: %v, want %v", seed, method, name, secret, err, want)
					}
				}
			}
		}
	}
}
