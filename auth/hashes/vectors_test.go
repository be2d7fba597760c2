package hashes

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// vector is a line of testdata, made by make.sh there.
type vector struct {
	file, scheme, password, text string
}

func vectors(tb testing.TB) []vector {
	tb.Helper()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		tb.Fatalf("got %d files, %v", len(files), err)
	}
	var all []vector
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		for i, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
			part := strings.Split(line, "\t")
			if len(part) != 3 {
				tb.Fatalf("%s:%d: %d parts, want 3", file, i+1, len(part))
			}
			password, err := strconv.Unquote(part[1])
			if err != nil {
				tb.Fatalf("%s:%d: %v", file, i+1, err)
			}
			all = append(all, vector{file + ":" + strconv.Itoa(i+1), part[0], password, part[2]})
		}
	}
	return all
}

// TestVectors is that what other programs wrote is read, kept, and fits its password
// and no other.
func TestVectors(t *testing.T) {
	t.Parallel()
	wrapped := make(map[string]bool) // one of each scheme will do
	for _, v := range vectors(t) {
		wrap := !wrapped[v.scheme]
		wrapped[v.scheme] = true
		t.Run(v.scheme, func(t *testing.T) {
			t.Parallel()
			h, err := Foreign(v.text)
			if err != nil {
				t.Fatalf("%s: %v", v.file, err)
			}
			if h.Scheme() != v.scheme {
				t.Errorf("%s: got %s, want %s", v.file, h.Scheme(), v.scheme)
			}
			checkStored(t, v, h)
			if !h.Weak() || !wrap {
				return
			}
			wrapped, err := h.Wrap()
			if err != nil {
				t.Fatalf("%s: %v", v.file, err)
			}
			if got, want := wrapped.Scheme(), "argon2id("+v.scheme+")"; got != want {
				t.Errorf("%s: got %s, want %s", v.file, got, want)
			}
			if strings.Contains(wrapped.Encode(), h.output) {
				t.Errorf("%s: the weak hash is in the wrapped one", v.file)
			}
			checkStored(t, v, wrapped)
		})
	}
}

// checkStored looks at a hash by way of the text that is stored.
func checkStored(t *testing.T, v vector, h Hash) {
	t.Helper()
	text := h.Encode()
	stored, err := Parse(text)
	if err != nil {
		t.Fatalf("%s: %s: %v", v.file, text, err)
	}
	if got := stored.Encode(); got != text {
		t.Errorf("%s: got %s, want %s", v.file, got, text)
	}
	if stored.Price() != h.Price() || stored.Scheme() != h.Scheme() || stored.Weak() != h.Weak() || stored.Truncates() != h.Truncates() {
		t.Errorf("%s: another hash when it is read again", v.file)
	}
	if !stored.Matches(v.password) {
		t.Errorf("%s: the password does not match", v.file)
	}
	if stored.Price().Class() == Heavy {
		return // one takes long enough
	}
	n := stored.Truncates()
	if n > 0 && stored.Matches("!"+v.password) {
		t.Errorf("%s: a wrong password matches", v.file)
	}
	longer := n > 0 && len(v.password) >= n
	if got := stored.Matches(v.password + "x"); got != longer {
		t.Errorf("%s: with another end: got %v, want %v", v.file, got, longer)
	}
}
