package ftp

import (
	"bytes"
	"errors"
	"path"
	"strings"
	"testing"

	"gateway/session"
)

func TestParsePort(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"192,0,2,7,4,1": "192.0.2.7:1025", " 10,0,0,1,255,255 ": "10.0.0.1:65535",
		"1,2,3,4,5": "", "1,2,3,4,5,6,7": "", "256,0,0,1,4,1": "", "+1,0,0,1,4,1": "", "1,0,0,1,,1": "", "": "", "1.2.3.4.5.6": "",
	} {
		got, err := parsePort(in)
		if (err == nil) != (want != "") || err == nil && got.String() != want {
			t.Errorf("%q: got %v, %v, want %q", in, got, err, want)
		}
	}
}

func TestParseEPRT(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"|1|192.0.2.7|1025|": "192.0.2.7:1025", "!2!2001:db8::7!65535!": "[2001:db8::7]:65535",
		"|1|192.0.2.7|65536|": "", "|1|2001:db8::7|1025|": "", "|2|192.0.2.7|1025|": "", "|2|::ffff:192.0.2.7|1025|": "",
		"|2|fe80::1%eth0|1025|": "", "|1|192.0.2.7|1025": "", "|||": "", "": "", "|": "", "\x00": "", "1111": "",
	} {
		got, err := parseEPRT(in)
		if (err == nil) != (want != "") || err == nil && got.String() != want {
			t.Errorf("%q: got %v, %v, want %q", in, got, err, want)
		}
	}
	if _, err := parseEPRT("|3|x|1025|"); !errors.Is(err, errFamily) {
		t.Errorf("unknown protocol: got %v, want errFamily", err)
	}
}

func TestTimeAndName(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"20240229123456 f": "f", "20240229123456.123 a b": "a b", "20240230000000 f": "", "20240229123456": "",
		"2024022912345 f": "", "20240229123456. f": "", "20240229123456 ": "", "-0240229123456 f": "",
	} {
		if _, name, ok := timeAndName(in); ok != (want != "") || ok && name != want {
			t.Errorf("%q: got %q, %v, want %q", in, name, ok, want)
		}
	}
}

func TestASCIIAcrossPieces(t *testing.T) {
	t.Parallel()
	if got := toNetwork(nil, []byte("\nb\n"), '\r'); string(got) != "\nb\r\n" {
		t.Errorf("got %q", got)
	}
	got, held := toLocal([]byte("a\r\nb\r"), false)
	if string(got) != "a\nb" || !held {
		t.Errorf("got %q, held %v", got, held)
	}
	got, held = toLocal([]byte("\r"), true)
	if string(got) != "\r" || held {
		t.Errorf("at the end: got %q, held %v", got, held)
	}
}

// D11: every option reaches the server through the public constructor, and bad
// ones are all reported.
func TestValidate(t *testing.T) {
	t.Parallel()
	err := Config{
		Implicit: true, Resumption: 9, LoginGrace: -1, MaxLine: 3,
	}.Validate()
	for _, want := range []string{"no gate", "no files", "implicit TLS", "resumption mode 9", "login grace", "line length 3"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
	if _, err := NewPassivePorts(100, 200); err == nil {
		t.Error("ports below 1024 were taken")
	}
	if _, err := NewPassivePorts(3000, 2000); err == nil {
		t.Error("an empty range was taken")
	}
}

// DESIGN.md, section 8.
func TestFileReplies(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		code int
	}{
		{session.ErrDenied, 550}, {session.ErrNotExist, 550}, {session.ErrExist, 550}, {session.ErrNotEmpty, 550},
		{session.ErrQuota, 552}, {session.ErrNoSpace, 452}, {session.ErrUnavailable, 451}, {session.ErrBusy, 450},
		{session.ErrName, 553}, {session.ErrRange, 554}, {errors.New("anything"), 451},
		{errors.Join(session.ErrDenied, session.ErrUnavailable), 451},
	} {
		if got := fileReply(c.err); got.code != c.code {
			t.Errorf("%v: got %d, want %d", c.err, got.code, c.code)
		}
	}
}

func FuzzAddresses(f *testing.F) {
	for _, s := range []string{"192,0,2,7,4,1", "|1|192.0.2.7|1025|", "!2!::1!1!", "", "|||||", ",,,,,"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if a, err := parsePort(s); err == nil && !a.Addr().Is4() {
			t.Fatalf("%q: %v", s, a)
		}
		if a, err := parseEPRT(s); err == nil && (!a.IsValid() || a.Addr().Zone() != "" || a.Addr().Is4In6()) {
			t.Fatalf("%q: %v", s, a)
		}
	})
}

func FuzzListArgument(f *testing.F) {
	for _, s := range []string{"-al sub", "-", "*.txt", "[", "a[b-", "{*},{*}", "-a -l -1", "-laRtF -- -x", strings.Repeat("*", 300), "\\"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		_, name := parseListArgument(s)
		if !strings.HasSuffix(s, name) || strings.HasPrefix(name, "-") && !strings.Contains(s, "-- ") {
			t.Fatalf("%q: %q", s, name)
		}
		if isPattern(s) {
			if _, err := path.Match(s, strings.Repeat("a", 255)); err != nil {
				t.Fatalf("%q: %v", s, err)
			}
		}
	})
}

func FuzzTimeArgument(f *testing.F) {
	for _, s := range []string{"20240229123456 f", "20240229123456.5 f", "99999999999999 f", " f", "00000000000000 x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if at, name, ok := timeAndName(s); ok && (name == "" || stamp(at) != s[:14]) {
			t.Fatalf("%q: %v %q", s, at, name)
		}
	})
}

// FuzzASCII: text without CR comes back as it was, however it is cut.
func FuzzASCII(f *testing.F) {
	f.Add([]byte("a\nb\n"), 2)
	f.Add([]byte("\n\n"), 1)
	f.Fuzz(func(t *testing.T, text []byte, cut int) {
		if bytes.ContainsRune(text, '\r') || cut < 0 || cut > len(text) {
			return
		}
		var before byte
		if cut > 0 {
			before = text[cut-1]
		}
		wire := toNetwork(toNetwork(nil, text[:cut], 0), text[cut:], before)
		local, _ := toLocal(wire, true)
		if !bytes.Equal(local, text) {
			t.Fatalf("got %q, want %q", local, text)
		}
	})
}

func FuzzReplyNames(f *testing.F) {
	f.Add("a\"b\n226 x")
	f.Fuzz(func(t *testing.T, name string) {
		if strings.Contains(quote(name), "\n") {
			t.Fatalf("%q", quote(name))
		}
	})
}
