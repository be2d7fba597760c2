package session_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gateway/session"
	"gateway/session/sessiontest"
)

func TestGrantIsRecordedBeforeItIsSpoken(t *testing.T) {
	t.Parallel()
	core := sessiontest.New(t, nil)
	a := core.Connect(t, session.SFTP, session.SSH)
	s, err := a.Offer(t.Context(), session.Password("alice", "right"))
	if err != nil {
		t.Fatalf("Offer: %v", err)
	}
	logins := core.Record.Events(session.EventLogin)
	if len(logins) != 1 {
		t.Fatalf("got %d login events, want 1", len(logins))
	}
	e := logins[0]
	if e.Outcome != session.OutcomeGranted || e.User != "alice" || e.Session != s.ID() || e.Stage != session.PhaseVerified {
		t.Errorf("got %s session=%q stage=%q", sessiontest.String(e), e.Session, e.Stage)
	}
	if e.Credential != session.CredentialProtected || e.Exposed {
		t.Errorf("credential %q exposed %v, want protected and not exposed", e.Credential, e.Exposed)
	}
	if e.Facts == nil || e.Facts.Phase != session.PhaseVerified || e.Facts.User != "alice" || e.Policy != "test" {
		t.Errorf("facts %+v policy %q", e.Facts, e.Policy)
	}
}

// Promise 3: a grant that cannot be recorded is not granted.
func TestUnrecordedGrantIsUnavailable(t *testing.T) {
	t.Parallel()
	core := sessiontest.New(t, nil)
	a := core.Connect(t, session.SFTP, session.SSH)
	core.Record.Fail(errors.New("disk full"))
	if _, err := a.Offer(t.Context(), session.Password("alice", "right")); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	if got := core.Gate.Sessions(); len(got) != 0 {
		t.Errorf("got %d live sessions, want none", len(got))
	}
	core.Record.Fail(nil)
	if _, err := a.Offer(t.Context(), session.Password("alice", "right")); err != nil {
		t.Errorf("after the record recovered: %v", err)
	}
}

// Promise 2: refused before the credential, with the same answer for every name.
func TestClaimInClearIsRefusedAlikeForEveryName(t *testing.T) {
	t.Parallel()
	core := sessiontest.New(t, sessiontest.Encrypted)
	a := core.Connect(t, session.FTP, session.Plain)
	for _, user := range []string{"alice", "bob", "nobody", ""} {
		err := a.Claim(t.Context(), user, session.MethodPassword)
		if !errors.Is(err, session.ErrInsecure) || session.Hint(err) != "Use TLS." {
			t.Errorf("Claim(%q): got %v hint %q", user, err, session.Hint(err))
		}
	}
	a.Upgraded(session.Channel{Kind: session.TLS})
	if err := a.Claim(t.Context(), "nobody", session.MethodPassword); err != nil {
		t.Errorf("Claim after the upgrade: %v", err)
	}
	if got := core.Accounts.Verified(); got != 0 {
		t.Errorf("%d proofs were checked, want none", got)
	}
}

// A name is refused if no proof that would be asked for may cross the channel, and not
// because some other could not: a rule for keys says nothing of FTP in clear.
func TestClaimIsAboutWhatWouldBeAskedFor(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		clear []session.Method // that may cross in clear
		asked []session.Method
		want  error
	}{
		{nil, []session.Method{session.MethodPassword}, session.ErrInsecure},
		{[]session.Method{session.MethodPassword}, []session.Method{session.MethodPassword}, nil},
		{[]session.Method{session.MethodToken}, []session.Method{session.MethodPassword}, nil}, // it comes in the password's place
		{[]session.Method{session.MethodSCRAM}, []session.Method{session.MethodPassword}, session.ErrInsecure},
		{[]session.Method{session.MethodSCRAM}, []session.Method{session.MethodSCRAM}, nil},
		{[]session.Method{session.MethodPassword}, []session.Method{session.MethodPublicKey, session.MethodPassword}, nil},
	} {
		core := sessiontest.New(t, func(q session.Request) session.Verdict {
			if q.Phase == session.PhaseConnect || slices.Contains(tc.clear, q.Method) {
				return session.Verdict{Allowed: true}
			}
			return session.Verdict{Insecure: true}
		})
		a := core.Connect(t, session.Submission, session.Plain)
		if err := a.Claim(t.Context(), "alice", tc.asked[0], tc.asked[1:]...); !errors.Is(err, tc.want) {
			t.Errorf("%q in clear, asked for %q: got %v, want %v", tc.clear, tc.asked, err, tc.want)
		}
	}
}

