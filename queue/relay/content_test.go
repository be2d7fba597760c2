package relay

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func encode(tb testing.TB, content string, fold, byByte bool) string {
	tb.Helper()
	var out bytes.Buffer
	bw := bufio.NewWriter(&out)
	w := contentWriter{w: bw, fold: fold}
	var r io.Reader = strings.NewReader(content)
	if byByte {
		r = iotest.OneByteReader(r)
	}
	if err := w.copy(r, make([]byte, contentBuffer)); err != nil {
		tb.Fatal(err)
	}
	if err := bw.Flush(); err != nil {
		tb.Fatal(err)
	}
	return out.String()
}

// The nine sequences by which a dot may end a message for one server and not for
// the next: none of them leaves us as such.
func TestContent(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxTextLine)
	for name, c := range map[string]struct{ in, want string }{
		"empty":             {"", ".\r\n"},
		"plain":             {"a\r\nb\r\n", "a\r\nb\r\n.\r\n"},
		"no end":            {"a", "a\r\n.\r\n"},
		"ends in CR":        {"a\r", "a\r\n.\r\n"},
		"dots":              {".\r\n..a\r\nb.\r\n", "..\r\n...a\r\nb.\r\n.\r\n"},
		"LF.LF":             {"a\n.\nb", "a\r\n..\r\nb\r\n.\r\n"},
		"LF.CR":             {"a\n.\rb", "a\r\n..\r\nb\r\n.\r\n"},
		"CR.LF":             {"a\r.\nb", "a\r\n..\r\nb\r\n.\r\n"},
		"CR.CR":             {"a\r.\rb", "a\r\n..\r\nb\r\n.\r\n"},
		"LF.CRLF":           {"a\n.\r\nb", "a\r\n..\r\nb\r\n.\r\n"},
		"CR.CRLF":           {"a\r.\r\nb", "a\r\n..\r\nb\r\n.\r\n"},
		"CRLF.CRCRLF":       {"a\r\n.\r\r\nb", "a\r\n..\r\n\r\nb\r\n.\r\n"},
		"CRCRLF.CRCRLF":     {"a\r\r\n.\r\r\nb", "a\r\n\r\n..\r\n\r\nb\r\n.\r\n"},
		"CRLF NUL.CRLF":     {"a\r\n\x00.\r\nb", "a\r\n\x00.\r\nb\r\n.\r\n"},
		"longest line":      {long + "\r\n", long + "\r\n.\r\n"},
		"long line":         {long + ".y\r\n", long + "\r\n .y\r\n.\r\n"},
		"longest with dots": {"." + long[1:] + "\r\n", "." + "." + long[1:] + "\r\n.\r\n"},
		"UTF-8 is not cut":  {long[:997] + "üy", long[:997] + "\r\n üy\r\n.\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := encode(t, c.in, true, false); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	if got, want := encode(t, long+"yz", false, false), long+"yz\r\n.\r\n"; got != want {
		t.Errorf("unfolded: got %q", got)
	}
}

// All that CR, LF and NUL can be around a dot, three before it and three behind:
// what leaves has one final dot, CRLF only, and the bytes of each line are those
// that were there.
func TestSmuggling(t *testing.T) {
	t.Parallel()
	pieces := []string{""}
	for first := 0; len(pieces[len(pieces)-1]) < 3; first++ {
		for _, c := range "\r\n\x00" {
			pieces = append(pieces, pieces[first]+string(c))
		}
	}
	for _, before := range pieces {
		for _, behind := range pieces {
			content := "a" + before + "." + behind + "MAIL FROM:<evil@x.test>"
			for _, fold := range []bool{true, false} {
				out := encode(t, content, fold, false)
				if again := encode(t, content, fold, true); again != out {
					t.Fatalf("%q: got %q by bytes, %q at once", content, again, out)
				}
				checkWire(t, content, out)
			}
		}
	}
}

// checkWire reads what was sent as a server does.
func checkWire(t *testing.T, content, out string) {
	t.Helper()
	lines := strings.Split(out, "\r\n")
	if strings.ContainsAny(strings.Join(lines, ""), "\r\n") {
		t.Fatalf("%q became %q: a bare CR or LF", content, out)
	}
	if n := len(lines); n < 2 || lines[n-1] != "" || lines[n-2] != "." {
		t.Fatalf("%q became %q: no final dot", content, out)
	}
	lines = lines[:len(lines)-2]
	for i, line := range lines {
		if line == "." {
			t.Fatalf("%q became %q: a final dot within", content, out)
		}
		lines[i] = strings.TrimPrefix(line, ".")
	}
	want := strings.Split(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(content), "\n")
	if want[len(want)-1] == "" {
		want = want[:len(want)-1]
	}
	if strings.Join(lines, "\n") != strings.Join(want, "\n") {
		t.Fatalf("%q became %q", content, out)
	}
}

