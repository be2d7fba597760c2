package limits

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gateway/session"
)

func TestManualBans(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := mustNew(t, Config{Trusted: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
		wide := netip.MustParsePrefix("192.0.0.0/16")
		if err := l.Ban(wide, time.Hour, "spam run"); err != nil {
			t.Fatal(err)
		}
		if err := l.Ban(netip.MustParsePrefix("2001:db8::/32"), 0, ""); err != nil {
			t.Fatal(err)
		}
		for _, addr := range []string{"192.0.2.1", "::ffff:192.0.9.9", "2001:db8:1::1"} {
			_, err := l.Admit(peer(addr))
			refused(t, err, "banned", true)
		}
		mustAdmit(t, l, "192.1.0.1").Release()
		bans := l.Bans()
		if len(bans) != 2 || !bans[0].Manual || bans[0].Reason != "spam run" || !bans[0].Until.Equal(time.Now().Add(time.Hour)) {
			t.Errorf("got %+v", bans)
		}
		time.Sleep(time.Hour)
		mustAdmit(t, l, "192.0.2.1").Release()
		if err := l.Unban(wide); !errors.Is(err, session.ErrNotExist) {
			t.Errorf("unban what ended: got %v, want not exist", err)
		}
		if err := l.Unban(netip.MustParsePrefix("2001:db8::/32")); err != nil {
			t.Error(err)
		}
		mustAdmit(t, l, "2001:db8:1::1").Release()
		if bans := l.Bans(); len(bans) != 0 {
			t.Errorf("got %+v, want none", bans)
		}
	})
}

func TestUnbanForgives(t *testing.T) {
	t.Parallel()
	l := mustNew(t, Config{})
	l.Offend(peer("192.0.2.1"), "", session.Crash)
	l.Offend(peer("192.0.2.1"), "", session.Crash)
	if err := l.Unban(netip.MustParsePrefix("192.0.2.0/24")); err != nil {
		t.Error(err)
	}
	mustAdmit(t, l, "192.0.2.1")
}

func TestBanRefusesNonsense(t *testing.T) {
	t.Parallel()
	l := mustNew(t, Config{})
	good := netip.MustParsePrefix("192.0.2.0/24")
	for name, err := range map[string]error{
		"zero":      l.Ban(netip.Prefix{}, 0, ""),
		"host bits": l.Ban(netip.MustParsePrefix("192.0.2.1/24"), 0, ""),
		"negative":  l.Ban(good, -1, ""),
		"control":   l.Ban(good, 0, "a\x1b[2J"),
		"long":      l.Ban(good, 0, strings.Repeat("x", maxReason+1)),
		"unban":     l.Unban(netip.Prefix{}),
	} {
		if err == nil {
			t.Errorf("%s: got nil, want an error", name)
		}
	}
	for i := range MaxManualBans {
		l.manual.add(Ban{Source: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 32)})
	}
	if err := l.Ban(good, 0, ""); !errors.Is(err, session.ErrTooMany) {
		t.Errorf("one too many: got %v, want too many", err)
	}
}

func TestBansAreKept(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "bans.json")
	l := mustNew(t, Config{File: file})
	for i := range 3 {
		if err := l.Ban(netip.MustParsePrefix(fmt.Sprintf("192.0.%d.0/24", i)), time.Hour, "<&> ü"); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Unban(netip.MustParsePrefix("192.0.1.0/24")); err != nil {
		t.Fatal(err)
	}
	again := mustNew(t, Config{File: file})
	if got := again.Bans(); len(got) != 2 || got[1].Reason != "<&> ü" || !got[1].Manual {
		t.Errorf("got %+v", got)
	}
	_, err := again.Admit(peer("192.0.2.9"))
	refused(t, err, "banned", true)
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v; want mode 0600", info, err)
	}
	left, err := filepath.Glob(file + ".new-*")
	if err != nil || len(left) > 0 {
		t.Errorf("got %v, %v; want no temporary files", left, err)
	}
}

// A ban that cannot be kept is not made.
func TestBanThatCannotBeKept(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	l := mustNew(t, Config{File: filepath.Join(dir, "bans.json")})
	if err := l.Ban(netip.MustParsePrefix("192.0.2.0/24"), 0, ""); err == nil {
		t.Error("got nil, want an error")
	}
	mustAdmit(t, l, "192.0.2.1")
}

func TestBrokenBansStopTheStart(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"not JSON":   "[",
		"no network": `[{"source":"nowhere"}]`,
		"empty":      `[{"source":""}]`,
		"host bits":  `[{"source":"192.0.2.1/24"}]`,
		"control":    `[{"source":"192.0.2.0/24","reason":"\u001b"}]`,
	} {
		file := filepath.Join(t.TempDir(), "bans.json")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := New(Config{File: file}); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: got %v, want an error that names the file", name, err)
		}
	}
}

func FuzzParseBans(f *testing.F) {
	f.Add([]byte(`[{"source":"192.0.2.0/24","since":"2027-03-01T12:00:00Z","reason":"x"}]`))
	f.Add([]byte(`[{"source":"2001:db8::/32","until":"2027-03-01T12:00:00Z"}]`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		bans, err := parseBans(data)
		if err != nil {
			return
		}
		m := newManualBans()
		for _, b := range bans {
			m.add(b)
		}
		for _, b := range bans {
			last := m.bans[b.Source]
			if m.holds(b.Source.Addr(), last.Until.Add(-1)) != true && !last.Until.IsZero() {
				t.Errorf("ban %+v does not hold at its own address", b)
			}
		}
	})
}
