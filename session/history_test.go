package session_test

import (
	"errors"
	"net/netip"
	"strconv"
	"sync"
	"testing"
	"time"

	"gateway/session"
	"gateway/session/sessiontest"
)

// history is a Historian that notes what it is told.
type history struct {
	mu     sync.Mutex
	past   session.Past
	asked  []string
	client session.ClientID
	told   []string
	levels [session.Levels]bool
}

func (h *history) Recall(user string, c session.ClientID) session.Past {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked, h.client = append(h.asked, user), c
	return h.past
}

func (h *history) Entered(user string, _ session.ClientID, levels [session.Levels]bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.told, h.levels = append(h.told, "entered "+user), levels
}

func (h *history) Exposed(user string, _ netip.Addr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.told = append(h.told, "exposed "+user)
}

func (h *history) Suspect(c session.Credential, _ netip.Addr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.told = append(h.told, "suspect "+c.User)
}

func (h *history) said() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	told := h.told
	h.told = nil
	return told
}

func remembering(t *testing.T, rules sessiontest.Rules, change func(*session.Config)) (*sessiontest.Core, *history) {
	t.Helper()
	h := &history{}
	return sessiontest.NewWith(t, rules, func(c *session.Config) {
		c.History, c.CohortKey = h, []byte("key")
		if change != nil {
			change(c)
		}
	}), h
}

func one(t *testing.T, got []string, want string) {
	t.Helper()
	if len(got) != 1 || got[0] != want {
		t.Errorf("history was told %q, want %q", got, want)
	}
}

// What is remembered is a fact of the decision, and stands in the record with it.
func TestHistoryIsAFact(t *testing.T) {
	t.Parallel()
	var decided session.Request
	c, h := remembering(t, func(r session.Request) session.Verdict {
		decided = r
		return session.Verdict{Allowed: true}
	}, nil)
	h.past.Floors.Account[session.LevelKey] = 7
	a := c.Connect(t, session.SFTP, session.SSH)
	a.Client("SSH-2.0-WinSCP_release_6.5")
	if _, err := a.Offer(t.Context(), session.Password("alice", "right")); err != nil {
		t.Fatal(err)
	}
	if decided.Floors != h.past.Floors || decided.Client != session.ClientWinSCP {
		t.Errorf("got %+v, want the floors and the client", decided)
	}
	if h.client != (session.ClientID{Class: session.ClientWinSCP, Network: netip.MustParsePrefix("192.0.2.0/24")}) {
		t.Errorf("got client %+v", h.client)
	}
	got := *c.Record.Events(session.EventLogin)[0].Facts
	if got.Floors != decided.Floors || got.Cohort != decided.Cohort || got.Client != decided.Client {
		t.Errorf("recorded %+v, want %+v", got, decided)
	}
	if one(t, h.said(), "entered alice"); h.levels != [session.Levels]bool{session.LevelEncrypted: true} {
		t.Errorf("got levels %v, want encrypted", h.levels)
	}
}

// A right password in clear is exposed, whether or not it is let in; a wrong one is
// not; one that was refused unread is a suspect.
func TestExposure(t *testing.T) {
	t.Parallel()
	c, h := remembering(t, nil, nil)
	_, _ = c.Connect(t, session.FTP, session.Plain).Offer(t.Context(), session.Password("alice", "wrong"))
	if got := h.said(); got != nil {
		t.Errorf("wrong: history was told %q, want nothing", got)
	}
	c.Accounts.Disable("bob")
	_, _ = c.Connect(t, session.FTP, session.Plain).Offer(t.Context(), session.Password("bob", "bob"))
	one(t, h.said(), "exposed bob")
	logins := c.Record.Events(session.EventLogin)
	if logins[0].Exposed || !logins[1].Exposed {
		t.Errorf("got %+v, want the second marked as exposed", logins)
	}
	_, _ = c.Connect(t, session.FTP, session.Plain).Offer(t.Context(), session.Password("alice", "right"))
	if got := h.said(); len(got) != 2 || got[0] != "entered alice" || got[1] != "exposed alice" {
		t.Errorf("let in: history was told %q", got)
	}
	for _, ignore := range []bool{false, true} {
		c, h = remembering(t, sessiontest.Encrypted, func(cfg *session.Config) { cfg.IgnoreRefused = ignore })
		_, err := c.Connect(t, session.FTP, session.Plain).Offer(t.Context(), session.Password("alice", "right"))
		if !errors.Is(err, session.ErrInsecure) || c.Accounts.Verified() != 0 {
			t.Errorf("got %v and %d checks, want insecure and none", err, c.Accounts.Verified())
		}
		if got := h.said(); ignore && got != nil {
			t.Errorf("ignored: history was told %q", got)
		} else if !ignore {
			one(t, got, "suspect alice")
		}
	}
}

