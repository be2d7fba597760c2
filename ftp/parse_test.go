package ftp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
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

// FuzzPastTLS: behind CCC no record of TLS is taken for a command, and whatever
// comes, reading ends.
func FuzzPastTLS(f *testing.F) {
	for _, s := range []string{"PWD\r\n", "\x15\x03\x03\x00\x02\x01\x00PWD\r\n", "\x15\x03\x03\x00", "\x17\x03\x03\xff\xff", "\x15\x03\x03\x00\x00\x15\x03\x03\x00\x00Q"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := io.ReadAll(&pastTLS{Conn: readOnly{r: bytes.NewReader(in)}})
		if err == nil && len(got) > 0 && got[0] >= recordFirst && got[0] <= recordLast || !bytes.HasSuffix(in, got) {
			t.Fatalf("%q: %q, %v", in, got, err)
		}
	})
}

// readOnly is a connection that only reads.
type readOnly struct {
	net.Conn
	r io.Reader
}

func (c readOnly) Read(p []byte) (int, error) { return c.r.Read(p) }

// FuzzWords: the arguments that are words and numbers, of any verb that takes them,
// are answered with one line and never move a data port to a stranger.
func FuzzWords(f *testing.F) {
	for _, s := range []string{"0", "-1", "9223372036854775807", "9223372036854775808", "P", "S", "A N", "L 8", "1", "2", "ALL", "TLS", "1 R 2", "en-US"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		cfg := Config{}.withDefaults()
		for _, run := range []func(*conn, context.Context, string) reply{
			(*conn).restart, (*conn).rang, (*conn).typeCmd, (*conn).pbszCmd, (*conn).prot, (*conn).auth, (*conn).lang, (*conn).siteIdle,
			only("F", "Structure set to F."),
		} {
			c := &conn{cfg: &cfg, state: ready}
			r := run(c, context.Background(), s)
			if r.code < 200 || r.code > 599 || strings.Contains(r.text, "\n") || c.rest < 0 || c.until < 0 || c.private {
				t.Fatalf("%q: %v %+v", s, r, c)
			}
		}
	})
}
