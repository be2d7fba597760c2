package lineio_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"gateway/internal/lineio"
)

func TestReadLine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, in, want string
		err            error
	}{
		{"plain", "NOOP\r\n", "NOOP", nil},
		{"bare newline", "NOOP\n", "NOOP", nil},
		{"many returns", "NO\rOP\r\r\n", "NOOP", nil},
		{"empty", "\r\n", "", nil},
		{"abort of a telnet client", "\xff\xf4\xff\xf2ABOR\r\n", "ABOR", nil},
		{"abort whose urgent byte was lost", "\xff\xf4\xf2ABOR\r\n", "ABOR", nil},
		{"option", "\xff\xfd\x06NOOP\r\n", "NOOP", nil},
		{"negotiation with a newline", "\xff\xfa\x18\n\xff\xf0NOOP\r\n", "NOOP", nil},
		{"byte 255 inside a name", "RETR a\xff\xffb\r\n", "RETR a\xffb", nil},
		{"utf-8", "RETR \u00fc\U0001F600\r\n", "RETR \u00fc\U0001F600", nil},
		{"cut off", "QUI", "", io.EOF},
		{"too long", strings.Repeat("x", 65) + "\r\n", "", lineio.ErrTooLong},
		{"nothing but telnet", strings.Repeat("\xff", 4096), "", lineio.ErrTooLong},
		{"negotiation without end", "\xff\xfa" + strings.Repeat("\n", 4096), "", lineio.ErrTooLong},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := lineio.NewReader(strings.NewReader(c.in), 64).ReadLine()
			if got != c.want || !errors.Is(err, c.err) {
				t.Errorf("got %q, %v, want %q, %v", got, err, c.want, c.err)
			}
		})
	}
}

func TestBufferedTellsOfPipelining(t *testing.T) {
	t.Parallel()
	r := lineio.NewReader(strings.NewReader("AUTH TLS\r\nUSER x\r\n"), 64)
	if _, err := r.ReadLine(); err != nil || r.Buffered() != len("USER x\r\n") {
		t.Errorf("got %d buffered, %v, want 8", r.Buffered(), err)
	}
}

// countWrites counts the writes that reach the connection.
type countWrites struct {
	strings.Builder
	writes int
}

func (c *countWrites) Write(p []byte) (int, error) { c.writes++; return c.Builder.Write(p) }

func TestReply(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, text, want string }{
		{"one line", "Done.", "200 Done.\r\n"},
		{"three lines", "A\n226 B\nC", "200-A\r\n 226 B\r\n200 C\r\n"},
		{"control characters", "a\r226 \x00b\x7f", "200 a?226 ?b?\r\n"},
		{"empty", "", "200 \r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var out countWrites
			if err := lineio.NewWriter(&out).Reply(200, c.text); err != nil {
				t.Fatal(err)
			}
			if out.String() != c.want || out.writes != 1 {
				t.Errorf("got %q in %d writes, want %q in one", out.String(), out.writes, c.want)
			}
		})
	}
}

func FuzzReadLine(f *testing.F) {
	for _, seed := range []string{"USER x\r\nPASS y\r\n", "\xff\xf4\xff\xf2ABOR\r\n", "\xff\xfa\n\xff\xf0a\n", strings.Repeat("a", 300)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		const limit = 128
		r := lineio.NewReader(strings.NewReader(string(in)), limit)
		for {
			line, err := r.ReadLine()
			if err != nil {
				return
			}
			if len(line) > limit || strings.ContainsAny(line, "\r\n") {
				t.Fatalf("got %q", line)
			}
		}
	})
}

func FuzzReply(f *testing.F) {
	f.Add("Done.")
	f.Add("a\n226 b\nc\r\nd")
	f.Fuzz(func(t *testing.T, text string) {
		var out strings.Builder
		_ = lineio.NewWriter(&out).Reply(250, text)
		lines := strings.Split(strings.TrimSuffix(out.String(), "\r\n"), "\r\n")
		for i, line := range lines {
			if strings.ContainsAny(line, "\r\n") {
				t.Fatalf("line %q", line)
			}
			if last := strings.HasPrefix(line, "250 "); last != (i == len(lines)-1) {
				t.Fatalf("line %d of %q would end the reply", i, out.String())
			}
		}
	})
}
