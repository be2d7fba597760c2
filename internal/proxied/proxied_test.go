package proxied_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"gateway/internal/proxied"
)

// v2 is a header of version 2 with that much of extra bytes behind its addresses.
func v2(command, family byte, addresses []byte, extra int) string {
	b := append([]byte("\r\n\r\n\x00\r\nQUIT\n"), command, family, 0, 0)
	binary.BigEndian.PutUint16(b[14:], uint16(len(addresses)+extra))
	b = append(b, addresses...)
	return string(append(b, tlv(extra)...))
}

// tlv is a field of no meaning (PP2_TYPE_NOOP), n bytes long.
func tlv(n int) []byte {
	b := make([]byte, n)
	if n >= 3 {
		b[0] = 0x04
		binary.BigEndian.PutUint16(b[1:], uint16(n-3))
	}
	return b
}

func addresses(source, destination netip.AddrPort) []byte {
	b := append(source.Addr().AsSlice(), destination.Addr().AsSlice()...)
	b = binary.BigEndian.AppendUint16(b, source.Port())
	return binary.BigEndian.AppendUint16(b, destination.Port())
}

var (
	source4      = netip.MustParseAddrPort("192.0.2.7:40000")
	destination4 = netip.MustParseAddrPort("198.51.100.1:21")
	source6      = netip.MustParseAddrPort("[2001:db8::7]:40000")
	destination6 = netip.MustParseAddrPort("[2001:db8:1::1]:22")
)

// good are headers as they should be.
func good() map[string]struct {
	raw  string
	want proxied.Header
} {
	type header = struct {
		raw  string
		want proxied.Header
	}
	four := proxied.Header{Source: source4, Destination: destination4}
	six := proxied.Header{Source: source6, Destination: destination6}
	own := proxied.Header{Own: true}
	return map[string]header{
		"v1 TCP4":           {"PROXY TCP4 192.0.2.7 198.51.100.1 40000 21\r\n", four},
		"v1 TCP6":           {"PROXY TCP6 2001:db8::7 2001:db8:1::1 40000 22\r\n", six},
		"v1 mapped":         {"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:198.51.100.1 40000 21\r\n", four},
		"v1 UNKNOWN":        {"PROXY UNKNOWN\r\n", own},
		"v1 UNKNOWN, long":  {"PROXY UNKNOWN " + strings.Repeat("f", 91) + "\r\n", own},
		"v2 TCP4":           {v2(0x21, 0x11, addresses(source4, destination4), 0), four},
		"v2 TCP6":           {v2(0x21, 0x21, addresses(source6, destination6), 0), six},
		"v2 TLV":            {v2(0x21, 0x11, addresses(source4, destination4), 300), four},
		"v2 longest":        {v2(0x21, 0x11, addresses(source4, destination4), 4096-12), four},
		"v2 LOCAL":          {v2(0x20, 0x00, nil, 0), own},
		"v2 LOCAL, padded":  {v2(0x20, 0x00, nil, 50), own},
		"v2 LOCAL, as TCP4": {v2(0x20, 0x11, addresses(source4, destination4), 0), own},
	}
}

// conn is one end of a connection whose other end sends text and then closes.
func conn(t *testing.T, text string) net.Conn {
	t.Helper()
	ours, theirs := net.Pipe()
	t.Cleanup(func() { _ = ours.Close() })
	go func() { _, _ = io.WriteString(theirs, text); _ = theirs.Close() }()
	return ours
}

// What follows the header stays in the connection, to the byte.
func TestReadTakesTheHeaderOnly(t *testing.T) {
	t.Parallel()
	for name, h := range good() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, behind := range []string{"", "SSH-2.0-x\r\n", "\r\n\r\n", h.raw} {
				c := conn(t, h.raw+behind)
				got, err := proxied.Read(c)
				if err != nil || got != h.want {
					t.Fatalf("got %+v, %v, want %+v", got, err, h.want)
				}
				if rest, err := io.ReadAll(c); string(rest) != behind || err != nil {
					t.Errorf("behind the header: got %q, %v, want %q", rest, err, behind)
				}
			}
		})
	}
}

// A header may arrive in pieces.
func TestReadByteByByte(t *testing.T) {
	t.Parallel()
	for name, h := range good() {
		c := conn(t, "")
		got, err := proxied.Read(slow{c, iotest.OneByteReader(strings.NewReader(h.raw))})
		if err != nil || got != h.want {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, h.want)
		}
	}
}

type slow struct {
	net.Conn
	r io.Reader
}

func (s slow) Read(p []byte) (int, error) { return s.r.Read(p) }

// One that ends too early is an error wherever it ends, and never addresses.
func TestTruncatedAtEveryByte(t *testing.T) {
	t.Parallel()
	for name, h := range good() {
		for n := range len(h.raw) {
			got, err := proxied.Read(conn(t, h.raw[:n]))
			if !errors.Is(err, proxied.ErrHeader) || got != (proxied.Header{}) {
				t.Fatalf("%s, %d of %d bytes: got %+v, %v", name, n, len(h.raw), got, err)
			}
		}
	}
}

