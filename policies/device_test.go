package policies

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"gateway/session"
)

// devices is a policy with a device of each kind.
const devices = `
network "mfps" { cidrs = ["10.20.3.16/30", "fd00:20::/64"] }
allow "mail" {
  protocol = ["submission", "relay"]
  group    = "mail"
}
require "encrypted-login" {
  channel = "encrypted"
  reply   = "Use TLS"
}
device "mfp" {
  from       = "mfps"
  listener   = "relay"
  allow      = ["no-auth", "tls-1.0"]
  sender     = "scan@example.com"
  recipients = ["Example.com", "example.net"]
  messages   = ["20/hour", "200/day"]
  size       = "25MiB"
  expires    = "2027-06-30"
  owner      = "facilities@example.com"
  because    = "firmware"
}
device "plc" {
  from         = "10.20.4.1"
  allow        = ["plaintext-auth"]
  user         = "plc-1"
  recipients   = "*"
  line_endings = "repair"
  warn         = "2027-03-02"
  expires      = "2027-06-30"
  owner        = "ot@example.com"
  because      = "no update"
}
device "old" {
  from       = "10.20.4.2"
  allow      = ["tls-1.0"]
  user       = "old-1"
  recipients = "*"
  stage      = "warn"
  expires    = "2027-06-30"
  owner      = "ot@example.com"
  because    = "no update"
}
device "off" {
  from       = "10.20.4.3"
  allow      = ["no-auth"]
  sender     = "off@example.com"
  recipients = "*"
  stage      = "enforce"
  expires    = "2027-06-30"
  owner      = "ot@example.com"
  because    = "to see who calls"
}
device "abroad" {
  from       = "198.51.100.7"
  allow      = ["no-auth", "public-address"]
  sender     = "abroad@example.com"
  recipients = "example.com"
  expires    = "2027-06-30"
  owner      = "ot@example.com"
  because    = "branch office"
}
`

func relayed(r *session.Request) {
	r.Protocol, r.Listener, r.Local, r.Channel = session.Relay, "relay", netip.MustParseAddr("10.20.0.1"), session.Plain
	r.Groups = []string{"mail"}
}

// unproven is mail that is about to be sent without a login.
func unproven(r *session.Request) {
	relayed(r)
	r.Method, r.User, r.Known, r.Groups, r.Proven = session.MethodDevice, "", false, nil, 0
	r.Remote = netip.MustParseAddr("10.20.3.17")
}
func reachedAt(a string) func(*session.Request) {
	return func(r *session.Request) { r.Local = netip.MustParseAddr(a) }
}
func tlsOf(old bool) func(*session.Request) {
	return func(r *session.Request) { r.Channel, r.OldTLS = session.TLS, old }
}
func by(user string) func(*session.Request) { return func(r *session.Request) { r.User = user } }

