package foreign

import (
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// sample is a good source of a format, with the command that reads it.
type sample struct {
	name    string
	files   memory
	command []string
}

// samples are those of testdata in which accounts are found, at least one for each format.
func samples(t testing.TB) []sample {
	t.Helper()
	sources, _ := filepath.Glob("testdata/*.txtar")
	var out []sample
	seen := make(map[string]bool)
	for _, source := range sources {
		ar, err := txtar.ParseFile(source)
		if err != nil {
			t.Fatal(err)
		}
		s := sample{name: strings.TrimSuffix(filepath.Base(source), ".txtar"), files: memory{}, command: strings.Fields(string(ar.Comment))}
		for _, f := range ar.Files {
			s.files[f.Name] = string(f.Data)
		}
		if found, err := read(s.command[0], s.files, s.command[1:]); err == nil && len(found.Accounts) > 0 {
			out = append(out, s)
			seen[s.command[0]] = true
		}
	}
	for _, f := range Formats() {
		if !seen[f.Name] && f.Name != "gateway" { // whose only sample is a test of its own
			t.Errorf("no sample of format %q finds an account", f.Name)
		}
	}
	return out
}

// with is the sample with its first file, and all others that are given, changed.
func (s sample) with(change func(string) string) (Found, error) {
	files := memory{}
	for name, content := range s.files {
		files[name] = content
		if slices.Contains(s.command[1:], name) {
			files[name] = change(content)
		}
	}
	return read(s.command[0], files, s.command[1:])
}

func names(f Found) []string {
	var out []string
	for _, a := range f.Accounts {
		out = append(out, a.Name)
	}
	return out
}

// How lines end, and a mark before the first, changes nothing of what is found.
func TestLineEndsAndMarks(t *testing.T) {
	t.Parallel()
	for _, s := range samples(t) {
		want, err := read(s.command[0], s.files, s.command[1:])
		if err != nil {
			t.Fatal(err)
		}
		for how, change := range map[string]func(string) string{
			"CRLF":   func(c string) string { return strings.ReplaceAll(strings.ReplaceAll(c, "\r\n", "\n"), "\n", "\r\n") },
			"mark":   func(c string) string { return "\xef\xbb\xbf" + strings.TrimPrefix(c, "\xef\xbb\xbf") },
			"no end": func(c string) string { return strings.TrimSuffix(c, "\n") },
		} {
			if got, err := s.with(change); err != nil || !slices.Equal(names(got), names(want)) {
				t.Errorf("%s, %s: got %q, %v, want %q", s.name, how, names(got), err, names(want))
			}
		}
	}
}

// Whatever a file holds, it ends in few words. Names that no account could have are refused by
// who takes the accounts over.
func TestHostileSources(t *testing.T) {
	t.Parallel()
	for _, s := range samples(t) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(1, 2))
			noise := make([]byte, 64<<10)
			for i := range noise {
				noise[i] = byte(r.Uint32())
			}
			changes := map[string]func(string) string{
				"nothing":         func(string) string { return "" },
				"noise":           func(string) string { return string(noise) },
				"a megabyte":      func(c string) string { return c + strings.Repeat("a", 1<<20) },
				"a million lines": func(c string) string { return c + strings.Repeat("x\n", 1_000_000) },
				"NULs":            func(c string) string { return strings.ReplaceAll(c, "o", "o\x00") },
				"Latin-1":         func(c string) string { return strings.ReplaceAll(c, "o", "\xf6") },
				"colons":          func(string) string { return strings.Repeat(":", 1<<20) },
			}
			for at := range 40 {
				changes["cut off at "+string(rune('A'+at))] = func(c string) string { return c[:len(c)*at/40] }
			}
			for how, change := range changes {
				found, err := s.with(change)
				if err != nil && len(err.Error()) > 2000 {
					t.Errorf("%s: an error of %d bytes", how, len(err.Error()))
				}
				if len(found.Refused) > 2*(maxRefusals+1) {
					t.Errorf("%s: %d refusals", how, len(found.Refused))
				}
				for _, refused := range found.Refused {
					if len(refused.Reason) > 1000 {
						t.Errorf("%s: a refusal of %d bytes", how, len(refused.Reason))
						break
					}
				}
				for _, a := range found.Accounts {
					if a.Name == "" || strings.ContainsAny(a.Name, "\x00\n") || a.At.File == "" {
						t.Errorf("%s: account %q at %v", how, a.Name, a.At)
						break
					}
				}
			}
		})
	}
}
