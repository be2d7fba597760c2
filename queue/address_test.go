package queue

import (
	"errors"
	"strings"
	"testing"
)

func TestParseMailbox(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in, want string // want is "" for a refusal
		utf8     bool
	}{
		{"joe@example.com", "joe@example.com", false},
		{"Joe.Smith+tag@Example.COM", "Joe.Smith+tag@Example.COM", false},
		{"!#$%&'*+-/=?^_`{|}~@x", "!#$%&'*+-/=?^_`{|}~@x", false},
		{`"joe"@x`, "joe@x", false},
		{`"joe smith"@x`, `"joe smith"@x`, false},
		{`"joe..smith"@x`, `"joe..smith"@x`, false},
		{`".joe"@x`, `".joe"@x`, false},
		{"joe@[192.0.2.1]", "joe@[192.0.2.1]", false},
		{"joe@[ipv6:2001:DB8:0:0::1]", "joe@[IPv6:2001:db8::1]", false},
		{"jöe@exämple.com", "jöe@exämple.com", true},
		{"用户@例子.广告", "用户@例子.广告", true},
		{strings.Repeat("l", 64) + "@x", strings.Repeat("l", 64) + "@x", false},
		{"jöe@x", "", false},
		{"joe@exämple.com", "", false},
		{strings.Repeat("l", 65) + "@x", "", false},
		{"l@" + strings.Repeat("abcdefg.", 40) + "x", "", false},
		{"l@" + strings.Repeat("d", 64), "", false},
		{"", "", false},
		{"joe", "", false},
		{"@x", "", false},
		{"joe@", "", false},
		{`""@x`, "", false},
		{`"joe@x`, "", false},
		{`"joe"x@y`, "", false},
		{`"jo\"e"@x`, "", false},
		{`"joe@evil"@x`, "", false},
		{`"victim@evil.example> ORCPT=rfc822;x"@x`, "", false},
		{"@relay.example:joe@x", "", false},
		{"a%b!c@x", "a%b!c@x", false},
		{"joe@x@y", "", false},
		{".joe@x", "", false},
		{"joe.@x", "", false},
		{"j..oe@x", "", false},
		{"j oe@x", "", false},
		{"joe@x ", "", false},
		{" joe@x", "", false},
		{"joe\x00@x", "", false},
		{"joe\r\n@x", "", false},
		{"joe\x1b@x", "", false},
		{"joe\x7f@x", "", true},
		{"joe@x\r\nDATA", "", false},
		{"joe@-x", "", false},
		{"joe@x-.y", "", false},
		{"joe@x..y", "", false},
		{"joe@x.", "", false},
		{"joe@x_y", "", false},
		{"joe@192.0.2.1", "", false},
		{"joe@[192.0.2.300]", "", false},
		{"joe@[2001:db8::1]", "", false},
		{"joe@[IPv6:192.0.2.1]", "", false},
		{"joe@[IPv6:fe80::1%eth0]", "", false},
		{"joe@[tag:x]", "", false},
		{"joe@[192.0.2.1", "", false},
		{"joe@[", "", false},
		{"joe (comment)@x", "", false},
		{"<joe@x>", "", false},
		{"jo\xffe@x", "", true},
		{"jo\u202ee@x", "", true},
		{"jo\u00a0e@x", "", true},
		{"joe@x\u3002y", "", true},
		{"joe@x\ufffdy", "", true},
	} {
		got, err := ParseMailbox(c.in, c.utf8)
		if got.String() != c.want || (err == nil) != (c.want != "") || err != nil && !errors.Is(err, ErrAddress) {
			t.Errorf("%q: got %q, %v; want %q", c.in, got, err, c.want)
		}
	}
}

func TestFromUnquoted(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"joe@x":                                 "joe@x",
		"joe smith@x":                           `"joe smith"@x`,
		"joe..s@x":                              `"joe..s"@x`,
		"victim@evil.example> ORCPT=rfc822;x@x": "",
		`a"b@x`:                                 "",
		`a\b@x`:                                 "",
		"a@b@x":                                 "",
		"joe":                                   "",
		"@x":                                    "",
		"":                                      "",
	} {
		got, err := FromUnquoted(in, false)
		if got.String() != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestNullReversePath(t *testing.T) {
	t.Parallel()
	a, err := ParseReversePath("", false)
	if err != nil || !a.IsNull() || a.String() != "" || a != (Address{}) {
		t.Errorf("got %v, %v", a, err)
	}
	if _, err := ParseReversePath("joe", false); !errors.Is(err, ErrAddress) {
		t.Errorf("got %v", err)
	}
}

// The refusal of an address must not carry it: somebody may have typed a
// password there.
func TestAddressErrorsKeepQuiet(t *testing.T) {
	t.Parallel()
	if _, err := ParseMailbox("hunter2;secret@x", false); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}

// parse(format(x)) == x, and nothing that could end a path on the wire is ever
// formatted.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{"joe@x", `"a b"@x.y`, "a..b@x", "ü@ü", "a@[IPv6:::1]", "a@[::ffff:1.2.3.4]", `"@"@x`, "a@b@c", "a\x00@b"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, s string, utf8 bool) {
		for _, parse := range []func(string, bool) (Address, error){ParseMailbox, FromUnquoted} {
			a, err := parse(s, utf8)
			if err != nil {
				if !a.IsNull() {
					t.Fatalf("%q: got %q with an error", s, a)
				}
				continue
			}
			wire := a.String()
			again, err := ParseMailbox(wire, utf8)
			if err != nil || again != a {
				t.Fatalf("%q: %q parses to %q, %v", s, wire, again, err)
			}
			unquoted, err := FromUnquoted(a.Local()+"@"+a.Domain(), utf8)
			if err != nil || unquoted != a {
				t.Fatalf("%q: unquoted gives %q, %v", s, unquoted, err)
			}
			if strings.ContainsAny(wire, "<>\r\n\x00;,()\\") || len(wire) > maxMailboxBytes || strings.Count(wire, "@") != 1 {
				t.Fatalf("%q: got %q", s, wire)
			}
			if !utf8 && !a.ASCII() {
				t.Fatalf("%q: got %q without utf8", s, wire)
			}
		}
	})
}
