// Package storagetest is the suite that every implementation of storage.FS
// passes: the contract of package storage, one named case for each promise.
package storagetest

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"

	"gateway/session"
	"gateway/storage"
)

// testCase is one promise. Each runs on an empty tree of its own.
type testCase struct {
	name string
	run  func(t *testing.T, tree storage.FS)
}

// An Ability is something that not every implementation has, by the name of a case that
// wants it.
type Ability string

const (
	// FollowFolders is of uploads: they go on in their folder when that is moved meanwhile.
	FollowFolders Ability = "upload into a folder that is moved"
	// ReadBack is of uploads: what was written can be read, and put on stable storage.
	ReadBack Ability = "reads back what was written"
	// UploadAttr is of uploads: all attributes can be set, their size included.
	UploadAttr Ability = "of an upload"
	// HoldContent is of files that are open: they keep their content.
	HoldContent Ability = "a reader keeps the old content"
	// ReplaceAtOnce is of uploads: their name has always something while they replace it.
	ReplaceAtOnce Ability = "a reader never sees half"
	// Resize is cutting files.
	Resize Ability = "size"
	// Times can be set, those of last access included.
	Times Ability = "times"
	// Permissions are shown and set.
	Permissions Ability = "permissions"
	// ShutOut is permissions of nobody, which some servers do not give.
	ShutOut Ability = "permissions that shut everybody out"
	// Backslashes may be in names, and control characters.
	Backslashes Ability = "backslashes and control characters"
	// Blanks may be at the end of names.
	Blanks Ability = "a blank at the end"
	// Room is known.
	Room Ability = "space"
)

// cases are the names of the cases that want an ability.
func (a Ability) cases() []string {
	if a == Permissions {
		return []string{string(a), "existing permissions stay", "a file that may not be written"}
	}
	return []string{string(a)}
}

// Run runs the suite, but for what the implementation says that it lacks. open returns a
// new, empty tree, and closes it by t.Cleanup if it has to be closed.
func Run(t *testing.T, open func(t *testing.T) storage.FS, lacks ...Ability) {
	var left []string
	for _, a := range lacks {
		left = append(left, a.cases()...)
	}
	groups := []struct {
		name  string
		cases []testCase
	}{
		{"upload", uploadCases()},
		{"resume", resumeCases()},
		{"concurrent", concurrentCases()},
		{"name", nameCases()},
		{"link", linkCases()},
		{"folder", folderCases()},
		{"rename", renameCases()},
		{"attr", attrCases()},
		{"file", fileCases()},
	}
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			for _, c := range g.cases {
				if slices.Contains(left, c.name) {
					continue
				}
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					c.run(t, open(t))
				})
			}
		})
	}
}

// create begins an upload or fails the test.
func create(t *testing.T, tree storage.FS, name string, opts storage.CreateOptions) storage.Upload {
	t.Helper()
	u, err := tree.Create(t.Context(), name, opts)
	if err != nil {
		t.Fatalf("Create(%q): %v", name, err)
	}
	return u
}

// writeAt writes or fails the test.
func writeAt(t *testing.T, u storage.Upload, content string, off int64) {
	t.Helper()
	if n, err := u.WriteAt([]byte(content), off); n != len(content) || err != nil {
		t.Fatalf("WriteAt: got %d, %v", n, err)
	}
}

// put uploads content.
func put(t *testing.T, tree storage.FS, name, content string) {
	t.Helper()
	u := create(t, tree, name, storage.CreateOptions{})
	writeAt(t, u, content, 0)
	if err := u.Commit(t.Context()); err != nil {
		t.Fatalf("Commit(%q): %v", name, err)
	}
}

// interrupt leaves an interrupted upload with content at name.
func interrupt(t *testing.T, tree storage.FS, name, content string) {
	t.Helper()
	u := create(t, tree, name, storage.CreateOptions{})
	writeAt(t, u, content, 0)
	if err := u.Abort(true); err != nil {
		t.Fatalf("Abort(%q): %v", name, err)
	}
}

func mkdir(t *testing.T, tree storage.FS, name string) {
	t.Helper()
	if err := tree.Mkdir(t.Context(), name); err != nil {
		t.Fatalf("Mkdir(%q): %v", name, err)
	}
}

// get reads all of name.
func get(t *testing.T, tree storage.FS, name string) string {
	t.Helper()
	file, err := tree.Open(t.Context(), name)
	if err != nil {
		t.Fatalf("Open(%q): %v", name, err)
	}
	defer file.Close()
	return readAll(t, file)
}

func readAll(t *testing.T, file storage.File) string {
	t.Helper()
	info, err := file.Stat()
	if err != nil {
		t.Fatalf("Stat: %v", err)
	}
	var b bytes.Buffer
	if _, err := io.Copy(&b, io.NewSectionReader(file, 0, info.Size)); err != nil {
		t.Fatalf("read: %v", err)
	}
	return b.String()
}

func wantContent(t *testing.T, tree storage.FS, name, want string) {
	t.Helper()
	if got := get(t, tree, name); got != want {
		t.Errorf("content of %q: got %q, want %q", name, got, want)
	}
}

// want checks the kind of err; a nil kind wants success.
func want(t *testing.T, what string, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) || kind == nil && err != nil {
		t.Errorf("%s: got %v, want %v", what, err, kind)
	}
}

// wantSize checks what Stat says of name.
func wantSize(t *testing.T, tree storage.FS, name string, size int64) {
	t.Helper()
	info, err := tree.Stat(t.Context(), name)
	if err != nil || info.Size != size {
		t.Errorf("Stat(%q): got size %d, %v; want %d", name, info.Size, err, size)
	}
}

// wantGone checks that nothing is at name.
func wantGone(t *testing.T, tree storage.FS, name string) {
	t.Helper()
	_, err := tree.Stat(t.Context(), name)
	want(t, "Stat of "+name, err, session.ErrNotExist)
	_, err = tree.Lstat(t.Context(), name)
	want(t, "Lstat of "+name, err, session.ErrNotExist)
	file, err := tree.Open(t.Context(), name)
	want(t, "Open of "+name, err, session.ErrNotExist)
	if err == nil {
		_ = file.Close()
	}
}

// list returns the names in folder with their Info.
func list(t *testing.T, tree storage.FS, folder string) map[string]storage.Info {
	t.Helper()
	found := make(map[string]storage.Info)
	for info, err := range tree.List(t.Context(), folder) {
		if err != nil {
			t.Fatalf("List(%q): %v", folder, err)
		}
		if _, twice := found[info.Name]; twice {
			t.Errorf("List(%q): %q twice", folder, info.Name)
		}
		found[info.Name] = info
	}
	return found
}

// listError returns the error that ends the listing of folder.
func listError(t *testing.T, tree storage.FS, folder string) error {
	t.Helper()
	for _, err := range tree.List(t.Context(), folder) {
		if err != nil {
			return err
		}
	}
	return nil
}
