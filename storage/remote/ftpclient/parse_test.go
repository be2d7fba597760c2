package ftpclient

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"
)

func TestReadReply(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]string{
		"220 hello\r\n":                       "220 [hello]",
		"220 hello\n":                         "220 [hello]",
		"220\r\n":                             "220 []",
		"230-one\r\n230-two\r\n230 three\r\n": "230 [one two three]",
		"211-first\r\n MLST x;\r\n200 other\r\n211 end\r\n": "211 [first  MLST x; 200 other end]",
		"hello\r\n":          "it sends what is no reply of FTP",
		"\r\n":               "it sends what is no reply of FTP",
		"999 x\r\n":          "it sends what is no reply of FTP",
		"22x x\r\n":          "it sends what is no reply of FTP",
		"2200 x\r\n":         "it sends what is no reply of FTP",
		"220-never ends\r\n": "EOF",
		"220 no end":         "EOF",
		"220 " + strings.Repeat("x", maxLine) + "\r\n":               errLine.Error(),
		"220-x\r\n" + strings.Repeat("yyyyyyyy\r\n", maxReply/8):     errReply.Error(),
		"220-x\r\n" + strings.Repeat("\r\n", maxReply) + "220 y\r\n": errReply.Error(),
	} {
		r, err := readReply(newReader(strings.NewReader(said)))
		got := fmt.Sprintf("%d %v", r.code, r.lines)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%.40q: got %q, want %q", said, got, want)
		}
	}
}

func TestPorts(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		"Entering Extended Passive Mode (|||6446|)": 6446, "ok (!!!1!)": 1, "(|||0|)": 0, "(|||65536|)": 0, "(|||-1|)": 0, "(||6446|)": 0,
		"(|||6446)": 0, "|||6446|": 0, "()": 0, "(||||)": 0,
	} {
		if got, ok := extendedPort(text); got != want && ok || ok != (want > 0) {
			t.Errorf("EPSV %q: got %d, %v; want %d", text, got, ok, want)
		}
	}
	for text, want := range map[string]int{
		"Entering Passive Mode (192,0,2,7,4,1).": 1025, "=127,0,0,1,0,21": 21, "(127,0,0,1,256,1)": 0, "(127,0,0,1,0,0)": 0, "(127,0,0,1,4)": 0, "none": 0,
		"(1,2,3,4,5,6,7)": 0,
	} {
		if got, ok := passivePort(text); ok != (want > 0) || ok && got != want {
			t.Errorf("PASV %q: got %d, %v; want %d", text, got, ok, want)
		}
	}
}

func TestFacts(t *testing.T) {
	t.Parallel()
	when := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for line, want := range map[string]Entry{
		"type=file;size=17;modify=20260102030405;UNIX.mode=0640; a b": {"a b", File, 17, when, 0o640, true},
		"Type=dir;Modify=20260102030405.123; d":                       {"d", Folder, -1, when, 0, false},
		"type=cdir; /whatever":                                        {".", Folder, -1, time.Time{}, 0, false},
		"type=pdir; ..":                                               {"..", Folder, -1, time.Time{}, 0, false},
		"type=OS.unix=slink:/etc; l":                                  {"l", Link, -1, time.Time{}, 0, false},
		"type=OS.unix=symlink; l":                                     {"l", Link, -1, time.Time{}, 0, false},
		"type=OS.unix=chr-1/3; null":                                  {"null", Other, -1, time.Time{}, 0, false},
		"type=file;size=-1;unix.mode=9;modify=never;  blank":          {" blank", File, -1, time.Time{}, 0, false},
	} {
		if got, ok := parseFacts(line); !ok || got != want {
			t.Errorf("%q: got %+v, %v; want %+v", line, got, ok, want)
		}
	}
	for _, line := range []string{"", " ", "type=file;", "type=file", "size=1; a", "type=file; ", "garbage a"} {
		if got, ok := parseFacts(line); ok {
			t.Errorf("%q: got %+v", line, got)
		}
	}
	for offered, want := range map[string]string{
		"type*;size*;modify*;UNIX.mode*;": "", "": "", "Type*;Size;UNIX.mode;perm*;": "Type;Size;UNIX.mode;", "perm;": "",
	} {
		if got := wantedFacts(offered); got != want {
			t.Errorf("of %q: got %q, want %q", offered, got, want)
		}
	}
}

