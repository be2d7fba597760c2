package admin

import (
	"net/netip"
	"strings"
	"testing"

	"gateway/migration/foreign"
	"gateway/session"
)

// Networks less others hold an address if those do and the others do not.
func FuzzSubtract(f *testing.F) {
	f.Add(uint32(0x0a000000), uint8(8), uint32(0x0a090000), uint8(16), uint32(0x0a090001))
	f.Add(uint32(0), uint8(0), uint32(1), uint8(32), uint32(1))
	f.Add(uint32(0xffffffff), uint8(32), uint32(0), uint8(0), uint32(0xffffffff))
	f.Fuzz(func(t *testing.T, from uint32, fromBits uint8, not uint32, notBits uint8, asked uint32) {
		p, n, a := ip4(from, fromBits), ip4(not, notBits), ip4(asked, 32).Addr()
		rest := subtract([]netip.Prefix{p}, []netip.Prefix{n})
		if len(rest) > 32 {
			t.Errorf("%v less %v is %d networks", p, n, len(rest))
		}
		held := 0
		for _, r := range rest {
			if r != r.Masked() {
				t.Errorf("%v is no network", r)
			}
			if r.Contains(a) {
				held++
			}
		}
		want := 0
		if p.Contains(a) && !n.Contains(a) {
			want = 1
		}
		if held != want {
			t.Errorf("%v less %v: %d networks hold %v, want %d", p, n, held, a, want)
		}
	})
}

func ip4(n uint32, bits uint8) netip.Prefix {
	addr := netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
	return netip.PrefixFrom(addr, int(bits%33)).Masked()
}

// What cannot be had is lost or refused by name, never dropped and never widened.
func TestPrepareImport(t *testing.T) {
	t.Parallel()
	const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3MRPnUMsb6JHYxgGWHmI0lUKbCm0VI2qIjyMJcnvfR"
	at := foreign.Position{File: "f", Line: 1}
	found := foreign.Found{Accounts: []foreign.Account{
		{Name: "joe", At: at, Plain: session.NewSecret("x"), Groups: []string{"Staff", "domain users"}, Keys: []string{key, key, "junk"}, Addresses: []string{"Joe@example.com", "nobody"}},
		{Name: "ann", At: at, Hash: "{SASL}ann@REALM"},
		{Name: "Carl", At: at}, {Name: "carl", At: at}, {Name: "dan", At: at}, {Name: "dan", At: at}, {Name: "ftp", At: at},
		{Name: "far", At: at, Home: "/no/such"}, {Name: "slash", At: at, Home: "/"},
		{Name: "heavy", At: at, Hash: "$argon2id$v=19$m=4194304,t=3,p=1$c2FsdHNhbHQ$c3Vtc3Vtc3Vtc3Vtc3Vt"},
	}}
	got := PrepareImport(found, PrepareOptions{Groups: []string{"users"}, Rename: map[string]string{"eve": "e"}, Folder: func(string) bool { return false }})
	var lines []string
	for _, a := range got.Accounts {
		lines = append(lines, a.Name+" "+strings.Join(a.Groups, ",")+" "+strings.Join(a.Addresses, ",")+" | "+strings.Join(a.Lost, " | "))
	}
	for _, r := range got.Refused {
		lines = append(lines, "refused "+r.Name+": "+r.Reason)
	}
	lines = append(lines, got.Notes...)
	text := strings.Join(lines, "\n")
	for _, want := range []string{
		`joe staff,users joe@example.com | group "domain users"`, "| key 3: ", "| mail address: ",
		"far users  | its folder /no/such, which this machine has not", "slash users  | its folder: ",
		"refused ann: its password cannot be taken: ", "refused Carl: ", `refused carl: it differs from "Carl" by upper and lower case only`,
		"refused dan: the name comes twice", "refused ftp: it stands for everybody", "refused heavy: its password cannot be taken: ",
		"--map eve=e: no account of the source has that name",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if len(got.Accounts[0].Keys) != 1 {
		t.Errorf("joe has %d keys, want one", len(got.Accounts[0].Keys))
	}
	if strings.Contains(text, "REALM") || strings.Contains(text, "c2FsdHNhbHQ") {
		t.Errorf("a hash is quoted in\n%s", text)
	}
}

func TestFolderAbove(t *testing.T) {
	t.Parallel()
	homes := map[string][]string{"/srv/a": {"ann"}, "/srv/a/b/c": {"carl"}, "/srv/ab": {"abe"}}
	for home, want := range map[string]string{"/srv/a/b/c": "/srv/a", "/srv/a": "", "/srv/ab": "", "/": ""} {
		if got := folderAbove(home, homes); got != want {
			t.Errorf("%s: got %q, want %q", home, got, want)
		}
	}
}
