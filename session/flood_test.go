package session_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"gateway/session"
	"gateway/session/sessiontest"
)

// A peer that only ever says names in clear cannot fill the record with them.
func TestRefusedClaimsAreBounded(t *testing.T) {
	t.Parallel()
	core := sessiontest.New(t, sessiontest.Encrypted)
	a := core.Connect(t, session.FTP, session.Plain)
	const most = 16
	for i := range 10 * most {
		want := session.ErrInsecure
		if i >= most {
			want = session.ErrTooMany
		}
		if err := a.Claim(t.Context(), fmt.Sprint("user", i), session.MethodPassword); !errors.Is(err, want) {
			t.Fatalf("claim %d: got %v, want %v", i+1, err, want)
		}
	}
	if got := len(core.Record.Events(session.EventLogin)); got != most {
		t.Errorf("got %d login events, want %d", got, most)
	}
	if !slices.Contains(core.Limits.Offences(), session.BadProtocol) {
		t.Error("the peer was not charged")
	}
}

// A failed handshake quotes the peer, who may have asked for 64 KiB of protocol
// names with whatever in them.
func TestReasonOfAConnectionIsBoundedAndPrintable(t *testing.T) {
	t.Parallel()
	core := sessiontest.New(t, nil)
	a := core.Connect(t, session.FTP, session.Plain)
	a.Close(fmt.Errorf("%w: \x1b[2J\n{\"seq\":1}\xff %s", session.ErrHandshake, strings.Repeat("x", 1<<16)))
	e := core.Record.Events(session.EventConnection)[0]
	if want := `handshake failed: [2J{"seq":1}`; !strings.HasPrefix(e.Reason, want) || len(e.Reason) > 500 {
		t.Errorf("got %d bytes, %.60q; want at most 500 that begin with %q", len(e.Reason), e.Reason, want)
	}
	if e.Outcome != session.OutcomeHandshakeFailed {
		t.Errorf("got outcome %q", e.Outcome)
	}
}

// repeating has met every proof before.
type repeating struct{ *sessiontest.Accounts }

func (r repeating) Verify(ctx context.Context, source netip.Addr, c session.Credential) (session.Proof, error) {
	_, err := r.Accounts.Verify(ctx, source, c)
	return session.Proof{Again: true}, err
}

// A device that retries a stale password is refused like any other and charged
// for a repetition, not for a guess: whether or not the name exists, and whether
// or not the password is right, or the penalty would tell.
func TestRepeatedProofIsNoFurtherGuess(t *testing.T) {
	t.Parallel()
	core := sessiontest.New(t, nil)
	gate := session.NewGate(session.Config{
		Auth: repeating{core.Accounts}, Policy: core.Gate.Policy(), Recorder: core.Record, Limiter: core.Limits,
		NameKey: []byte("k"), FailureTime: 1,
	})
	a, err := gate.Connect(t.Context(), session.Peer{Conn: "c", Protocol: session.SFTP})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close(nil)
	core.Accounts.Add("gone", "stale", "")
	core.Accounts.Disable("gone")
	for _, user := range []string{"alice", "nobody", "gone"} {
		if _, err := a.Offer(t.Context(), session.Password(user, "stale")); err != session.ErrDenied {
			t.Errorf("%s: got %v, want ErrDenied alone", user, err)
		}
	}
	want := []session.Offence{session.RepeatedProof, session.RepeatedProof, session.RepeatedProof}
	if got := core.Limits.Offences(); !slices.Equal(got, want) {
		t.Errorf("offences %v, want %v", got, want)
	}
	if got := core.Record.Events(session.EventLogin); len(got) != 3 || got[0].Outcome != session.OutcomeRefused {
		t.Errorf("recorded %v", core.Record.Outcomes())
	}
}

// charged remembers whose guesses were counted.
type charged struct {
	*sessiontest.Limits
	users *[]string
}

func (c charged) Offend(p session.Peer, user string, o session.Offence) {
	*c.users = append(*c.users, user)
	c.Limits.Offend(p, user, o)
}

// A device that shows an old key every minute does not use up the guesses at its
// owner's password, and is charged the same whether or not the name exists, once.
func TestUnprovenKeyIsNoGuessAtThePassword(t *testing.T) {
	t.Parallel()
	core := sessiontest.New(t, nil)
	var users []string
	gate := session.NewGate(session.Config{
		Auth: core.Accounts, Policy: core.Gate.Policy(), Recorder: core.Record, Limiter: charged{core.Limits, &users}, NameKey: []byte("k"),
	})
	a, err := gate.Connect(t.Context(), session.Peer{Conn: "c", Protocol: session.SFTP})
	if err != nil {
		t.Fatal(err)
	}
	a.Unproven(t.Context(), "alice", session.MethodPublicKey, session.UnknownKey, "old key")
	a.Unproven(t.Context(), "nobody", session.MethodPublicKey, session.UnknownKey, "old key")
	a.Close(nil)
	if want := []string{"", ""}; !slices.Equal(users, want) {
		t.Errorf("guesses counted for %q, want for nobody", users)
	}
	if got, want := core.Limits.Offences(), []session.Offence{session.UnknownKey, session.UnknownKey}; !slices.Equal(got, want) {
		t.Errorf("offences %v, want %v", got, want)
	}
}