// An SSH client says what it is after the methods are settled; a rule that lets in one
// software only must not find that nobody may be offered anything.
func TestMethodsBeforeTheClientIsKnown(t *testing.T) {
	t.Parallel()
	core := sessiontest.New(t, func(q session.Request) session.Verdict {
		return session.Verdict{Allowed: q.Phase == session.PhaseConnect || q.Client == session.ClientWinSCP && q.Method == session.MethodPassword}
	})
	a := core.Connect(t, session.SFTP, session.SSH)
	if got := a.Methods(); !slices.Equal(got, []session.Method{session.MethodPassword}) {
		t.Errorf("before: offered %q, want what WinSCP may use", got)
	}
	for software, want := range map[string][]session.Method{"SSH-2.0-WinSCP_release_6.3": {session.MethodPassword}, "SSH-2.0-OpenSSH_9.9": nil} {
		if a.Client(software); !slices.Equal(a.Methods(), want) {
			t.Errorf("%s: offered %q, want %q", software, a.Methods(), want)
		}
	}
	if got := core.Connect(t, session.FTP, session.TLS).Methods(); got != nil {
		t.Errorf("FTP: offered %q to a client that need not say what it is", got)
	}
}

func TestCredentialSentAlthoughRefusedIsDropped(t *testing.T) {
	t.Parallel()
	core := sessiontest.New(t, sessiontest.Encrypted)
	a := core.Connect(t, session.FTP, session.Plain)
	if _, err := a.Offer(t.Context(), session.Password("alice", "right")); !errors.Is(err, session.ErrInsecure) {
		t.Errorf("got %v, want ErrInsecure", err)
	}
	if got := core.Accounts.Verified(); got != 0 {
		t.Errorf("%d proofs were checked, want none", got)
	}
	e := core.Record.Events(session.EventLogin)[0]
	if e.Credential != session.CredentialPlaintext || e.Outcome != session.OutcomeRefused || e.Stage != session.PhaseNamed {
		t.Errorf("got %s credential=%q stage=%q", sessiontest.String(e), e.Credential, e.Stage)
	}
	if got := core.Limits.Offences(); !reflect.DeepEqual(got, []session.Offence{session.InsecureAttempt}) {
		t.Errorf("offences %v", got)
	}
}

// Promise 6: unknown user, wrong password and refusal by rule read the same, and
// take the same time.
func TestRefusalsAreAlike(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		core := sessiontest.New(t, func(q session.Request) session.Verdict {
			if q.Phase == session.PhaseNamed && q.User == "bob" {
				return session.Verdict{Rule: "allow", Reason: "no allow matches"}
			}
			return session.Verdict{Allowed: true}
		})
		core.Accounts.Add("carol", "carol", "")
		core.Accounts.Disable("carol")
		gate := session.NewGate(session.Config{
			Auth: core.Accounts, Policy: core.Gate.Policy(), Recorder: core.Record, Limiter: core.Limits,
			NameKey: []byte("k"), FailureTime: 250 * time.Millisecond,
		})
		for _, c := range []session.Credential{
			session.Password("nobody", "x"), session.Password("alice", "wrong"),
			session.Password("bob", "bob"), session.Password("bob", "wrong"), session.Password("carol", "carol"),
		} {
			a, err := gate.Connect(t.Context(), sessiontest.Peer(session.FTP))
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			_, err = a.Offer(t.Context(), c)
			if err != session.ErrDenied {
				t.Errorf("%s: got %v, want ErrDenied itself", c.User, err)
			}
			if took := time.Since(began); took != 250*time.Millisecond {
				t.Errorf("%s: took %v, want 250ms", c.User, took)
			}
			a.Close(nil)
		}
		if got := core.Accounts.Verified(); got != 5 {
			t.Errorf("%d proofs were checked, want 5: a refusal by rule costs what a wrong password costs", got)
		}
		var reasons []string
		for _, e := range core.Record.Events(session.EventLogin) {
			reasons = append(reasons, e.Reason)
		}
		want := []string{"unknown user", "wrong proof", "no allow matches", "wrong proof", "account disabled"}
		if !reflect.DeepEqual(reasons, want) {
			t.Errorf("reasons %q, want %q", reasons, want)
		}
	})
}

