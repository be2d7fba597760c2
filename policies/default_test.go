package policies

import (
	"bytes"
	"testing"

	"gateway/session"
)

func TestDefault(t *testing.T) {
	t.Parallel()
	p := mustParse(t, string(Default()))
	if w := p.Warnings(); len(w) > 0 {
		t.Errorf("got warnings %v, want none", w)
	}
	formatted, err := Format(Default(), "default.hcl")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(formatted, Default()) {
		t.Error("default.hcl is not formatted")
	}
	v := p.Decide(request(plain, named, noMethod))
	if !v.Insecure || v.Hint != "Use FTPS or SFTP: sftp://files.example.com" {
		t.Errorf("plain FTP: got %+v, want insecure with the hint", v)
	}
	for _, ok := range []session.Request{
		request(),
		request(over(session.SFTP), func(r *session.Request) { r.Channel = session.SSH }),
		request(over(session.Submission), groups("mail")),
		request(over(session.Relay), groups("mail")),
	} {
		if v := p.Decide(ok); !v.Allowed {
			t.Errorf("%+v: got %+v, want allowed", ok, v)
		}
	}
}
