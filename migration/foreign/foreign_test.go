package foreign

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write what is found into the files of testdata")

// memory is Files that are not on a disk, by their names.
type memory map[string]string

func (m memory) Read(name string) ([]byte, error) {
	content, ok := m[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return []byte(content), nil
}

func (m memory) List(folder string) ([]string, error) {
	var names []string
	for name := range m {
		if path.Dir(name) == folder {
			names = append(names, path.Base(name))
		}
	}
	if names == nil {
		return nil, &fs.PathError{Op: "open", Path: folder, Err: fs.ErrNotExist}
	}
	slices.Sort(names)
	return names, nil
}

func read(format string, files memory, names []string) (Found, error) {
	for _, f := range Formats() {
		if f.Name == format {
			return f.Read(files, names)
		}
	}
	return Found{}, fmt.Errorf("there is no format %q", format)
}

// The files of testdata hold sources, made by the tools of the servers themselves, and at
// the end what is found in them. Their comment is the command: FORMAT FILE...
func TestSources(t *testing.T) {
	t.Parallel()
	sources, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(sources) == 0 {
		t.Fatalf("no sources: %v", err)
	}
	for _, source := range sources {
		t.Run(strings.TrimSuffix(filepath.Base(source), ".txtar"), func(t *testing.T) {
			t.Parallel()
			ar, err := txtar.ParseFile(source)
			if err != nil {
				t.Fatal(err)
			}
			files, want := memory{}, ""
			for _, f := range ar.Files {
				if f.Name == "found" {
					want = string(f.Data)
				} else {
					files[f.Name] = string(f.Data)
				}
			}
			command := strings.Fields(string(ar.Comment))
			found, err := read(command[0], files, command[1:])
			got := render(found, err)
			if got == want {
				return
			}
			if !*update {
				t.Errorf("got\n%s\nwant\n%s", got, want)
				return
			}
			ar.Files = slices.DeleteFunc(ar.Files, func(f txtar.File) bool { return f.Name == "found" })
			ar.Files = append(ar.Files, txtar.File{Name: "found", Data: []byte(got)})
			if err := os.WriteFile(source, txtar.Format(ar), 0o644); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// render says what was found, a line for each thing.
func render(found Found, err error) string {
	var b strings.Builder
	if err != nil {
		fmt.Fprintf(&b, "error: %v\n", err)
	}
	for _, a := range found.Accounts {
		fmt.Fprintf(&b, "account %s at %v\n", a.Name, a.At)
		for _, field := range []struct {
			name string
			set  bool
			text any
		}{
			{"hash", a.Hash != "", a.Hash}, {"password", !a.Plain.Empty(), a.Plain.Reveal()}, {"disabled", a.Disabled, a.Disabled},
			{"home", a.Home != "", a.Home}, {"groups", len(a.Groups) > 0, a.Groups}, {"keys", len(a.Keys) > 0, len(a.Keys)},
			{"addresses", len(a.Addresses) > 0, a.Addresses}, {"bytes", a.Quota.Bytes != 0, a.Quota.Bytes}, {"files", a.Quota.Files != 0, a.Quota.Files},
			{"bandwidth", a.Bandwidth != 0, a.Bandwidth}, {"expires", !a.Expires.IsZero(), a.Expires}, {"from", len(a.From) > 0, a.From},
			{"not from", len(a.NotFrom) > 0, a.NotFrom}, {"hours", len(a.Hours) > 0, a.Hours},
		} {
			if field.set {
				fmt.Fprintf(&b, "  %s %v\n", field.name, field.text)
			}
		}
		for _, r := range a.Permissions {
			fmt.Fprintf(&b, "  permission %s=%s\n", r.Path, r.May)
		}
		for _, l := range a.Lost {
			fmt.Fprintf(&b, "  lost %s\n", l)
		}
	}
	for _, r := range found.Refused {
		fmt.Fprintf(&b, "refused %q at %v: %s\n", r.Name, r.At, r.Reason)
	}
	for _, n := range found.Notes {
		fmt.Fprintf(&b, "note %s\n", n)
	}
	return b.String()
}

// Whatever a file holds, what comes of it is bounded, and has a name and a place.
func FuzzRead(f *testing.F) {
	sources, _ := filepath.Glob("testdata/*.txtar")
	for _, source := range sources {
		ar, err := txtar.ParseFile(source)
		if err != nil {
			f.Fatal(err)
		}
		format := strings.Fields(string(ar.Comment))[0]
		for _, file := range ar.Files {
			f.Add(format, file.Data, []byte("root:x:0:0:root:/root:/bin/sh\n"))
		}
	}
	f.Add("passwd", []byte("joe:$6$x$y:1000:1000::/home/joe:/bin/sh\n\x00\r\n"), []byte("joe:!:1:2:3:4:5:6:\n"))
	f.Add("vsftpd", []byte("guest_enable=YES\n"), []byte("VERSION=3\nformat=print\nHEADER=END\n joe\n secret\\\nDATA=END\n"))
	f.Fuzz(func(t *testing.T, format string, first, second []byte) {
		files := memory{"first": string(first), "second": string(second)}
		if !slices.ContainsFunc(Formats(), func(f Format) bool { return f.Name == format }) {
			return
		}
		for _, names := range [][]string{{"first"}, {"first", "second"}} {
			found, err := read(format, files, names)
			if err != nil && len(err.Error()) > 1000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			if len(found.Accounts) > len(first)+len(second) || len(found.Refused) > 2*(maxRefusals+1) {
				t.Errorf("%d accounts and %d refusals of %d bytes", len(found.Accounts), len(found.Refused), len(first)+len(second))
			}
			for _, a := range found.Accounts {
				if a.At.File == "" {
					t.Errorf("account %q stands nowhere", a.Name)
				}
			}
		}
	})
}
