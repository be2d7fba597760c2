package policies

import (
	"strings"
	"testing"

	"gateway/session"
)

const withFloors = `
allow "files" {
  protocol = ["ftp", "sftp"]
  group    = "users"
}
require "ratchet" {
  channel = "at least the account's own floor"
  factors = "at least the account's own floor"
  days    = 3
  quiet   = "30d"
  scope   = "client"
  reply   = "You have used encryption before."
}
exempt "ratchet" "cron" {
  user    = "alice"
  from    = "10.0.0.0/8"
  until   = "2027-06-30"
  owner   = "o"
  because = "b"
}
`

func TestRatchet(t *testing.T) {
	t.Parallel()
	p := mustParse(t, withFloors)
	floors := func(client, account, quiet session.Days) func(*session.Request) {
		return func(r *session.Request) { r.Floors = session.Floors{Client: client, Account: account, Quiet: quiet} }
	}
	sftp := func(r *session.Request) {
		r.Protocol, r.Channel, r.Proven = session.SFTP, session.SSH, session.FactorPassword
	}
	proven := func(f session.Factors) func(*session.Request) { return func(r *session.Request) { r.Proven = f } }
	for name, tc := range map[string]struct {
		request session.Request
		want    string
	}{
		"never encrypted":                       {request(plain), "allowed"},
		"this client on two days":               {request(plain, floors(session.Days{2}, session.Days{9}, session.Days{29})), "allowed"},
		"this client on three days":             {request(plain, floors(session.Days{3}, session.Days{3}, session.Days{})), "insecure"},
		"before the credential":                 {request(plain, named, noMethod, floors(session.Days{3}, session.Days{3}, session.Days{})), "insecure"},
		"another client":                        {request(plain, floors(session.Days{}, session.Days{100}, session.Days{2})), "allowed"},
		"another client, nobody in clear":       {request(plain, floors(session.Days{}, session.Days{3}, session.Days{30})), "insecure"},
		"once, long ago":                        {request(plain, floors(session.Days{}, session.Days{1}, session.Days{90})), "allowed"},
		"encrypted":                             {request(floors(session.Days{9}, session.Days{9}, session.Days{90})), "allowed"},
		"exempted":                              {request(plain, from("10.1.2.3"), floors(session.Days{9}, session.Days{9}, session.Days{90})), "allowed"},
		"a password where there were keys":      {request(sftp, floors(session.Days{9, 3, 3}, session.Days{9, 3, 3}, session.Days{})), "refused"},
		"a code where there were codes":         {request(sftp, proven(session.FactorPassword|session.FactorCode), floors(session.Days{9, 3, 0}, session.Days{9, 3, 0}, session.Days{})), "allowed"},
		"a password where there were codes":     {request(sftp, floors(session.Days{9, 3, 0}, session.Days{9, 3, 0}, session.Days{})), "refused"},
		"a key":                                 {request(sftp, proven(session.FactorKey), floors(session.Days{9, 9, 9}, session.Days{9, 9, 9}, session.Days{90, 90, 90})), "allowed"},
		"a name that is like an account's":      {request(plain, named, unknown, floors(session.Days{3}, session.Days{3}, session.Days{})), "insecure"},
		"anybody":                               {request(plain, nameless), "allowed"},
		"another client, keys since a long ago": {request(sftp, floors(session.Days{}, session.Days{9, 9, 9}, session.Days{0, 0, 30})), "refused"},
	} {
		v := p.Decide(tc.request)
		got := "refused"
		if v.Allowed {
			got = "allowed"
		} else if v.Insecure {
			got = "insecure"
		}
		if got != tc.want {
			t.Errorf("%s: got %s by %s (%s), want %s", name, got, v.Rule, v.Reason, tc.want)
		}
		if got == "insecure" && (v.Hint != "You have used encryption before." || !strings.HasPrefix(v.Rule, `require "ratchet" (policy.hcl:6)`)) {
			t.Errorf("%s: got %+v", name, v)
		}
	}
}

// scope = "account" needs no quiet time.
func TestRatchetOfTheAccount(t *testing.T) {
	t.Parallel()
	p := mustParse(t, strings.NewReplacer(`scope   = "client"`, `scope = "account"`, `days    = 3`, `days = 2`).Replace(withFloors))
	r := request(plain)
	r.Floors.Account[session.LevelEncrypted] = 2
	if v := p.Decide(r); !v.Insecure {
		t.Errorf("got %+v, want insecure", v)
	}
}
