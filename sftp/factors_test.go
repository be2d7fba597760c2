package sftp

import (
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"gateway/session"
	"gateway/session/sessiontest"
)

// A client is asked for what the rules still want, by partial success.
func TestTwoFactors(t *testing.T) {
	t.Parallel()
	key, other := newSigner(t, "ed25519"), newSigner(t, "ed25519")
	// answers are given to questions in this order; the last for all that follow.
	answers := func(asked *[]string, list ...string) ssh.AuthMethod {
		return ssh.KeyboardInteractive(func(_, _ string, questions []string, _ []bool) ([]string, error) {
			var out []string
			for _, q := range questions {
				*asked = append(*asked, q)
				out = append(out, list[min(len(*asked), len(list))-1])
			}
			return out, nil
		})
	}
	tests := []struct {
		name    string
		ways    string
		methods func(asked *[]string) []ssh.AuthMethod
		want    bool
		asked   string
	}{
		{"key, password", "publickey+password", func(*[]string) []ssh.AuthMethod {
			return []ssh.AuthMethod{ssh.PublicKeys(key), ssh.Password("right")}
		}, true, ""},
		{"key, wrong password", "publickey+password", func(*[]string) []ssh.AuthMethod {
			return []ssh.AuthMethod{ssh.PublicKeys(key), ssh.Password("wrong")}
		}, false, ""},
		{"key alone", "publickey+password", func(*[]string) []ssh.AuthMethod { return []ssh.AuthMethod{ssh.PublicKeys(key)} }, false, ""},
		{"wrong key, password", "publickey+password", func(*[]string) []ssh.AuthMethod {
			return []ssh.AuthMethod{ssh.PublicKeys(other), ssh.Password("right")}
		}, false, ""},
		{"password, code", "password+code", func(asked *[]string) []ssh.AuthMethod {
			return []ssh.AuthMethod{ssh.Password("right"), answers(asked, "123456")}
		}, true, "Verification code: "},
		{"password, wrong code", "password+code", func(asked *[]string) []ssh.AuthMethod {
			return []ssh.AuthMethod{ssh.Password("right"), answers(asked, "000000")}
		}, false, "Verification code: "},
		{"all by questions", "password+code", func(asked *[]string) []ssh.AuthMethod {
			return []ssh.AuthMethod{ssh.RetryableAuthMethod(answers(asked, "right", "123456"), 2)}
		}, true, "Password: Verification code: "},
		{"key, code", "publickey+code", func(asked *[]string) []ssh.AuthMethod {
			return []ssh.AuthMethod{ssh.PublicKeys(key), answers(asked, "123456")}
		}, true, "Verification code: "},
		{"wrong password is not asked for a code", "password+code", func(asked *[]string) []ssh.AuthMethod {
			return []ssh.AuthMethod{ssh.Password("wrong"), answers(asked, "123456")}
		}, false, "Password: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := start(t, sessiontest.Factors(tt.ways), nil)
			f.core.Accounts.Add("alice", "right", string(key.PublicKey().Marshal()))
			f.core.Accounts.Code("alice", "123456")
			var asked []string
			c, err := f.dial(t, "alice", tt.methods(&asked)...)
			if (err == nil) != tt.want || strings.Join(asked, "") != tt.asked {
				t.Fatalf("got %v, asked %q; want %v, %q", err, asked, tt.want, tt.asked)
			}
			if err != nil {
				return
			}
			defer c.Close()
			logins := f.core.Record.Events(session.EventLogin)
			e := logins[len(logins)-1]
			if e.Outcome != session.OutcomeGranted || e.Facts.Proven.String() != tt.ways {
				t.Errorf("recorded %s, proven %s", sessiontest.String(e), e.Facts.Proven)
			}
			for _, e := range logins[:len(logins)-1] {
				if e.Outcome == session.OutcomeGranted {
					t.Errorf("granted before all was proven: %s", sessiontest.String(e))
				}
			}
		})
	}
}
