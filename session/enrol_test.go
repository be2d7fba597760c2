package session_test

import (
	"testing"
	"time"

	"gateway/session"
	"gateway/session/sessiontest"
)

// Keys may be brought where a rule grants it and a password came first, and what
// keys took part in a login is told once it is granted.
func TestEnrolAndKeyUsed(t *testing.T) {
	t.Parallel()
	password, code := session.Password("alice", "right"), session.Code("alice", "123456")
	token := session.NewToken().Reveal()
	key := session.PublicKey("alice", session.Key{Algorithm: "ssh-ed25519", Blob: "key"})
	for _, tc := range []struct {
		name   string
		ways   string
		offers []session.Credential
		enrol  bool
		used   int
	}{
		{"password", "password", []session.Credential{password}, true, 0},
		{"questions", "password", []session.Credential{session.KeyboardInteractive("alice", "right")}, true, 0},
		{"password, code", "password+code", []session.Credential{password, code}, true, 0},
		{"password, key", "publickey+password", []session.Credential{password, key}, true, 1},
		{"key", "publickey", []session.Credential{key}, false, 1},
		{"key, password", "publickey+password", []session.Credential{key, password}, false, 1},
		{"key, code", "publickey+code", []session.Credential{key, code}, false, 1},
		{"token", "password", []session.Credential{session.Password("alice", token)}, false, 0},
	} {
		for _, granted := range []bool{true, false} {
			core := sessiontest.New(t, nil)
			core.Accounts.Add("alice", "right", "key", "users")
			core.Accounts.Code("alice", "123456")
			core.Accounts.Token("alice", token)
			var used []session.Key
			rules := sessiontest.Factors(tc.ways)
			gate := session.NewGate(session.Config{
				Auth: core.Accounts, Recorder: core.Record, Limiter: core.Limits, FailureTime: time.Millisecond,
				Policy: sessiontest.Rules(func(q session.Request) session.Verdict {
					v := rules(q)
					v.Data.EnrolKeys, v.Data.EnrolOffered = granted, granted
					return v
				}),
				KeyUsed: func(user string, key session.Key) {
					if user == "alice" {
						used = append(used, key)
					}
				},
			})
			a, err := gate.Connect(t.Context(), sessiontest.Peer(session.SFTP))
			if err != nil {
				t.Fatal(err)
			}
			a.Upgraded(session.Channel{Kind: session.SSH})
			var s *session.Session
			for i, c := range tc.offers {
				if s, err = a.Offer(t.Context(), c); i < len(tc.offers)-1 && len(used) > 0 {
					t.Errorf("%s: a key is told as used before the grant", tc.name)
				}
			}
			if err != nil {
				t.Fatalf("%s: %v", tc.name, err)
			}
			if want := tc.enrol && granted; s.MayEnrol() != want || s.MayEnrolOffered() != want {
				t.Errorf("%s, granted %v: may enrol %v, offered %v", tc.name, granted, s.MayEnrol(), s.MayEnrolOffered())
			}
			if s.Method() != tc.offers[0].Method {
				t.Errorf("%s: method %s, want %s", tc.name, s.Method(), tc.offers[0].Method)
			}
			if len(used) != tc.used || tc.used > 0 && used[0].Blob != "key" {
				t.Errorf("%s: keys used %+v, want %d", tc.name, used, tc.used)
			}
			a.Close(nil)
			gate.Close()
		}
	}
}