func TestDevices(t *testing.T) {
	t.Parallel()
	p := mustParse(t, devices)
	const reply = "The exception for mfp ended on 2027-06-30: use a login over TLS 1.2 or later at files.example.com, or ask facilities@example.com"
	for _, tc := range []struct {
		name    string
		request session.Request
		allowed bool
		device  string
		stage   session.Stage
		reason  string
		hint    string
	}{
		{"its address", request(unproven), true, "mfp", session.StageObserve, "let in until 2027-06-30 by facilities@example.com", ""},
		{"its address in IPv6", request(unproven, from("fd00:20::9")), true, "mfp", session.StageObserve, "", ""},
		{"mapped into IPv6", request(unproven, from("::ffff:10.20.3.17")), true, "mfp", session.StageObserve, "", ""},
		{"we are reached in IPv6", request(unproven, reachedAt("fe80::1%eth0")), true, "mfp", session.StageObserve, "", ""},
		{"over TLS", request(unproven, tlsOf(false)), true, "mfp", session.StageObserve, "", ""},
		{"over TLS 1.0", request(unproven, tlsOf(true)), true, "mfp", session.StageObserve, "", ""},
		{"30 days before the end", request(unproven, at("2027-06-01T00:00:00Z")), true, "mfp", session.StageWarn, "", ""},
		{"one second earlier", request(unproven, at("2027-05-31T23:59:59Z")), true, "mfp", session.StageObserve, "", ""},
		{"last second", request(unproven, at("2027-06-30T23:59:59Z")), true, "mfp", session.StageWarn, "", ""},
		{"over", request(unproven, at("2027-07-01T00:00:00Z")), false, "mfp", session.StageEnforce, "ended on 2027-06-30", reply},
		{"time not known", request(unproven, at("0001-01-01T00:00:00Z")), false, "mfp", session.StageEnforce, "", reply},
		{"a neighbour", request(unproven, from("10.20.3.20")), false, "", "", reasonNoDevice, ""},
		{"mapped neighbour", request(unproven, from("::ffff:10.20.3.20")), false, "", "", reasonNoDevice, ""},
		{"address not known", request(unproven, func(r *session.Request) { r.Remote = netip.Addr{} }), false, "", "", reasonNoDevice, ""},
		{"another listener", request(unproven, listener("relay2")), false, "", "", reasonNoDevice, ""},
		{"listener not known", request(unproven, listener("")), false, "", "", reasonNoDevice, ""},
		{"submission", request(unproven, over(session.Submission)), false, "", "", reasonNoDevice, ""},
		{"reached at a public address", request(unproven, reachedAt("203.0.113.1")), false, "", "", reasonNoDevice, ""},
		{"reached at a public address, mapped", request(unproven, reachedAt("::ffff:203.0.113.1")), false, "", "", reasonNoDevice, ""},
		{"our address not known", request(unproven, func(r *session.Request) { r.Local = netip.Addr{} }), false, "", "", reasonNoDevice, ""},
		{"public where it is said", request(unproven, from("198.51.100.7"), reachedAt("203.0.113.1")), true, "abroad", session.StageObserve, "", ""},
		{"TLS 1.0 that was not said", request(unproven, from("198.51.100.7"), tlsOf(true)), false, "abroad", session.StageObserve, reasonOldTLS, ""},
		{"has to log in", request(unproven, from("10.20.4.1")), false, "", "", reasonNoDevice, ""},
		{"stage enforce", request(unproven, from("10.20.4.3")), false, "off", session.StageEnforce, "stage enforce",
			"The exception for off is over: use a login over TLS 1.2 or later at files.example.com, or ask ot@example.com"},

		{"login in clear", request(relayed, by("plc-1"), from("10.20.4.1")), true, "plc", session.StageObserve, "let in until", ""},
		{"login in clear, later", request(relayed, by("plc-1"), from("10.20.4.1"), at("2027-03-02T00:00:00Z")), true, "plc", session.StageWarn, "", ""},
		{"login over TLS is held, too", request(relayed, by("plc-1"), from("10.20.4.1"), tlsOf(false)), true, "plc", "", "allowed", ""},
		{"and after the end", request(relayed, by("plc-1"), from("10.20.4.1"), tlsOf(false), at("2027-08-01T00:00:00Z")), true, "plc", "", "allowed", ""},
		{"login in clear after the end", request(relayed, by("plc-1"), from("10.20.4.1"), at("2027-08-01T00:00:00Z")), false, "", "", "required and not met",
			"The exception for plc ended on 2027-06-30: use a login over TLS 1.2 or later at files.example.com, or ask ot@example.com"},
		{"login in clear by another", request(relayed, from("10.20.4.1")), false, "", "", "required and not met", "Use TLS"},
		{"login in clear from elsewhere", request(relayed, by("plc-1")), false, "", "", "required and not met", "Use TLS"},
		{"login in clear at a public address", request(relayed, by("plc-1"), from("10.20.4.1"), reachedAt("203.0.113.1")), false, "", "", "", "Use TLS"},
		{"login in clear of the device without one", request(relayed, from("10.20.3.17")), false, "", "", "", "Use TLS"},
		{"login over TLS 1.0", request(relayed, by("old-1"), from("10.20.4.2"), tlsOf(true)), true, "old", session.StageWarn, "", ""},
		{"over TLS 1.0 by another", request(relayed, from("10.20.4.2"), tlsOf(true)), false, "", "", reasonOldTLS, ""},
		{"over TLS 1.0 where nobody may", request(relayed, from("10.20.9.9"), tlsOf(true)), false, "", "", reasonOldTLS, ""},
		{"over TLS 1.0 after the end", request(relayed, by("old-1"), from("10.20.4.2"), tlsOf(true), at("2027-08-01T00:00:00Z")), false, "", "", reasonOldTLS,
			"The exception for old ended on 2027-06-30: use a login over TLS 1.2 or later at files.example.com, or ask ot@example.com"},
		{"account from elsewhere", request(relayed, tlsOf(false)), true, "", "", "allowed", ""},
	} {
		v := p.Decide(tc.request)
		name := ""
		if v.Device != nil {
			name = v.Device.Name
		}
		if v.Allowed != tc.allowed || name != tc.device || v.Stage != tc.stage || !strings.Contains(v.Reason, tc.reason) || v.Hint != tc.hint {
			t.Errorf("%s: got %v device %q stage %q reason %q hint %q; want %v %q %q %q %q", tc.name, v.Allowed, name, v.Stage, v.Reason, v.Hint,
				tc.allowed, tc.device, tc.stage, tc.reason, tc.hint)
		}
		if want := v.Allowed && v.Stage != ""; want != (len(v.WouldRefuse) == 1 && strings.HasPrefix(v.WouldRefuse[0], "device ")) {
			t.Errorf("%s: got would_refuse %q", tc.name, v.WouldRefuse)
		}
	}
}

