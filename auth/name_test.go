package auth

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheckName(t *testing.T) {
	t.Parallel()
	for _, good := range []string{
		"a", "7", "joe", "joe.doe", "scanner-7", "joe_doe", "joe+ftp", "joe@example.com",
		"com", "com10", "console", "nul-1", "x.nul", strings.Repeat("a", maxNameBytes),
	} {
		if err := CheckName(good); err != nil {
			t.Errorf("%q: got %v, want nil", good, err)
		}
	}
	for bad, reason := range map[string]string{
		"":                                  "empty",
		strings.Repeat("a", maxNameBytes+1): "longer than 64",
		".":                                 "must begin",
		"..":                                "must begin",
		".hidden":                           "must begin",
		"-rf":                               "must begin",
		"_x":                                "must begin",
		"a..b":                              "way out",
		"joe.":                              "dot at the end",
		"Joe":                               "upper case",
		"joE":                               "upper case",
		"a/b":                               `'/' is not one of`,
		`a\b`:                               "is not one of",
		"a b":                               "is not one of",
		"a\x00":                             "is not one of",
		"a\n":                               "is not one of",
		"a:b":                               "is not one of",
		"a%b":                               "is not one of",
		"jürgen":                            "is not one of",
		"con":                               "device",
		"nul.txt":                           "device",
		"aux.tar.gz":                        "device",
		"com1":                              "device",
		"lpt0.x":                            "device",
		"lost+found":                        "folder of the file system",
	} {
		err := CheckName(bad)
		if !errors.Is(err, ErrName) || !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: got %v, want %v", bad, err, ErrName)
			continue
		}
		if !strings.Contains(err.Error(), reason) {
			t.Errorf("%q: got %v, want a text with %q", bad, err, reason)
		}
	}
}

func FuzzCheckName(f *testing.F) {
	for _, seed := range []string{"joe", "Joe", "..", "a..b", "con.x", "a/b", "joe.", "\xff", "a\x00b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if CheckName(name) != nil {
			return
		}
		if !filepath.IsLocal(name) || filepath.Base(name) != name || filepath.Clean(name) != name {
			t.Errorf("%q is not the name of a folder", name)
		}
		if strings.ToLower(name) != name || len(name) > maxNameBytes || strings.ContainsAny(name, "/\\:*?\"<>|\x00 \r\n") {
			t.Errorf("%q is not safe", name)
		}
	})
}

func TestParseAddress(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"joe@example.com":       "joe@example.com",
		"Joe.Doe@Example.COM":   "joe.doe@example.com",
		"@Example.com":          "@example.com",
		"o'neil+tag@a-b.co":     "o'neil+tag@a-b.co",
		"scanner@localhost":     "scanner@localhost",
		"x@xn--bcher-kva.ch":    "x@xn--bcher-kva.ch",
		"!#$%&'*+-/=?^_`{|}~@e": "!#$%&'*+-/=?^_`{|}~@e",
	} {
		got, err := ParseAddress(text)
		if err != nil || got != want {
			t.Errorf("%q: got %q, %v, want %q", text, got, err, want)
		}
	}
	for _, bad := range []string{
		"", "@", "joe", "joe@", "a@b@c", "joe@.com", "joe@example..com", "joe@example.com.", "joe@-x.com", "joe@x-.com",
		".joe@x.com", "joe.@x.com", "j..oe@x.com", `"joe doe"@x.com`, "joe doe@x.com", "joe@x .com", "<joe@x.com>",
		"joe@[192.0.2.1]", "joe@exämple.com", "jürgen@x.com", "joe\r\n@x.com", "joe@x.com\n", "joe\x00@x.com",
		"\u212Aelvin@x.com", // a letter whose lower case is ASCII
		strings.Repeat("a", maxLocalBytes+1) + "@x.com", "a@" + strings.Repeat("a", maxLabelBytes+1) + ".com",
		"a@" + strings.Repeat("a.", 130) + "com",
	} {
		if got, err := ParseAddress(bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: got %q, %v, want %v", bad, got, err, ErrInvalid)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, seed := range []string{"joe@example.com", "@example.com", "a@b@c", "\u212Ax@x", "", "@", "*@c"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ParseAddress(text)
		if err != nil {
			return
		}
		if again, err := ParseAddress(got); err != nil || again != got {
			t.Errorf("%q: got %q, then %q, %v", text, got, again, err)
		}
		want := strings.ToLower(text)
		if strings.HasPrefix(want, "*@") {
			want = want[1:] // two ways to write it
		}
		if got != want || strings.Count(got, "@") != 1 || strings.ContainsAny(got, " <>\"\r\n\x00") {
			t.Errorf("%q: got %q", text, got)
		}
	})
}