func TestMalformed(t *testing.T) {
	t.Parallel()
	both := addresses(source4, destination4)
	for name, raw := range map[string]string{
		"none":               "SSH-2.0-OpenSSH_9.2\r\n",
		"lower case":         "proxy TCP4 192.0.2.7 198.51.100.1 40000 21\r\n",
		"word of its own":    "PROXYTCP4 192.0.2.7 198.51.100.1 40000 21\r\n",
		"two lines":          "PROXY\r\n" + strings.Repeat("x", 100),
		"line feed only":     "PROXY TCP4 192.0.2.7 198.51.100.1 40000 21\n",
		"v1 too long":        "PROXY UNKNOWN " + strings.Repeat("f", 92) + "\r\n",
		"v1 endless":         "PROXY UNKNOWN " + strings.Repeat("f", 10000),
		"v1 UDP4":            "PROXY UDP4 192.0.2.7 198.51.100.1 40000 21\r\n",
		"v1 name":            "PROXY TCP4 localhost 198.51.100.1 40000 21\r\n",
		"v1 other family":    "PROXY TCP4 2001:db8::7 2001:db8:1::1 40000 22\r\n",
		"v1 zone":            "PROXY TCP6 fe80::1%lo fe80::2 40000 22\r\n",
		"v1 port":            "PROXY TCP4 192.0.2.7 198.51.100.1 65536 21\r\n",
		"v1 port, octal":     "PROXY TCP4 192.0.2.7 198.51.100.1 040 21\r\n",
		"v1 field too few":   "PROXY TCP4 192.0.2.7 198.51.100.1 40000\r\n",
		"v1 field too many":  "PROXY TCP4 192.0.2.7 198.51.100.1 40000 21 x\r\n",
		"v1 spaces":          "PROXY TCP4  192.0.2.7 198.51.100.1 40000 21\r\n",
		"v2 version":         v2(0x31, 0x11, both, 0),
		"v2 command":         v2(0x22, 0x11, both, 0),
		"v2 family":          v2(0x21, 0x41, both, 0),
		"v2 no family":       v2(0x21, 0x00, both, 0),
		"v2 transport":       v2(0x21, 0x13, both, 0),
		"v2 UDP":             v2(0x21, 0x12, both, 0),
		"v2 unix":            v2(0x21, 0x31, make([]byte, 216), 0),
		"v2 addresses short": v2(0x21, 0x11, both[:11], 0),
		"v2 too long":        v2(0x21, 0x11, both, 4097-12),
		"v2 LOCAL, too long": v2(0x20, 0x00, nil, 4097),
	} {
		got, err := proxied.Read(conn(t, raw))
		if !errors.Is(err, proxied.ErrHeader) || got != (proxied.Header{}) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}

// A proxy that says nothing, or stops in the middle, costs HeaderTimeout. One that
// sends its header leaves no deadline behind.
func TestSilentProxy(t *testing.T) {
	t.Parallel()
	for _, said := range []string{"", "PROXY TCP4 192.0.2.7", "\r\n\r\n\x00\r\nQUIT\n\x21"} {
		synctest.Test(t, func(t *testing.T) {
			ours, theirs := net.Pipe()
			defer ours.Close()
			defer theirs.Close()
			go func() { _, _ = io.WriteString(theirs, said) }()
			began := time.Now()
			_, err := proxied.Read(ours)
			if took := time.Since(began); !errors.Is(err, proxied.ErrHeader) || took != proxied.HeaderTimeout {
				t.Errorf("after %q: got %v after %v, want an error after %v", said, err, took, proxied.HeaderTimeout)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer ours.Close()
		go func() {
			_, _ = io.WriteString(theirs, "PROXY UNKNOWN\r\n")
			time.Sleep(2 * proxied.HeaderTimeout)
			_, _ = io.WriteString(theirs, "hello")
			_ = theirs.Close()
		}()
		if _, err := proxied.Read(ours); err != nil {
			t.Fatal(err)
		}
		if rest, err := io.ReadAll(ours); string(rest) != "hello" || err != nil {
			t.Errorf("later: got %q, %v", rest, err)
		}
	})
}

func TestTrusted(t *testing.T) {
	t.Parallel()
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fe80::/10")}
	for addr, want := range map[string]bool{
		"10.1.2.3": true, "::ffff:10.1.2.3": true, "fe80::1%lo": true,
		"11.0.0.1": false, "2001:db8::1": false, "::a00:1": false,
	} {
		if got := proxied.Trusted(proxies, netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: got %v, want %v", addr, got, want)
		}
	}
	if proxied.Trusted(nil, netip.MustParseAddr("127.0.0.1")) || proxied.Trusted(proxies, netip.Addr{}) {
		t.Error("without networks, or without an address, something is trusted")
	}
}

// FuzzRead holds that whatever is sent, either it is refused, or the header has
// addresses or none, is within its bound, and all behind it is left in place.
func FuzzRead(f *testing.F) {
	for _, h := range good() {
		f.Add([]byte(h.raw + "behind"))
	}
	f.Add([]byte("PROXY\r\n"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		r := bytes.NewReader(sent)
		h, err := proxied.Read(fed{r: r})
		if err != nil {
			if !errors.Is(err, proxied.ErrHeader) || h != (proxied.Header{}) {
				t.Fatalf("got %+v, %v", h, err)
			}
			return
		}
		if h.Own == h.Source.IsValid() || h.Own == h.Destination.IsValid() {
			t.Fatalf("got %+v", h)
		}
		taken := len(sent) - r.Len()
		if again, err := proxied.Read(fed{r: bytes.NewReader(sent[:taken])}); err != nil || again != h {
			t.Fatalf("the %d bytes taken alone give %+v, %v, not %+v", taken, again, err, h)
		}
		if taken > 0 {
			if _, err := proxied.Read(fed{r: bytes.NewReader(sent[:taken-1])}); err == nil {
				t.Fatalf("%d bytes were taken, and one less would do", taken)
			}
		}
	})
}

// fed is a connection that reads from r.
type fed struct {
	net.Conn
	r io.Reader
}

func (f fed) Read(p []byte) (int, error)      { return f.r.Read(p) }
func (f fed) SetReadDeadline(time.Time) error { return nil }
