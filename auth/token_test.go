package auth

import (
	"errors"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"gateway/session"
)

func addToken(t *testing.T, a *Accounts, name string, token Token) (session.Secret, Token) {
	t.Helper()
	secret, made, _, err := a.AddToken(t.Context(), name, token)
	if err != nil {
		t.Fatal(err)
	}
	return secret, made
}

// with is a login by a token, by protocol and from somewhere.
func with(t *testing.T, a *Accounts, user string, secret session.Secret, p session.Protocol, from netip.Addr) (session.Proof, error) {
	t.Helper()
	c := session.Password(user, secret.Reveal())
	if c.Method != session.MethodToken {
		t.Fatalf("%q is taken for a %s", secret.Reveal(), c.Method)
	}
	c.Protocol = p
	return a.Verify(t.Context(), from, c)
}

// A token is good for what it was made for, for its account, and as long as it is
// there; and no password is hashed for it.
func TestTokens(t *testing.T) {
	t.Parallel()
	a, b := open(t)
	add(t, a, "joe", "right")
	add(t, a, "jim", "right")
	if _, err := a.AddAddress(t.Context(), "joe", "joe@example.com"); err != nil {
		t.Fatal(err)
	}
	b.count()
	free, _ := addToken(t, a, "joe", Token{Protocols: []session.Protocol{session.FTP, session.SFTP}})
	narrow, made := addToken(t, a, "joe", Token{
		Protocols: []session.Protocol{session.Submission}, Senders: []string{"Joe@Example.com"},
		Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
	})
	late, _ := addToken(t, a, "joe", Token{Protocols: []session.Protocol{session.FTP}, Expires: time.Now().Add(time.Hour)})
	far := netip.MustParseAddr("198.51.100.1")
	for name, tt := range map[string]struct {
		user   string
		secret session.Secret
		p      session.Protocol
		from   netip.Addr
		want   error
	}{
		"in scope":             {"joe", free, session.SFTP, far, nil},
		"not yet expired":      {"joe", late, session.FTP, far, nil},
		"another protocol":     {"joe", free, session.Submission, far, session.ErrDenied},
		"no protocol":          {"joe", free, "", far, session.ErrDenied},
		"another account's":    {"jim", free, session.FTP, far, session.ErrDenied},
		"no account":           {"jon", free, session.FTP, far, session.ErrDenied},
		"in the network":       {"joe", narrow, session.Submission, source, nil},
		"mapped":               {"joe", narrow, session.Submission, netip.AddrFrom16(source.As16()), nil},
		"elsewhere":            {"joe", narrow, session.Submission, far, session.ErrDenied},
		"nobody knows where":   {"joe", narrow, session.Submission, netip.Addr{}, session.ErrDenied},
		"one that nobody made": {"joe", session.NewToken(), session.FTP, far, session.ErrDenied},
		"the same once more":   {"joe", narrow, session.Submission, far, session.ErrDenied},
	} {
		if _, err := with(t, a, tt.user, tt.secret, tt.p, tt.from); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", name, err, tt.want)
		}
	}
	proof, _ := with(t, a, "joe", narrow, session.Submission, source)
	if proof.Token != made.ID || !slices.Equal(proof.Senders, []string{"joe@example.com"}) {
		t.Errorf("got %+v", proof)
	}
	if proof, _ := with(t, a, "joe", narrow, session.Submission, far); !proof.Again {
		t.Error("a device that retries is taken for one that guesses")
	}
	if _, err := a.RemoveToken(t.Context(), "joe", made.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := with(t, a, "joe", narrow, session.Submission, source); !errors.Is(err, session.ErrDenied) {
		t.Errorf("removed: %v", err)
	}
	if n := b.count(); n != 0 {
		t.Errorf("%d passwords were hashed", n)
	}
}

// An expired token opens nothing: the clock is asked at each login.
func TestTokenExpires(t *testing.T) {
	t.Parallel()
	at := time.Date(2027, 7, 1, 0, 0, 0, 0, time.UTC)
	token := Token{Protocols: []session.Protocol{session.FTP}, Expires: at}
	if !token.admits(session.FTP, source, at.Add(-1)) || token.admits(session.FTP, source, at) {
		t.Error("it does not end when it should")
	}
}

// When a token was used outlives the process; its text is nowhere in the store.
func TestTokenUseIsKept(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "gateway.db")
	db := openStore(t, path)
	a, err := Open(t.Context(), db, Config{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Add(t.Context(), "joe", New{}); err != nil {
		t.Fatal(err)
	}
	secret, made := addToken(t, a, "joe", Token{Protocols: []session.Protocol{session.FTP}, Label: "scanner\n7"})
	before, _ := a.Lookup(t.Context(), netip.Addr{}, "joe")
	a.TokenUsed("joe", made.ID, source)
	info, err := a.Show(t.Context(), "joe")
	if err != nil || info.Tokens[0].Used.IsZero() || info.Tokens[0].UsedFrom != source.String() || info.Tokens[0].Label != "scanner7" {
		t.Errorf("got %+v, %v", info.Tokens, err)
	}
	if after, _ := a.Lookup(t.Context(), netip.Addr{}, "joe"); after.Generation != before.Generation {
		t.Error("the use of a token is a change of the account")
	}
	a.TokenUsed("joe", made.ID, netip.MustParseAddr("192.0.2.8"))
	if err := errors.Join(a.Close(t.Context()), db.Close()); err != nil {
		t.Fatal(err)
	}
	db = openStore(t, path)
	defer db.Close()
	if a, err = Open(t.Context(), db, Config{}); err != nil {
		t.Fatal(err)
	}
	if info, _ := a.Show(t.Context(), "joe"); info.Tokens[0].UsedFrom != "192.0.2.8" {
		t.Errorf("after a restart: %+v", info.Tokens)
	}
	if _, err := with(t, a, "joe", secret, session.FTP, source); err != nil {
		t.Errorf("after a restart: %v", err)
	}
}

// What groups and the account say of mail comes together limit by limit.
func TestMailAllowance(t *testing.T) {
	t.Parallel()
	a, _ := open(t)
	number := func(n int64) *int64 { return &n }
	for group, u := range map[string]MailUpdate{
		"few":  {MessagesPerHour: number(10), Domains: &[]string{"Example.com"}},
		"many": {MessagesPerHour: number(100), RecipientsPerDay: number(50), Domains: &[]string{".example.org"}},
	} {
		if _, err := a.SetGroup(t.Context(), group, AllowanceUpdate{MailUpdate: u}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.Add(t.Context(), "joe", New{Groups: []string{"few", "many"}, Allowance: Allowance{Mail: session.MailLimits{RecipientsPerDay: 5}}}); err != nil {
		t.Fatal(err)
	}
	account, err := a.Lookup(t.Context(), netip.Addr{}, "joe")
	got := account.Identity.Mail
	if err != nil || got.MessagesPerHour != 10 || got.RecipientsPerDay != 5 || !slices.Equal(got.Domains, []string{".example.org", "example.com"}) {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := a.Set(t.Context(), "joe", Update{AllowanceUpdate: AllowanceUpdate{MailUpdate: MailUpdate{Bytes: number(-1)}}}); !errors.Is(err, ErrInvalid) {
		t.Errorf("a negative limit: %v", err)
	}
	if _, err := a.Set(t.Context(), "joe", Update{AllowanceUpdate: AllowanceUpdate{MailUpdate: MailUpdate{Domains: &[]string{"a b"}}}}); !errors.Is(err, ErrInvalid) {
		t.Errorf("no domain: %v", err)
	}
}