// Header lines that are too long are broken before a space, which a reader joins
// again to what was there; never so that a line is blank.
func TestFolding(t *testing.T) {
	t.Parallel()
	word := strings.Repeat("x", 990)
	for name, c := range map[string]struct{ in, want string }{
		"at a space":             {"To: " + word + " yyyy zz\r\n", "To: " + word + "\r\n yyyy zz\r\n"},
		"at a tab":               {"To: " + word + "\tyyyyyy\r\n", "To: " + word + "\r\n\tyyyyyy\r\n"},
		"no space":               {"T:" + word + "yyyyyyz\r\n", "T:" + word + "yyyyyy\r\n z\r\n"},
		"the only space first":   {" " + word + "yyyyyyyz\r\n", " " + word + "yyyyyyy\r\n z\r\n"},
		"the body has no fields": {"\r\n" + word + " yyyyyyyz\r\n", "\r\n" + word + " yyyyyyy\r\n z\r\n"},
	} {
		if got := encode(t, c.in, true, false); got != c.want+".\r\n" {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// Whatever the content: one final dot, CRLF only, no line too long, and what a
// server reads is what was sent.
func FuzzContent(f *testing.F) {
	for _, s := range []string{"", "a", ".", "\r\n.\r\n", "\n.\n", "\r.\r", strings.Repeat("ü", 999), strings.Repeat(".", 3000), strings.Repeat("\x80", 2500)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, content string) {
		out := encode(t, content, true, false)
		if !strings.HasSuffix(out, ".\r\n") || strings.Count("\r\n"+out, "\r\n.\r\n") != 1 {
			t.Fatalf("got %q: want one final dot", out)
		}
		bare := strings.ReplaceAll(out, "\r\n", "")
		if strings.ContainsAny(bare, "\r\n") {
			t.Fatalf("got %q: a bare CR or LF", out)
		}
		for line := range strings.SplitSeq(out, "\r\n") {
			if len(strings.TrimPrefix(line, ".")) > maxTextLine {
				t.Fatalf("line of %d bytes", len(line))
			}
		}
		if again := encode(t, content, true, true); again != out {
			t.Fatalf("got %q by bytes, %q at once", again, out)
		}
		unfolded := encode(t, content, false, true)
		if again := encode(t, content, false, false); again != unfolded {
			t.Fatalf("got %q by bytes, %q at once", unfolded, again)
		}
		want := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(content)
		if want != "" && !strings.HasSuffix(want, "\n") {
			want += "\n"
		}
		var got strings.Builder
		for line := range strings.Lines(strings.TrimSuffix(unfolded, ".\r\n")) {
			got.WriteString(strings.TrimPrefix(strings.TrimSuffix(line, "\r\n"), ".") + "\n")
		}
		if got.String() != want {
			t.Fatalf("a server reads %q, want %q", got.String(), want)
		}
	})
}

// What a peer says is bounded and printable, whatever it is.
func FuzzReply(f *testing.F) {
	for _, s := range []string{"220 hi\r\n", "250-a\r\n250 b\r\n", "250\n", "550 5.1.1 no\r\n", "999 x\r\n", "25", "250-a\r\n251 b\r\n",
		"250 \x1b[31m\x00\x80\r\n", "550-5.7.1 a\r\n550 5.7.1 b\r\n", "550 5.7.1234 x\r\n", "220-" + strings.Repeat("x", 5000)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := readReply(bufio.NewReaderSize(strings.NewReader(text), readBuffer), nil)
		if err != nil {
			return
		}
		s := r.status()
		if s.Code < 200 || s.Code > 599 || len(s.Text) > maxText || s.Enhanced == "" || s.Enhanced[0] != byte('0'+s.Code/100) && s.Code/100 != 3 {
			t.Fatalf("got %+v", s)
		}
		if s.Text != clean(s.Text) || strings.ContainsAny(s.Text, "\r\n\x00\x1b") {
			t.Fatalf("got text %q", s.Text)
		}
		if (s.Outcome == Delivered) != (s.Code/100 == 2) || (s.Outcome == Failed) != (s.Code/100 == 5) {
			t.Fatalf("got %+v", s)
		}
	})
}