func TestLong(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	day := func(year int, month time.Month, day, hour, minute int) time.Time {
		return time.Date(year, month, day, hour, minute, 0, 0, time.UTC)
	}
	for line, want := range map[string]Entry{
		"-rw-r--r--    1 ftp      ftp            17 Feb 02 15:04 a b": {"a b", File, 17, day(2026, 2, 2, 15, 4), 0o644, true},
		"-rw-r--r-- 1 ftp ftp 17 Nov 12 15:04  two":                   {" two", File, 17, day(2025, 11, 12, 15, 4), 0o644, true},
		"drwxr-x---+ 2 1000 1000 4096 Dec 31  1999 d":                 {"d", Folder, 0, day(1999, 12, 31, 0, 0), 0o750, true},
		"lrwxrwxrwx 1 a b 3 Jan  1 00:00 l -> /etc/passwd":            {"l", Link, 3, day(2026, 1, 1, 0, 0), 0o777, true},
		"-rw------- 1 owner 5 Jan  1 00:00 no group":                  {"no group", File, 5, day(2026, 1, 1, 0, 0), 0o600, true},
		"-rw------- 1 a b 5 Feb 29 00:00 leap":                        {},
		"prw------- 1 a b 5 Jan  1 00:00 p":                           {"p", Other, 0, day(2026, 1, 1, 0, 0), 0o600, true},
		"-rwsr-Sr-t 1 a b 5 Jan  1 00:00 s":                           {"s", File, 5, day(2026, 1, 1, 0, 0), 0o745, true},
		"01-02-26  03:04PM       <DIR>          Program Files":        {"Program Files", Folder, 0, day(2026, 1, 2, 15, 4), 0, false},
		"01-02-2026  03:04AM                 17 a.txt":                {"a.txt", File, 17, day(2026, 1, 2, 3, 4), 0, false},
		"total 17":                             {},
		"":                                     {},
		"-rw-r--r-- 1 a b many Jan  1 00:00 x": {},
		"-rw-r--r-- 1 a b -5 Jan  1 00:00 x":   {},
		"-rw-r--r-- 1 a b 5 Jan  1 00:00":      {},
		"-rw-r--r-- 1 a b 5 Jan  1 00:00 ":     {},
		"?rw-r--r-- 1 a b 5 Jan  1 00:00 x":    {},
		"-rw-r??r-- 1 a b 5 Jan  1 00:00 x":    {},
		"01-02-26  03:04PM  <DIR>":             {},
		"99-99-26  03:04PM  17 x":              {},
	} {
		if got, ok := parseLong(line, now); got != want && ok || ok != (want.Name != "") {
			t.Errorf("%q: got %+v, %v; want %+v", line, got, ok, want)
		}
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("made: %w", &Error{"MKD", 550, strings.Repeat("no ", 100)})
	if code, forGood := Code(err); code != 550 || !forGood {
		t.Errorf("got %d, %v", code, forGood)
	}
	if text := err.Error(); len(text) > 200 || !strings.Contains(text, "MKD with 550") {
		t.Errorf("got %q", text)
	}
	if code, _ := Code(errors.New("other")); code != 0 {
		t.Errorf("got %d", code)
	}
	if _, forGood := Code(&Error{"RETR", 450, ""}); forGood {
		t.Error("450 is for good")
	}
}

func FuzzReadReply(f *testing.F) {
	for _, s := range []string{"220 a\r\n", "230-a\r\n230 b\r\n", "211-a\r\n b\r\n211 c\r\n", "x"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		r, err := readReply(newReader(strings.NewReader(string(said))))
		if err == nil && (r.code < 100 || r.code > 599 || len(r.lines) == 0) {
			t.Errorf("%q: %+v", said, r)
		}
		_, _ = extendedPort(string(said))
		_, _ = passivePort(string(said))
		_ = features(r)
		_ = wantedFacts(string(said))
	})
}

func FuzzListing(f *testing.F) {
	for _, s := range []string{
		"type=file;size=17;modify=20260102030405;UNIX.mode=0640; a b", "-rw-r--r-- 1 ftp ftp 17 Feb 02 15:04 a b",
		"lrwxrwxrwx 1 a b 3 Jan  1 00:00 l -> /etc/passwd", "01-02-26  03:04PM  <DIR>  d", "01-02-2026  03:04AM  17 a",
	} {
		f.Add(s)
	}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, line string) {
		for _, parse := range []func(string) (Entry, bool){parseFacts, func(s string) (Entry, bool) { return parseLong(s, now) }} {
			if e, ok := parse(line); ok && (e.Name == "" || e.Size < -1 || e.Perm&^fs.ModePerm != 0 || len(e.Name) > len(line) && e.Name != "." && e.Name != "..") {
				t.Errorf("%q: %+v", line, e)
			}
		}
	})
}

func TestQuotedPath(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{ // empty for none
		`"/home/joe" is the current directory`: "/home/joe", `"/a ""b"" c" is it`: `/a "b" c`, `"/"`: "/", `"/a"""`: `/a"`,
		`"/a`: "", `/a`: "", `"relative"`: "", `""`: "", ``: "",
	} {
		if got, ok := quotedPath(text); ok != (want != "") || ok && got != want {
			t.Errorf("%s: got %q, %v, want %q", text, got, ok, want)
		}
	}
}
