package auth

import (
	"crypto/rand"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"gateway/session"
)

func TestOptionsAreKept(t *testing.T) {
	t.Parallel()
	good := ed25519Key(t)
	tests := []struct {
		name, line string
		want       []string
	}{
		{"none", good, nil},
		{"what holds anyway", "restrict,no-pty,no-X11-forwarding " + good, nil},
		{"limits", `from="10.0.0.0/8,!10.1.2.*",restrict,expiry-time="20270101Z" ` + good, []string{`expiry-time="20270101000000Z"`, `from="10.0.0.0/8,!10.1.2.*"`}},
		{"authority", `cert-authority,principals="joe,all" ` + good, []string{"cert-authority", `principals="joe,all"`}},
		{"touch", "no-touch-required " + skKey(t), []string{"no-touch-required"}},
		{"touch of what cannot be touched", "no-touch-required " + good, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			keys, err := ParseKeys([]byte(tt.line), time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(keys[0].Options, tt.want) {
				t.Errorf("got %q, want %q", keys[0].Options, tt.want)
			}
			_, again, err := parseOptions(keys[0].Options, keys[0].Algorithm)
			if err != nil || !slices.Equal(again, tt.want) {
				t.Errorf("read again: got %q, %v", again, err)
			}
		})
	}
}

func TestFrom(t *testing.T) {
	t.Parallel()
	tests := []struct {
		from, source string
		want         bool
	}{
		{"10.0.0.0/8", "10.1.2.3", true},
		{"10.0.0.0/8", "::ffff:10.1.2.3", true},
		{"10.0.0.0/8", "11.1.2.3", false},
		{"10.0.0.0/8,!10.1.0.0/16", "10.1.2.3", false},
		{"!10.1.0.0/16,10.0.0.0/8", "10.2.2.3", true},
		{"192.0.2.7", "192.0.2.7", true},
		{"192.0.2.7", "192.0.2.70", false},
		{"192.0.2.?", "192.0.2.7", true},
		{"192.0.2.?", "192.0.2.17", false},
		{"192.0.*", "192.0.2.17", true},
		{"*.7", "192.0.2.7", true},
		{"*", "2001:db8::1", true},
		{"2001:DB8:*", "2001:db8::1", true},
		{"2001:db8::/32", "2001:db8::1%eth0", true},
		{"2001:db8::/32", "192.0.2.7", false},
		{"*", "", false},
	}
	for _, tt := range tests {
		patterns, err := parseFrom(tt.from)
		if err != nil {
			t.Errorf("%s: %v", tt.from, err)
			continue
		}
		source, _ := netip.ParseAddr(tt.source)
		if got := (options{from: patterns}).comesFrom(source); got != tt.want {
			t.Errorf("from=%q, %q: got %v, want %v", tt.from, tt.source, got, tt.want)
		}
	}
}

// A key is good only where and as long as its options say: when it is asked for,
// and when it is proven.
func TestOptionsLimitTheKey(t *testing.T) {
	t.Parallel()
	a, _ := open(t)
	add(t, a, "joe", "secret")
	yesterday, tomorrow := time.Now().Add(-24*time.Hour), time.Now().Add(24*time.Hour)
	const stamp = "20060102150405Z"
	tests := []struct {
		name, options string
		want          bool
		why           string
	}{
		{"from here", `from="192.0.2.0/24"`, true, ""},
		{"from elsewhere", `from="198.51.100.0/24"`, false, "from does not admit"},
		{"not expired", `expiry-time="` + tomorrow.UTC().Format(stamp) + `"`, true, ""},
		{"expired", `expiry-time="` + yesterday.UTC().Format(stamp) + `"`, false, "expiry-time has passed"},
		{"restrict", "restrict", true, ""},
		{"authority", "cert-authority", false, ""},
	}
	for _, tt := range tests {
		line := tt.options + " " + ed25519Key(t)
		if _, err := a.AddKeys(t.Context(), "joe", []byte(line)); err != nil {
			t.Fatal(err)
		}
		keys, err := ParseKeys([]byte(line), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		key := keys[0].Session()
		answer, err := a.Knows(t.Context(), source, "joe", key)
		if err != nil || answer.Known != tt.want || !strings.Contains(answer.Why, tt.why) || (tt.why == "") != (answer.Why == "") {
			t.Errorf("%s: known %+v, %v", tt.name, answer, err)
		}
		_, err = a.Verify(t.Context(), source, session.PublicKey("joe", key))
		if (err == nil) != tt.want {
			t.Errorf("%s: verified: %v", tt.name, err)
		}
	}
}

func TestNoTouch(t *testing.T) {
	t.Parallel()
	a, _ := open(t)
	add(t, a, "joe", "secret")
	for _, options := range []string{"", "no-touch-required "} {
		line := options + skKey(t)
		if _, err := a.AddKeys(t.Context(), "joe", []byte(line)); err != nil {
			t.Fatal(err)
		}
		keys, _ := ParseKeys([]byte(line), time.Now())
		answer, _ := a.Knows(t.Context(), source, "joe", keys[0].Session())
		if want := (session.KeyAnswer{Known: true, NoTouch: options != ""}); answer != want {
			t.Errorf("%q: got %+v, want %+v", options, answer, want)
		}
	}
}

// userCert is a certificate by ca that was changed before it was signed.
func userCert(t testing.TB, ca ssh.Signer, change func(*ssh.Certificate)) session.Key {
	t.Helper()
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(ed25519Key(t)))
	if err != nil {
		t.Fatal(err)
	}
	c := &ssh.Certificate{
		Key: key, CertType: ssh.UserCert, Serial: 7, KeyId: "joe's", ValidPrincipals: []string{"joe"},
		ValidAfter: uint64(time.Now().Add(-time.Hour).Unix()), ValidBefore: uint64(time.Now().Add(time.Hour).Unix()),
	}
	if change != nil {
		change(c)
	}
	if err := c.SignCert(rand.Reader, ca); err != nil {
		t.Fatal(err)
	}
	return session.Key{Algorithm: c.Type(), Blob: string(c.Marshal()), Fingerprint: ssh.FingerprintSHA256(c)}
}