// Promise 7: a name that does not exist may be a password and is never written.
func TestUnknownNameIsRecordedAsHash(t *testing.T) {
	t.Parallel()
	core := sessiontest.New(t, nil)
	a := core.Connect(t, session.SFTP, session.SSH)
	_, _ = a.Offer(t.Context(), session.Password("hunter2", "x"))
	e := core.Record.Events(session.EventLogin)[0]
	if !strings.HasPrefix(e.User, "unknown:") || len(e.User) != len("unknown:")+16 {
		t.Errorf("user %q, want unknown: and 16 digits", e.User)
	}
	line, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(line), "hunter2") {
		t.Errorf("the name is in the record: %s", line)
	}
}

// Promise 4: every accepted connection ends in exactly one connection record.
func TestEveryConnectionHasOneRecord(t *testing.T) {
	t.Parallel()
	core := sessiontest.New(t, func(q session.Request) session.Verdict {
		if q.Phase == session.PhaseConnect && q.Listener == string(session.Relay) {
			return session.Verdict{Rule: "from", Reason: "not from here"}
		}
		return session.Verdict{Allowed: true}
	})
	for _, c := range []struct {
		name  string
		cause error
		login bool
		want  string
	}{
		{"left", nil, false, session.OutcomeNoLogin},
		{"handshake", fmt.Errorf("tls: %w", session.ErrHandshake), false, session.OutcomeHandshakeFailed},
		{"grace", session.ErrGrace, false, session.OutcomeNoLogin},
		{"logged in", nil, true, session.OutcomeSession},
		{"panic", session.ErrPanic, true, session.OutcomeFailed},
	} {
		before := len(core.Record.Events(session.EventConnection))
		a := core.Connect(t, session.SFTP, session.SSH)
		if c.login {
			if _, err := a.Offer(t.Context(), session.Password("alice", "right")); err != nil {
				t.Fatal(err)
			}
		}
		a.Count(10, 20)
		a.Close(c.cause)
		a.Close(nil)
		got := core.Record.Events(session.EventConnection)[before:]
		if len(got) != 1 || got[0].Outcome != c.want || got[0].Count != 1 || got[0].BytesIn != 10 || got[0].BytesOut != 20 {
			t.Errorf("%s: got %+v, want one with outcome %s", c.name, got, c.want)
		}
	}
	core.Limits.Refuse("Admit", session.ErrTooMany)
	if _, err := core.Gate.Connect(t.Context(), sessiontest.Peer(session.FTP)); !errors.Is(err, session.ErrTooMany) {
		t.Errorf("got %v, want ErrTooMany", err)
	}
	core.Limits.Refuse("Admit", nil)
	if _, err := core.Gate.Connect(t.Context(), sessiontest.Peer(session.Relay)); !errors.Is(err, session.ErrDenied) {
		t.Errorf("got %v, want ErrDenied", err)
	}
	if got := core.Limits.Offences(); !slices.Contains(got, session.Refused) {
		t.Errorf("who is refused by a rule is charged %v", got)
	}
	all := core.Record.Events(session.EventConnection)
	if n := len(all); n != 7 || all[5].Outcome != session.OutcomeRefused || all[6].Rule != "from" {
		t.Errorf("got %d records, the last two %s and %s", n, sessiontest.String(all[5]), sessiontest.String(all[6]))
	}
}

func TestBannedConnectionsAddUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		core := sessiontest.New(t, nil)
		core.Limits.Refuse("Admit", session.ErrBanned)
		for range 90 {
			_, err := core.Gate.Connect(t.Context(), sessiontest.Peer(session.FTP))
			if !errors.Is(err, session.ErrBanned) || !errors.Is(err, session.ErrTooMany) {
				t.Fatalf("got %v", err)
			}
			time.Sleep(time.Second)
		}
		core.Gate.Close()
		synctest.Wait()
		var sum int64
		events := core.Record.Events(session.EventConnection)
		for _, e := range events {
			sum += e.Count
			if e.Outcome != session.OutcomeBanned {
				t.Errorf("outcome %q", e.Outcome)
			}
		}
		if sum != 90 || len(events) > 2 {
			t.Errorf("%d records count %d connections, want at most 2 and 90", len(events), sum)
		}
	})
}

func TestAttemptsPerConnection(t *testing.T) {
	t.Parallel()
	core := sessiontest.New(t, nil)
	a := core.Connect(t, session.SFTP, session.SSH)
	for range 6 {
		if _, err := a.Offer(t.Context(), session.Password("alice", "wrong")); !errors.Is(err, session.ErrDenied) {
			t.Fatalf("got %v, want ErrDenied", err)
		}
	}
	if _, err := a.Offer(t.Context(), session.Password("alice", "right")); !errors.Is(err, session.ErrTooMany) {
		t.Errorf("the seventh: got %v, want ErrTooMany", err)
	}
	if got := core.Accounts.Verified(); got != 6 {
		t.Errorf("%d proofs were checked, want 6", got)
	}
}

func TestOverloadIsNeverAWrongPassword(t *testing.T) {
	t.Parallel()
	core := sessiontest.New(t, nil)
	a := core.Connect(t, session.SFTP, session.SSH)
	core.Accounts.Fail(fmt.Errorf("hashing queue full: %w", session.ErrUnavailable))
	if _, err := a.Offer(t.Context(), session.Password("alice", "wrong")); !errors.Is(err, session.ErrUnavailable) || errors.Is(err, session.ErrDenied) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	core.Accounts.Fail(errors.New("database is locked"))
	if _, err := a.Offer(t.Context(), session.Password("alice", "wrong")); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("a fault of ours: got %v, want ErrUnavailable", err)
	}
	for _, e := range core.Record.Events(session.EventLogin) {
		if e.Outcome != session.OutcomeError {
			t.Errorf("outcome %q, want error", e.Outcome)
		}
	}
	core.Accounts.Fail(nil)
	core.Limits.Refuse("Enter", session.ErrTooMany)
	if _, err := a.Offer(t.Context(), session.Password("alice", "right")); !errors.Is(err, session.ErrTooMany) {
		t.Errorf("no place: got %v, want ErrTooMany", err)
	}
}

func TestUpgradeForgetsTheLogin(t *testing.T) {
	t.Parallel()
	core := sessiontest.New(t, nil)
	a := core.Connect(t, session.FTP, session.Plain)
	s, err := a.Offer(t.Context(), session.Password("alice", "right"))
	if err != nil {
		t.Fatal(err)
	}
	if e := core.Record.Events(session.EventLogin)[0]; !e.Exposed {
		t.Error("a correct password in clear is not marked exposed")
	}
	a.Upgraded(session.Channel{Kind: session.TLS})
	if _, err := s.Begin(t.Context(), session.Action{Verb: session.Read, Object: "/x"}); !errors.Is(err, session.ErrClosed) {
		t.Errorf("the session lives on after the upgrade: %v", err)
	}
}

