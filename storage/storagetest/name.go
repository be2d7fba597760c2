package storagetest

import (
	"strings"
	"testing"

	"gateway/session"
	"gateway/storage"
)

// badNames are names that no method takes.
func badNames() []string {
	return []string{
		"", "/", "/etc/passwd", "..", "../x", "a/..", "a/../../x", "./a", "a/", "a//b", "a/./b",
		"a\x00b", "a\rb", "a\nb", "d/a\nb", "\xff\xfe", strings.Repeat("n", 256), "d/" + strings.Repeat("n", 256),
	}
}

// methods calls every method that takes a name with name.
func methods(t *testing.T, tree storage.FS, name string) map[string]error {
	ctx := t.Context()
	calls := map[string]error{
		"Mkdir":       tree.Mkdir(ctx, name),
		"Remove":      tree.Remove(ctx, name),
		"RemoveDir":   tree.RemoveDir(ctx, name),
		"Rename from": tree.Rename(ctx, name, "free", true),
		"Rename to":   tree.Rename(ctx, "f", name, true),
		"SetAttr":     tree.SetAttr(ctx, name, storage.Attr{}),
		"Symlink at":  tree.Symlink(ctx, "f", name),
		"Link of":     tree.Link(ctx, name, "free"),
		"Link at":     tree.Link(ctx, "f", name),
		"List":        listError(t, tree, name),
	}
	_, calls["Stat"] = tree.Stat(ctx, name)
	_, calls["Lstat"] = tree.Lstat(ctx, name)
	_, calls["Open"] = tree.Open(ctx, name)
	_, calls["Readlink"] = tree.Readlink(ctx, name)
	_, calls["Create"] = tree.Create(ctx, name, storage.CreateOptions{})
	_, calls["Create keeping"] = tree.Create(ctx, name, storage.CreateOptions{Keep: storage.KeepAll})
	return calls
}

func nameCases() []testCase {
	return []testCase{
		{"bad names", func(t *testing.T, tree storage.FS) {
			put(t, tree, "f", "content")
			mkdir(t, tree, "a")
			mkdir(t, tree, "d")
			for _, name := range badNames() {
				for method, err := range methods(t, tree, name) {
					want(t, method+" with a bad name", err, session.ErrName)
				}
			}
			wantContent(t, tree, "f", "content")
			if got := len(list(t, tree, ".")); got != 3 {
				t.Errorf("%d names in the root, want 3", got)
			}
		}},
		{"strange names", func(t *testing.T, tree storage.FS) {
			for _, name := range []string{
				" a", "...", "..a", "-rf", "*", "ü", "日本語", "a;b", `"`, "~", ".hidden", "CON", "%2e%2e",
			} {
				put(t, tree, name, name)
				wantContent(t, tree, name, name)
				if _, listed := list(t, tree, ".")[name]; !listed {
					t.Errorf("%q is not listed", name)
				}
				want(t, "Remove of "+name, tree.Remove(t.Context(), name), nil)
			}
		}},
		{"strange folders", func(t *testing.T, tree storage.FS) {
			put(t, tree, "outside", "")
			for _, name := range []string{" a", "-al", "?utside", "[a-z]utside", "{x,outside}", "~", "$HOME"} {
				mkdir(t, tree, name)
				put(t, tree, name+"/inside", name)
				got := list(t, tree, name)
				if _, listed := got["inside"]; !listed || len(got) != 1 {
					t.Errorf("in %q: got %v", name, got)
				}
				wantContent(t, tree, name+"/inside", name)
				want(t, "Remove", tree.Remove(t.Context(), name+"/inside"), nil)
				want(t, "RemoveDir", tree.RemoveDir(t.Context(), name), nil)
			}
			wantContent(t, tree, "outside", "")
		}},
		{"backslashes and control characters", func(t *testing.T, tree storage.FS) {
			for _, name := range []string{`a\b`, "a\tb", "\x7f"} {
				put(t, tree, name, name)
				wantContent(t, tree, name, name)
				if _, listed := list(t, tree, ".")[name]; !listed {
					t.Errorf("%q is not listed", name)
				}
			}
		}},
		{"a blank at the end", func(t *testing.T, tree storage.FS) {
			for _, name := range []string{" ", "a ", "a"} {
				put(t, tree, name, name)
			}
			for _, name := range []string{" ", "a ", "a"} {
				wantContent(t, tree, name, name)
			}
		}},
		{"case counts", func(t *testing.T, tree storage.FS) {
			put(t, tree, "a", "lower")
			put(t, tree, "A", "upper")
			wantContent(t, tree, "a", "lower")
			wantContent(t, tree, "A", "upper")
		}},
		{"deep names", func(t *testing.T, tree storage.FS) {
			name := "d"
			for range 30 {
				mkdir(t, tree, name)
				name += "/d"
			}
			put(t, tree, name, "deep")
			wantContent(t, tree, name, "deep")
		}},
		{"errors do not show where the tree lies", func(t *testing.T, tree storage.FS) {
			mkdir(t, tree, "d")
			put(t, tree, "f", "")
			calls := methods(t, tree, "none/none")
			for method, err := range methods(t, tree, "f/none") {
				calls[method+" under a file"] = err
			}
			_, calls["Open of a folder"] = tree.Open(t.Context(), "d")
			_, calls["Create at a folder"] = tree.Create(t.Context(), "d", storage.CreateOptions{})
			calls["RemoveDir of a file"] = tree.RemoveDir(t.Context(), "f")
			said := strings.NewReplacer("none/none", "", "f/none", "") // what the peer itself said
			for method, err := range calls {
				if err == nil {
					t.Errorf("%s: got no error", method)
				} else if strings.Contains(said.Replace(err.Error()), "/") {
					t.Errorf("%s: a path in %q", method, err)
				}
			}
		}},
	}
}