func TestUserCertificates(t *testing.T) {
	t.Parallel()
	a, _ := open(t)
	add(t, a, "joe", "secret")
	add(t, a, "ann", "secret")
	ca, other, mapped := newSigner(t), newSigner(t), newSigner(t)
	line := func(options string, s ssh.Signer) []byte {
		return append([]byte(options+" "), ssh.MarshalAuthorizedKey(s.PublicKey())...)
	}
	for name, file := range map[string][]byte{
		"joe": append(line("cert-authority", ca), line(`cert-authority,principals="ops"`, mapped)...),
		"ann": line("restrict", other), // her own key, which may not sign
	} {
		if _, err := a.AddKeys(t.Context(), name, file); err != nil {
			t.Fatal(err)
		}
	}
	option := func(name, value string) func(*ssh.Certificate) {
		return func(c *ssh.Certificate) { c.CriticalOptions = map[string]string{name: value} }
	}
	tests := []struct {
		name string
		user string
		key  session.Key
		why  string // "" if it is good
	}{
		{"good", "joe", userCert(t, ca, nil), ""},
		{"of nobody", "joe", userCert(t, ca, func(c *ssh.Certificate) { c.ValidPrincipals = nil }), "none of its principals"},
		{"of another", "joe", userCert(t, ca, func(c *ssh.Certificate) { c.ValidPrincipals = []string{"ann"} }), "none of its principals"},
		{"mapped", "joe", userCert(t, mapped, func(c *ssh.Certificate) { c.ValidPrincipals = []string{"x", "ops"} }), ""},
		{"mapped, its own name", "joe", userCert(t, mapped, nil), "none of its principals"},
		{"of another authority", "joe", userCert(t, other, nil), "none of the account"},
		{"by a key that may not sign", "ann", userCert(t, other, func(c *ssh.Certificate) { c.ValidPrincipals = []string{"ann"} }), "none of the account"},
		{"host", "joe", userCert(t, ca, func(c *ssh.Certificate) { c.CertType = ssh.HostCert }), "not that of a user"},
		{"expired", "joe", userCert(t, ca, func(c *ssh.Certificate) { c.ValidBefore = uint64(time.Now().Add(-time.Minute).Unix()) }), "expired"},
		{"not yet", "joe", userCert(t, ca, func(c *ssh.Certificate) { c.ValidAfter = uint64(time.Now().Add(time.Minute).Unix()) }), "not yet valid"},
		{"from here", "joe", userCert(t, ca, option("source-address", "10.0.0.0/8,192.0.2.7")), ""},
		{"from elsewhere", "joe", userCert(t, ca, option("source-address", "10.0.0.0/8")), "not for use from here"},
		{"from garbage", "joe", userCert(t, ca, option("source-address", "192.0.2.7,x")), "not for use from here"},
		{"force-command", "joe", userCert(t, ca, option("force-command", "internal-sftp")), "unsupported critical option"},
		{"verify-required", "joe", userCert(t, ca, option("verify-required", "")), "unsupported critical option"},
		{"unknown option", "joe", userCert(t, ca, option("x@example.com", "")), "unsupported critical option"},
	}
	forged := userCert(t, ca, nil)
	forged.Blob = strings.Replace(forged.Blob, "joe's", "ann's", 1)
	tests = append(tests, struct {
		name, user string
		key        session.Key
		why        string
	}{"forged", "joe", forged, "does not verify"})
	for _, tt := range tests {
		answer, err := a.Knows(t.Context(), source, tt.user, tt.key)
		if err != nil || answer.Known != (tt.why == "") || !strings.Contains(answer.Why, tt.why) {
			t.Errorf("%s: got %+v, %v, want %q", tt.name, answer, err, tt.why)
		}
		if _, err := a.Verify(t.Context(), source, session.PublicKey(tt.user, tt.key)); (err == nil) != (tt.why == "") {
			t.Errorf("%s: verified: %v", tt.name, err)
		}
	}
}
