package transfer_test

import (
	"errors"
	"path"
	"strings"
	"testing"

	"gateway/session"
	"gateway/transfer"
)

func TestResolve(t *testing.T) {
	t.Parallel()
	cases := []struct{ cwd, name, want string }{
		{"/", "", "/"},
		{"/", "a", "/a"},
		{"/", "/a", "/a"},
		{"/d/e", "", "/d/e"},
		{"/d/e", ".", "/d/e"},
		{"/d/e", "..", "/d"},
		{"/d/e", "../../..", "/"},
		{"/d/e", "/../..", "/"},
		{"/d/e", "f/../g//h/", "/d/e/g/h"},
		{"/d/e", "//f", "/f"},
		{"/d", `..\f`, `/d/..\f`},
		{"", "a", "/a"},
		{"/d", " ", "/d/ "},
	}
	for _, c := range cases {
		if got, err := transfer.Resolve(c.cwd, c.name); got != c.want || err != nil {
			t.Errorf("Resolve(%q, %q): got %q, %v, want %q", c.cwd, c.name, got, err, c.want)
		}
	}
	long := strings.Repeat("n", transfer.MaxPath)
	for _, c := range []struct{ cwd, name string }{
		{"/", "a\x00b"}, {"/", "a\rb"}, {"/", "a\nb"}, {"/", "/" + long}, {"/", long}, {"/d", long[1:]},
	} {
		if got, err := transfer.Resolve(c.cwd, c.name); !errors.Is(err, session.ErrName) {
			t.Errorf("Resolve(%q, %.10q): got %.10q, %v, want %v", c.cwd, c.name, got, err, session.ErrName)
		}
	}
	if _, err := transfer.Resolve("/", "/"+long[1:]); err != nil {
		t.Errorf("the longest path: %v", err)
	}
}

// FuzzResolve holds that a resolved path is absolute, clean, never above the
// root, and stays what it is when it is resolved again, from anywhere.
func FuzzResolve(f *testing.F) {
	for _, seed := range [][2]string{
		{"/", "a"}, {"/a/b", "../../../../etc/passwd"}, {"/a", "/../x"}, {"", ""}, {"/a", "b/./../../c//d/"}, {"..", ".."},
		{"/", "a\nb"}, {"/", "\x00"}, {"/x", "....//"}, {"a/../..", "b"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, cwd, name string) {
		got, err := transfer.Resolve(cwd, name)
		if err != nil {
			if got != "" || !errors.Is(err, session.ErrName) {
				t.Fatalf("got %q, %v", got, err)
			}
			return
		}
		if got == "" || got[0] != '/' || path.Clean(got) != got || len(got) > transfer.MaxPath {
			t.Fatalf("Resolve(%q, %q): got %q", cwd, name, got)
		}
		for part := range strings.SplitSeq(got, "/") {
			if part == ".." || part == "." {
				t.Fatalf("Resolve(%q, %q): got %q", cwd, name, got)
			}
		}
		if strings.ContainsAny(name, "\x00\r\n") {
			t.Fatalf("Resolve(%q, %q) took a bad name", cwd, name)
		}
		if strings.ContainsAny(cwd, "\x00\r\n") {
			return // the working directory is a path that was resolved before
		}
		for _, from := range []string{"/", "/elsewhere", cwd} {
			if again, err := transfer.Resolve(from, got); again != got || err != nil {
				t.Fatalf("again: got %q, %v, want %q", again, err, got)
			}
		}
	})
}
