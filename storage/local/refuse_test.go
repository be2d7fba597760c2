package local_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gateway/session"
	"gateway/storage"
	"gateway/storage/local"
)

func put(t testing.TB, tree *local.FS, name, content string) {
	t.Helper()
	u, err := tree.Create(t.Context(), name, storage.CreateOptions{})
	if err != nil {
		t.Fatalf("Create(%q): %v", name, err)
	}
	if _, err := u.WriteAt([]byte(content), 0); err != nil {
		t.Fatalf("WriteAt: %v", err)
	}
	if err := u.Commit(t.Context()); err != nil {
		t.Fatalf("Commit: %v", err)
	}
}

// interrupt leaves an interrupted upload.
func interrupt(t testing.TB, tree *local.FS, name, content string) {
	t.Helper()
	u, err := tree.Create(t.Context(), name, storage.CreateOptions{})
	if err != nil {
		t.Fatalf("Create(%q): %v", name, err)
	}
	if _, err := u.WriteAt([]byte(content), 0); err != nil {
		t.Fatalf("WriteAt: %v", err)
	}
	if err := u.Abort(true); err != nil {
		t.Fatalf("Abort: %v", err)
	}
}

func want(t *testing.T, what string, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) || kind == nil && err != nil {
		t.Errorf("%s: got %v, want %v", what, err, kind)
	}
}

// Links that another program made and that leave the tree are refused on use,
// and do not tell where they lead.
func TestForeignLinksAreRefused(t *testing.T) {
	t.Parallel()
	tree, dir := open(t, local.Config{})
	foreignLinksAreRefused(t, tree, dir)
}

func foreignLinksAreRefused(t *testing.T, tree *local.FS, dir string) {
	outside := t.TempDir()
	secret := filepath.Join(outside, "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	put(t, tree, "f", "content")
	for link, target := range map[string]string{
		"file": secret, "folder": outside, "up": "..", "long": "../../../../../../../../" + secret, "slash": outside + "/",
		"hidden": "../" + filepath.Base(dir) + "/f",
	} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
		calls := map[string]error{}
		_, calls["Stat"] = tree.Stat(t.Context(), link)
		_, calls["Open"] = tree.Open(t.Context(), link)
		_, calls["Open below"] = tree.Open(t.Context(), link+"/secret")
		_, calls["Create"] = tree.Create(t.Context(), link, storage.CreateOptions{})
		_, calls["Create below"] = tree.Create(t.Context(), link+"/new", storage.CreateOptions{})
		_, calls["Readlink"] = tree.Readlink(t.Context(), link)
		calls["SetAttr"] = tree.SetAttr(t.Context(), link, storage.Attr{ModTime: new(time.Now())})
		calls["Mkdir below"] = tree.Mkdir(t.Context(), link+"/new")
		calls["Remove below"] = tree.Remove(t.Context(), link+"/secret")
		calls["Rename below"] = tree.Rename(t.Context(), "f", link+"/new", true)
		calls["Rename from below"] = tree.Rename(t.Context(), link+"/secret", "g", true)
		calls["Link of below"] = tree.Link(t.Context(), link+"/secret", "g")
		calls["Link of"] = tree.Link(t.Context(), link, "g")
		calls["Symlink below"] = tree.Symlink(t.Context(), "x", link+"/new")
		calls["Rename of the link"] = tree.Rename(t.Context(), link, "g", true)
		for _, err := range tree.List(t.Context(), link) {
			calls["List"] = err
		}
		for method, err := range calls {
			want(t, link+": "+method, err, session.ErrDenied)
			if err != nil && (strings.Contains(err.Error(), outside) || strings.Contains(err.Error(), dir)) {
				t.Errorf("%s: %s shows a path of the host: %v", link, method, err)
			}
		}
		want(t, "Remove of the link", tree.Remove(t.Context(), link), nil)
	}
	if got, err := os.ReadFile(secret); string(got) != "secret" || err != nil {
		t.Errorf("outside: got %q, %v", got, err)
	}
	if entries, err := os.ReadDir(outside); len(entries) != 1 || err != nil {
		t.Errorf("outside: got %v, %v", entries, err)
	}
}