// What is refused for a while says so, and until when; to somebody who has proven
// who they are only where nobody could read it.
func TestPaused(t *testing.T) {
	t.Parallel()
	until := time.Date(2027, 3, 1, 10, 5, 0, 0, time.UTC)
	insecure := func(r session.Request) session.Verdict {
		if r.Phase == session.PhaseConnect || r.Channel.Encrypted() {
			return session.Verdict{Allowed: true}
		}
		return session.Verdict{Insecure: true, Rule: "r", Retry: until, Hint: "Use TLS."}
	}
	c, h := remembering(t, insecure, nil)
	a := c.Connect(t, session.FTP, session.Plain)
	err := a.Claim(t.Context(), "alice", session.MethodPassword)
	if !errors.Is(err, session.ErrPaused) || !errors.Is(err, session.ErrUnavailable) || session.Hint(err) != "Closed until 10:05 UTC. Use TLS." {
		t.Errorf("claim: got %v, %q", err, session.Hint(err))
	}
	if got := a.Methods(); len(got) != len(session.Methods()) {
		t.Errorf("got methods %v, want what will be there again", got)
	}
	if _, err := a.Offer(t.Context(), session.Password("alice", "right")); !errors.Is(err, session.ErrPaused) {
		t.Errorf("offer: got %v, want paused", err)
	}
	one(t, h.said(), "suspect alice")
	if got := c.Limits.Offences(); len(got) != 0 {
		t.Errorf("charged for %v, want nothing", got)
	}

	late := func(r session.Request) session.Verdict {
		if r.Phase == session.PhaseConnect {
			return session.Verdict{Allowed: true}
		}
		return session.Verdict{Rule: "r", Retry: until}
	}
	c, _ = remembering(t, late, nil)
	for name, tc := range map[string]struct {
		kind     session.ChannelKind
		password string
		want     error
	}{
		"right":          {session.TLS, "right", session.ErrPaused},
		"wrong":          {session.TLS, "wrong", session.ErrDenied},
		"right in clear": {session.Plain, "right", session.ErrDenied},
	} {
		_, err := c.Connect(t, session.FTP, tc.kind).Offer(t.Context(), session.Password("alice", tc.password))
		if !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", name, err, tc.want)
		}
	}
}

func TestNoticeReachesTheSession(t *testing.T) {
	t.Parallel()
	c, _ := remembering(t, func(session.Request) session.Verdict {
		return session.Verdict{Allowed: true, Notice: "ends", WouldRefuse: []string{"r"}}
	}, nil)
	s, err := c.Connect(t, session.FTP, session.Plain).Offer(t.Context(), session.Password("alice", "right"))
	if err != nil || s.Notice() != "ends" {
		t.Errorf("got %v, %v", s, err)
	}
	if got := c.Record.Events(session.EventLogin)[0].WouldRefuse; len(got) != 1 {
		t.Errorf("recorded %v, want the rule", got)
	}
}

// A cohort is the same for a name always, and about as many names are in each.
func TestCohorts(t *testing.T) {
	t.Parallel()
	of := make(map[string]uint8)
	counts := make(map[uint8]int)
	c, _ := remembering(t, func(r session.Request) session.Verdict {
		if r.Phase == session.PhaseNamed {
			if before, known := of[r.User]; known && before != r.Cohort {
				t.Errorf("%s: got cohorts %d and %d", r.User, before, r.Cohort)
			}
			of[r.User] = r.Cohort
			counts[r.Cohort/10]++
		}
		return session.Verdict{Allowed: true}
	}, nil)
	a := c.Connect(t, session.FTP, session.Plain)
	for range 2 {
		for i := range 2000 {
			if err := a.Claim(t.Context(), "user"+strconv.Itoa(i), session.MethodPassword); err != nil {
				t.Fatal(err)
			}
		}
	}
	for tenth, n := range counts {
		if n < 300 || n > 500 {
			t.Errorf("cohorts from %d0 on: got %d of 4000 claims", tenth, n)
		}
	}
}

func TestClassifyClient(t *testing.T) {
	t.Parallel()
	for software, want := range map[string]session.Client{
		"":                            session.ClientUnknown,
		"SSH-2.0-WinSCP_release_6.5":  session.ClientWinSCP,
		"SSH-2.0-FileZilla_3.69.1":    session.ClientFileZilla,
		"FileZilla 3.69":              session.ClientFileZilla,
		"SSH-2.0-OpenSSH_9.9":         session.ClientOpenSSH,
		"SSH-2.0-OpenSSH_for_Windows": session.ClientOpenSSH,
		"SSH-2.0-paramiko_3.4.0":      session.ClientParamiko,
		"SSH-2.0-Go":                  session.ClientGo,
		"SSH-2.0-libssh2_1.11.0":      session.ClientLibSSH,
		"SSH-2.0-JSCH-0.1.54":         session.ClientJSch,
		"SSH-2.0-Renci.SshNet.SshCli": session.ClientSSHNet,
		"lftp/4.9.2":                  session.ClientLftp,
		"SSH-2.0-PuTTY_Release_0.82":  session.ClientPuTTY,
		"SSH-2.0-rclone/v1.68.0":      session.ClientRclone,
		"SSH-2.0-something":           session.ClientOther,
		"BRN30055C8D1A2B":             session.ClientPrinter,
		"RNP002673A1B2C3":             session.ClientPrinter,
		"[192.0.2.7]":                 session.ClientOther,
		"mail.example.com":            session.ClientOther,
	} {
		p := session.FTP
		if len(software) > 8 && software[:8] == "SSH-2.0-" {
			p = session.SFTP
		}
		if got := session.ClassifyClient(p, software); got != want {
			t.Errorf("%q: got %s, want %s", software, got, want)
		}
	}
	for i, word := range session.ClientWords() {
		var c session.Client
		if err := c.UnmarshalText([]byte(word)); err != nil || c != session.Client(i) || c.String() != word {
			t.Errorf("%q: got %v, %v", word, c, err)
		}
	}
	if err := new(session.Client).UnmarshalText([]byte("x")); err == nil {
		t.Error("got no error for a class that is not known")
	}
}