func TestDeviceIsHeld(t *testing.T) {
	t.Parallel()
	p := mustParse(t, devices)
	got := p.Decide(request(unproven)).Device
	if got.Sender != "scan@example.com" || !slices.Equal(got.Mail.Domains, []string{"example.com", "example.net"}) || got.Anywhere ||
		got.Mail.MessagesPerHour != 20 || got.Mail.MessagesPerDay != 200 || got.Mail.Bytes != 25<<20 || got.Lines != session.LinesAsUsual ||
		got.Notice != "mfp may send like this until 2027-06-30 only; ask facilities@example.com" {
		t.Errorf("got %+v", got)
	}
	got = p.Decide(request(relayed, by("plc-1"), from("10.20.4.1"))).Device
	if got.Sender != "" || !got.Anywhere || got.Lines != session.LinesRepair {
		t.Errorf("got %+v", got)
	}
}

// The tables decide about devices as the plain reading of the statements does.
func TestDevicesDecideAsTheyRead(t *testing.T) {
	t.Parallel()
	p := mustParse(t, devices)
	r := rand.New(rand.NewPCG(1, 1))
	var addrs, locals []netip.Addr
	for _, a := range []string{"10.20.3.17", "10.20.3.20", "10.20.4.1", "10.20.4.2", "10.20.4.3", "198.51.100.7", "fd00:20::1", "::ffff:10.20.4.3", "::1"} {
		addrs = append(addrs, netip.MustParseAddr(a))
	}
	for _, a := range []string{"10.20.0.1", "203.0.113.1", "::1", "::ffff:10.0.0.1"} {
		locals = append(locals, netip.MustParseAddr(a))
	}
	for range 5000 {
		req := request(unproven)
		req.Remote, req.Local = addrs[r.IntN(len(addrs))], locals[r.IntN(len(locals))]
		req.Listener = pick(r, "relay", "other", "")
		req.Protocol = session.Protocol(pick(r, "relay", "relay", "submission"))
		req.Time = noon().AddDate(0, 0, r.IntN(240))
		want := ""
		for _, d := range p.devices {
			if d.finding(req).Result == resultMatches {
				want = d.name
			}
		}
		v := p.Decide(req)
		got := ""
		if v.Allowed {
			got = v.Device.Name
		}
		if got != want {
			t.Fatalf("%+v: got %q by %s, want %q", req, got, v.Rule, want)
		}
		if v.Allowed && (v.Stage == session.StageEnforce || v.Insecure) {
			t.Fatalf("%+v: got %+v", req, v)
		}
	}
}

// What is offered before anybody is named depends on the peer only.
func TestDevicesAreOfferedWhatTheyNeed(t *testing.T) {
	t.Parallel()
	p := mustParse(t, devices)
	for _, tc := range []struct {
		name             string
		remote           string
		password, oldTLS bool
	}{
		{"a stranger", "10.20.9.9", false, false},
		{"a device without a login", "10.20.3.17", false, true},
		{"one with a password", "10.20.4.1", true, false},
		{"one with TLS 1.0", "10.20.4.2", false, true},
		{"one whose time is over", "10.20.4.3", false, false},
	} {
		offer := p.Decide(request(relayed, nameless, from(tc.remote)))
		peer := p.Decide(request(relayed, connecting, from(tc.remote), reachedAt("10.20.0.1")))
		if offer.Allowed != tc.password || peer.OldTLS != tc.oldTLS || !peer.Allowed {
			t.Errorf("%s: password offered %v, TLS 1.0 %v, greeted %v; want %v, %v, true", tc.name, offer.Allowed, peer.OldTLS, peer.Allowed, tc.password, tc.oldTLS)
		}
	}
	if v := p.Decide(request(relayed, nameless, from("10.20.4.2"), tlsOf(true))); !v.Allowed {
		t.Errorf("password over TLS 1.0 for one that may: got %+v", v)
	}
	if v := p.Decide(request(relayed, nameless, from("10.20.9.9"), tlsOf(true))); v.Allowed || !v.Insecure {
		t.Errorf("password over TLS 1.0 for others: got %+v", v)
	}
}