// FIFOs, sockets and devices are not opened, and nothing waits on them.
func TestOnlyRegularFilesOpen(t *testing.T) {
	t.Parallel()
	tree, dir := open(t, local.Config{})
	onlyRegularFilesOpen(t, tree, dir)
}

func onlyRegularFilesOpen(t *testing.T, tree *local.FS, dir string) {
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	names := []string{"fifo"}
	if len(dir) < 90 { // the longest address of such a socket
		if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: filepath.Join(dir, "socket")}); err != nil {
			t.Fatal(err)
		}
		names = append(names, "socket")
	}
	if err := syscall.Mknod(filepath.Join(dir, "device"), syscall.S_IFCHR|0o600, 1<<8|3); err == nil {
		names = append(names, "device")
	}
	for _, name := range names {
		_, err := tree.Open(t.Context(), name)
		want(t, "Open of "+name, err, session.ErrDenied)
		for _, keep := range []int64{0, storage.KeepAll} {
			_, err = tree.Create(t.Context(), name, storage.CreateOptions{Keep: keep})
			want(t, "Create at "+name, err, session.ErrDenied)
		}
		size := int64(0)
		want(t, "SetAttr of "+name, tree.SetAttr(t.Context(), name, storage.Attr{Size: &size}), session.ErrDenied)
		want(t, "Link of "+name, tree.Link(t.Context(), name, "x"), session.ErrDenied)
	}
}

func TestReservedNames(t *testing.T) {
	t.Parallel()
	tree, dir := open(t, local.Config{})
	interrupt(t, tree, "a", "half")
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("got %v, %v", entries, err)
	}
	for _, name := range []string{entries[0].Name(), ".gateway-x", "d/.gateway-x", ".gateway-d/x"} {
		_, err := tree.Stat(t.Context(), name)
		want(t, "Stat", err, session.ErrName)
		_, err = tree.Open(t.Context(), name)
		want(t, "Open", err, session.ErrName)
		_, err = tree.Create(t.Context(), name, storage.CreateOptions{})
		want(t, "Create", err, session.ErrName)
		want(t, "Remove", tree.Remove(t.Context(), name), session.ErrName)
		want(t, "Rename", tree.Rename(t.Context(), "a", name, true), session.ErrName)
		want(t, "Symlink to it", tree.Symlink(t.Context(), name, "l"), session.ErrName)
		want(t, "Symlink to it from the root", tree.Symlink(t.Context(), "/"+name, "l"), session.ErrName)
	}
}

// Names that another program made and no peer could use are not listed: a line
// end in one would forge a line of a listing.
func TestUnsayableNamesAreNotListed(t *testing.T) {
	t.Parallel()
	tree, dir := open(t, local.Config{})
	for _, name := range []string{"ok", "a\nb", "a\rb", "\xff", ".gateway-other"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for info, err := range tree.List(t.Context(), ".") {
		if err != nil || info.Name != "ok" {
			t.Errorf("got %q, %v", info.Name, err)
		}
	}
}

func TestTree(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	accounts := local.Tree{Base: base}
	for range 2 {
		tree, err := accounts.Open("alice", nil)
		if err != nil {
			t.Fatal(err)
		}
		put(t, tree, "f", "content")
		want(t, "Close", tree.Close(), nil)
	}
	if info, err := os.Stat(filepath.Join(base, "alice")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("got %v, %v; want 0700", info.Mode(), err)
	}
	for _, user := range []string{
		"", ".", "..", "/", "a/b", "../alice", "/alice", "alice/", `a\b`, "a\x00", "a\n", ".gateway-x", strings.Repeat("a", 256),
	} {
		if _, err := accounts.Open(user, nil); !errors.Is(err, session.ErrName) {
			t.Errorf("account %q: got %v, want %v", user, err, session.ErrName)
		}
	}
	if err := os.Symlink(t.TempDir(), filepath.Join(base, "mallory")); err != nil {
		t.Fatal(err)
	}
	if _, err := accounts.Open("mallory", nil); err == nil {
		t.Error("an account's folder that is a link out of the base was opened")
	}
	if entries, err := os.ReadDir(base); err != nil || len(entries) != 2 {
		t.Errorf("got %v, %v", entries, err)
	}
}
