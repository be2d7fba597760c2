package sftp

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	client "github.com/pkg/sftp"

	"gateway/session"
)

// sshfs closes a file without waiting for the answer, so that whatever comes next may
// come before: to whoever writes a file, its name stands for it.
func TestNameOfAFileNotYetClosed(t *testing.T) {
	t.Parallel()
	const create, change = openWrite | openCreate | openTruncate, openRead | openWrite
	written := func(more ...[]byte) [][]byte {
		return append([][]byte{send(3, 1, "a", create, 0), send(6, 1, nth(1), int64(0), "new")}, more...)
	}
	read := func(handle string) []byte { return send(5, 1, handle, int64(0), 10) }
	closed := send(4, 1, nth(1))
	for _, tc := range []struct {
		name string
		say  [][]byte
		want string
	}{
		{"stat", written(send(7, 1, "a"), send(17, 1, "/a"), send(9, 1, "./a", 4, 0o600), send(7, 1, "b"), closed, send(7, 1, "a")),
			"type 102 0 type 105 type 105 0 2 0 type 105"},
		{"read", written(send(3, 1, "a", openRead, 0), read(nth(2)), closed, read(nth(2)), send(6, 1, nth(2), int64(0), "x"), send(4, 1, nth(2))),
			"type 102 0 type 102 type 103 0 type 103 2 0"},
		{"change", written(send(3, 1, "a", change, 0), send(6, 1, nth(2), int64(3), "er"), closed, read(nth(2)), send(4, 1, nth(2))),
			"type 102 0 type 102 0 0 type 103 0"},
		{"exclusive", written(send(3, 1, "a", create|openExclusive, 0), closed), "type 102 0 4 0"},
		{"anew", written(send(3, 1, "a", create, 0), send(6, 1, nth(2), int64(0), "x"), closed, send(4, 1, nth(2))), "type 102 0 type 102 0 0 0"},
		{"remove", written(send(13, 1, "a"), closed, send(7, 1, "a")), "type 102 0 0 0 2"},
		{"remove, write", written(send(13, 1, "a"), send(6, 1, nth(1), int64(3), "x"), closed, send(7, 1, "a")), "type 102 0 0 2 0 2"},
		{"rename", written(send(18, 1, "a", "b"), closed, send(7, 1, "a"), send(3, 1, "b", openRead, 0), read(nth(2))), "type 102 0 0 0 2 type 102 type 103"},
		{"rename, write", written(send(18, 1, "a", "b"), send(6, 1, nth(1), int64(3), "x"), closed, send(7, 1, "a"), send(7, 1, "b")), "type 102 0 0 0 0 2 type 105"},
		{"rename onto", written(send(3, 1, "b", create, 0), send(18, 1, "b", "a"), closed), "type 102 0 type 102 4 0"},
		{"rename its folder", [][]byte{send(14, 1, "d", 0), send(3, 1, "d/a", create, 0), send(18, 1, "d", "e"), send(7, 1, "e/a"), send(7, 1, "d/a"), send(4, 1, nth(1)), send(7, 1, "e/a")},
			"0 type 102 0 type 105 2 0 type 105"},
		{"link", written(send(200, 1, "hardlink@openssh.com", "a", "b"), closed, send(7, 1, "b")), "type 102 0 0 0 type 105"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := codes(newTalkOnDisk(t).say(t, tc.say...)); got != tc.want {
				t.Errorf("answered %s, want %s", got, tc.want)
			}
		})
	}
}

// A CLOSE that went well means that what was written is there, although the client has
// another handle of the file, by which it goes on.
func TestWritesGoOnAfterTheFileIsShown(t *testing.T) {
	t.Parallel()
	f, trees := onDisk(t, session.FullAccess())
	_, c := f.alice(t)
	open := func(flags int) *client.File {
		file, err := c.OpenFile("f", flags)
		if err != nil {
			t.Fatal(err)
		}
		return file
	}
	shown := func(want string) {
		t.Helper()
		if got, err := os.ReadFile(filepath.Join(trees.Base, "alice", "f")); string(got) != want {
			t.Errorf("shown: %q, %v, want %q", got, err, want)
		}
	}
	write := func(file *client.File, text string, at int64) {
		t.Helper()
		if _, err := file.WriteAt([]byte(text), at); err != nil {
			t.Error(err)
		}
	}
	end := func(file *client.File) {
		t.Helper()
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	}
	first := open(os.O_WRONLY | os.O_CREATE | os.O_TRUNC)
	write(first, "first", 0)
	second, reader := open(os.O_RDWR), open(os.O_RDONLY)
	write(second, "+second", 5)
	end(first)
	shown("first+second")
	write(second, "F", 0)
	shown("first+second")
	if got, err := io.ReadAll(reader); err != nil || string(got) != "first+second" {
		t.Errorf("reader: %q, %v", got, err)
	}
	last := open(os.O_WRONLY | os.O_APPEND)
	write(last, "+last", 0)
	end(second)
	shown("First+second+last")
	write(last, "!", 0)
	end(last)
	shown("First+second+last!")
	end(reader)
}

// What an earlier write spoiled is not shown by a request that needs the name, nor by
// another handle.
func TestFailedWriteIsNotShownByItsName(t *testing.T) {
	t.Parallel()
	access := session.FullAccess()
	access.Quota = session.Quota{Bytes: 10}
	f, trees := onDisk(t, access)
	_, c := f.alice(t)
	file, err := c.OpenFile("f", os.O_WRONLY|os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	other, err := c.OpenFile("f", os.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write(make([]byte, 11)); err == nil {
		t.Error("wrote over quota")
	}
	if err := c.Rename("f", "g"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("rename: got %v, want no such file", err)
	}
	if err := other.Close(); err == nil {
		t.Error("the other handle was closed as if all were there")
	}
	if err := file.Close(); err == nil {
		t.Error("closed as if all were there")
	}
	if list, err := os.ReadDir(filepath.Join(trees.Base, "alice")); err != nil || len(list) != 0 {
		t.Errorf("left: %v, %v", list, err)
	}
}