// A requirement about the peer holds for devices too.
func TestDevicesMeetWhatIsRequiredOfPeers(t *testing.T) {
	t.Parallel()
	p := mustParse(t, devices+"require \"floor\" {\n  from = \"10.20.4.0/24\"\n  when { protocol = \"relay\" }\n}\n")
	if v := p.Decide(request(unproven)); v.Allowed || !strings.HasPrefix(v.Rule, `require "floor"`) {
		t.Errorf("got %+v, want it refused", v)
	}
}

func TestDecideOfDevicesAllocatesNothing(t *testing.T) {
	p := mustParse(t, devices)
	for _, r := range []session.Request{request(unproven), request(relayed, by("plc-1"), from("10.20.4.1")), request(unproven, at("2027-08-01T00:00:00Z"))} {
		if n := testing.AllocsPerRun(100, func() { p.Decide(r) }); n > 0 {
			t.Errorf("got %v allocations, want none", n)
		}
	}
}

func TestDeviceWarnings(t *testing.T) {
	t.Parallel()
	const head = "device \"d\" {\n  recipients = \"*\"\n  owner = \"o@example.com\"\n  because = \"b\"\n"
	const plainDevice = head + "  from = \"10.1.1.1\"\n  allow = \"no-auth\"\n  sender = \"d@example.com\"\n"
	const login = head + "  from = \"10.1.1.1\"\n  allow = \"plaintext-auth\"\n  user = \"u\"\n  expires = \"2027-06-30\"\n}\n"
	for name, tc := range map[string]struct{ src, want string }{
		"clean":      {devices, `device "off" stage enforce`},
		"ended":      {plainDevice + "expires = \"2027-02-28\"\n}\n", `device "d" ended on 2027-02-28 and is refused`},
		"soon":       {plainDevice + "expires = \"2027-03-10\"\n}\n", `device "d" ends on 2027-03-10 (owner: o@example.com)`},
		"wide":       {head + "from = \"10.0.0.0/16\"\nallow = \"no-auth\"\nsender = \"d@example.com\"\nexpires = \"2027-06-30\"\n}\n", `may be anywhere in 10.0.0.0/16`},
		"closed":     {plainDevice + "expires = \"2027-06-30\"\n}\nrequire \"near\" { from = \"10.2.0.0/16\" }\n", `require "near" refuses its address`},
		"no allow":   {login + "require \"e\" { channel = \"encrypted\" }\n", `no allow lets "u" log in over relay`},
		"not needed": {login + "allow \"a\" { protocol = \"relay\" }\n", `needs no plaintext-auth`},
	} {
		w := mustParse(t, tc.src).Warnings()
		if len(w) != 1 || !strings.Contains(w[0].String(), tc.want) {
			t.Errorf("%s: got %v, want %q", name, w, tc.want)
		}
	}
	opts := testOptions()
	opts.Listeners = []string{"ftp"}
	p, err := Parse([]byte(plainDevice+"expires = \"2027-06-30\"\n}\n"), "policy.hcl", opts)
	if err != nil || len(p.Warnings()) != 1 || !strings.Contains(p.Warnings()[0].Text, "no listener with protocol = \"relay\"") {
		t.Errorf("without a relay listener: got %v, %v", p.Warnings(), err)
	}
}

func TestExplainDevices(t *testing.T) {
	t.Parallel()
	p := mustParse(t, devices)
	noLocal := func(r *session.Request) { r.Local = netip.Addr{} }
	for name, r := range map[string]session.Request{
		"device":       request(unproven, noLocal),
		"device-ended": request(unproven, noLocal, at("2027-08-01T00:00:00Z")),
		"device-clear": request(relayed, by("plc-1"), from("10.20.4.1"), noLocal),
		"device-none":  request(unproven, noLocal, from("10.20.9.9")),
	} {
		var text bytes.Buffer
		if err := p.Explain(r).WriteText(&text); err != nil {
			t.Fatal(err)
		}
		golden(t, "testdata/explain-"+name+".txt", text.String())
	}
}

func TestExpectOfDevices(t *testing.T) {
	t.Parallel()
	const expect = "expect \"x\" {\n  method = \"device\"\n  protocol = \"relay\"\n  channel = \"plain\"\n  listener = \"relay\"\n  from = \"mfps\"\n  verdict = \"allow\"\n"
	mustParse(t, devices+expect+"  at = \"2027-03-01\"\n}\n")
	for src, want := range map[string]string{
		expect + "}\n": "Expectation without a time",
		strings.Replace(expect, "\"mfps\"", "\"10.9.9.9\"", 1) + "  at = \"2027-03-01\"\n}\n": "Expectation not met",
	} {
		if _, err := Parse([]byte(devices+src), "policy.hcl", testOptions()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