func TestKillAndRevoke(t *testing.T) {
	t.Parallel()
	core := sessiontest.New(t, nil)
	login := func() *session.Session {
		s, err := core.Connect(t, session.SFTP, session.SSH).Offer(t.Context(), session.Password("alice", "right"))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first, second := login(), login()
	if got := core.Gate.Sessions(); len(got) != 2 || got[0].User != "alice" || got[0].Channel != "ssh" {
		t.Errorf("sessions %+v", got)
	}
	if !core.Gate.Kill(first.ID()) || core.Gate.Kill(first.ID()) {
		t.Error("Kill does not tell whether the session was there")
	}
	<-first.Done()
	if !errors.Is(first.Cause(), session.ErrKilled) {
		t.Errorf("cause %v", first.Cause())
	}
	if n := core.Gate.Revoke("alice"); n != 1 {
		t.Errorf("revoked %d, want 1", n)
	}
	<-second.Done()
	if !errors.Is(second.Cause(), session.ErrDisabled) {
		t.Errorf("cause %v", second.Cause())
	}
}

// Whoever is disabled while they log in is either refused or found by Revoke.
func TestDisableRacesWithLogin(t *testing.T) {
	t.Parallel()
	for range 200 {
		core := sessiontest.New(t, nil)
		a := core.Connect(t, session.SFTP, session.SSH)
		var wg sync.WaitGroup
		wg.Go(func() {
			core.Accounts.Disable("alice")
			core.Gate.Revoke("alice")
		})
		s, err := a.Offer(t.Context(), session.Password("alice", "right"))
		wg.Wait()
		if err != nil {
			continue
		}
		select {
		case <-s.Done():
		default:
			t.Fatal("a disabled account has a live session")
		}
	}
}

// A password that was changed while it was being checked opens no session; while
// something else of the account changes it is checked again. Its owner is not charged
// for what an administrator does.
func TestChangeDuringLogin(t *testing.T) {
	t.Parallel()
	core := sessiontest.New(t, nil)
	changes := 0
	core.Accounts.OnVerify = func() {
		if changes++; changes <= 2 {
			core.Accounts.Change("alice")
		}
	}
	a := core.Connect(t, session.SFTP, session.SSH)
	if _, err := a.Offer(t.Context(), session.Password("alice", "right")); err != nil {
		t.Errorf("two changes: got %v", err)
	}
	core.Accounts.OnVerify = func() { core.Accounts.Change("alice") }
	if _, err := a.Offer(t.Context(), session.Password("alice", "right")); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("changes without end: got %v, want ErrUnavailable", err)
	}
	core.Accounts.OnVerify = func() { core.Accounts.Add("alice", "another", "", "users"); core.Accounts.Change("alice") }
	if _, err := a.Offer(t.Context(), session.Password("alice", "right")); !errors.Is(err, session.ErrDenied) {
		t.Errorf("another password: got %v, want ErrDenied", err)
	}
	want := []string{"login granted", "login error", "login refused"}
	if got := core.Record.Outcomes(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestChangesAreRecordedBeforeAndAfter(t *testing.T) {
	t.Parallel()
	core := sessiontest.New(t, nil)
	a := core.Connect(t, session.SFTP, session.SSH)
	s, err := a.Offer(t.Context(), session.Password("alice", "right"))
	if err != nil {
		t.Fatal(err)
	}
	op, err := s.Begin(t.Context(), session.Action{Verb: session.Remove, Object: "/a"})
	if err != nil {
		t.Fatal(err)
	}
	if err := op.End(t.Context(), session.ErrNotExist); !errors.Is(err, session.ErrNotExist) {
		t.Errorf("End changed the error to %v", err)
	}
	want := []string{"login granted", "file begun", "file failed"}
	if got := core.Record.Outcomes(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	core.Record.Fail(errors.New("disk full"))
	if _, err := s.Begin(t.Context(), session.Action{Verb: session.Remove, Object: "/a"}); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("a change that cannot be recorded: got %v, want ErrUnavailable", err)
	}
}

func TestSenders(t *testing.T) {
	t.Parallel()
	core := sessiontest.New(t, nil)
	s, err := core.Connect(t, session.Submission, session.TLS).Offer(t.Context(), session.Password("alice", "right"))
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]bool{
		"alice@example.com": true, "Alice@Example.COM": true, "bob@example.com": false, "@example.com": false,
		"": false, "alice@example.com.evil.test": false, "alice": false,
	} {
		if got := s.Sends(t.Context(), address) == nil; got != want {
			t.Errorf("Sends(%q) = %v, want %v", address, got, want)
		}
	}
	if _, err := s.Begin(t.Context(), session.Action{Verb: session.Accept, Object: "bob@example.com"}); !errors.Is(err, session.ErrDenied) {
		t.Errorf("mail of another's address: got %v, want ErrDenied", err)
	}
	op, err := s.Begin(t.Context(), session.Action{Verb: session.Accept, Object: "alice@example.com", To: []string{"x@y.test"}})
	if err != nil {
		t.Fatal(err)
	}
	op.QueueID, op.Bytes = "q1", 7
	if err := op.End(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	events := core.Record.Events(session.EventMail)
	last := events[len(events)-1]
	if last.Verb != session.Accept || *last.From != "alice@example.com" || last.QueueID != "q1" || last.Size != 7 {
		t.Errorf("got %+v", last)
	}
}

func TestMethodsFollowTheChannelOnly(t *testing.T) {
	t.Parallel()
	core := sessiontest.New(t, sessiontest.Encrypted)
	if got := core.Connect(t, session.Submission, session.Plain).Methods(); len(got) != 0 {
		t.Errorf("over plain: %v, want none", got)
	}
	if got := core.Connect(t, session.SFTP, session.SSH).Methods(); !reflect.DeepEqual(got, session.Methods()) {
		t.Errorf("over ssh: %v, want all", got)
	}
}

// Promise 7: a secret is never written, whatever prints it.
func TestSecretNeverPrints(t *testing.T) {
	t.Parallel()
	c := session.Password("alice", "canary-7351")
	var log strings.Builder
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	logger.Info("x", "cred", c, "secret", c.Secret, "ptr", &c.Secret)
	encoded, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		log.String(), string(encoded), fmt.Sprint(c), fmt.Sprintf("%v %+v %#v", c, c, c),
		fmt.Sprintf("%s %x %#v", c.Secret, c.Secret, &c.Secret), fmt.Errorf("login: %v", c.Secret).Error(),
	} {
		if strings.Contains(text, "canary") || strings.Contains(text, "63616e617279") {
			t.Errorf("the secret shows in %q", text)
		}
	}
}

// Promise 8: the zero values are the safe ones.
func TestZeroValuesAreSafe(t *testing.T) {
	t.Parallel()
	if (session.Verdict{}).Allowed {
		t.Error("the zero Verdict allows")
	}
	if (session.Channel{}).Kind.Encrypted() {
		t.Error("the zero Channel is encrypted")
	}
	core := sessiontest.New(t, nil)
	if _, err := core.Connect(t, session.SFTP, session.SSH).Offer(t.Context(), session.Credential{}); !errors.Is(err, session.ErrDenied) {
		t.Errorf("the zero Credential: got %v, want ErrDenied", err)
	}
	var kind session.ChannelKind
	if err := kind.UnmarshalText([]byte("tsl")); err == nil {
		t.Error("an unknown channel kind is taken")
	}
}

func TestPolicyOfAConnectionStays(t *testing.T) {
	t.Parallel()
	core := sessiontest.New(t, nil)
	before := core.Connect(t, session.FTP, session.Plain)
	core.Gate.SetPolicy(sessiontest.Rules(sessiontest.Encrypted))
	if err := before.Claim(context.Background(), "alice", session.MethodPassword); err != nil {
		t.Errorf("the connection that was there: %v", err)
	}
	if err := core.Connect(t, session.FTP, session.Plain).Claim(t.Context(), "alice", session.MethodPassword); !errors.Is(err, session.ErrInsecure) {
		t.Errorf("a new connection: got %v, want ErrInsecure", err)
	}
}
