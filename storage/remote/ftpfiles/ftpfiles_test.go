package ftpfiles

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gateway/session"
	"gateway/storage"
	"gateway/storage/remote/ftpclient"
	"gateway/storage/remote/upstream"
	"gateway/storage/storagetest"
)

// The contract, on a server that can do little. test/e2e has it on servers as they are.
func TestContract(t *testing.T) {
	t.Parallel()
	lacks := []storagetest.Ability{storagetest.FollowFolders, storagetest.ReadBack, storagetest.UploadAttr, storagetest.HoldContent,
		storagetest.Resize, storagetest.Times, storagetest.Room, storagetest.Blanks}
	for name, c := range map[string]struct {
		protected, old bool
		lacks          []storagetest.Ability
	}{
		"in clear":   {lacks: lacks},
		"over TLS":   {protected: true, lacks: lacks},
		"an old one": {old: true, lacks: append(slices.Clone(lacks), storagetest.Permissions)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storagetest.Run(t, func(t *testing.T) storage.FS {
				return open(t, (&fake{old: c.old}).start(t, c.protected).serverConfig())
			}, c.lacks...)
		})
	}
}

func open(t *testing.T, cfg Config) storage.FS {
	t.Helper()
	if err := cfg.Check(); err != nil {
		t.Fatal(err)
	}
	s := New(cfg)
	t.Cleanup(func() { _ = s.Close() })
	f, err := s.Open(t.Context(), "joe")
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// put uploads content in pieces, and leaves what broke off to be resumed.
func put(t *testing.T, f storage.FS, name string, content []byte, opts storage.CreateOptions) error {
	t.Helper()
	u, err := f.Create(t.Context(), name, opts)
	if err != nil {
		return err
	}
	const piece = 32 << 10
	for at := opts.Keep; at < int64(len(content)); at += piece {
		if _, err := u.WriteAt(content[at:min(at+piece, int64(len(content)))], at); err != nil {
			_ = u.Abort(true)
			return err
		}
	}
	return u.Commit(t.Context())
}

func get(t *testing.T, f storage.FS, name string) ([]byte, error) {
	t.Helper()
	file, err := f.Open(t.Context(), name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return io.ReadAll(io.NewSectionReader(file, 0, info.Size))
}

func mustPut(t *testing.T, f storage.FS, name string, content []byte) {
	t.Helper()
	if err := put(t, f, name, content, storage.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// verbs answers some verbs in place of the server.
func verbs(answers map[string]string) func(verb, _ string) (string, bool) {
	return func(verb, _ string) (string, bool) {
		answer, instead := answers[verb]
		return answer, instead
	}
}

// A server that hangs is given up, whatever it is asked, and is asked anew the next time.
func TestServerThatHangs(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"MLST", "EPSV", "RETR", "STOR", "RNFR", "RNTO", "DELE", "MLSD", "SIZE"} {
		t.Run(verb, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				server := startPiped(t)
				f := open(t, server.serverConfig())
				mustPut(t, f, "a", []byte("content"))
				server.failing(verbs(map[string]string{verb: ""}))
				_, read := get(t, f, "a")
				wrote := put(t, f, "a", []byte("content"), storage.CreateOptions{})
				removed := f.Remove(t.Context(), "a")
				var listed error
				for _, err := range f.List(t.Context(), ".") {
					listed = err
				}
				if !errors.Is(errors.Join(read, wrote, removed, listed), session.ErrUnavailable) {
					t.Errorf("got %v; %v; %v; %v", read, wrote, removed, listed)
				}
				server.failing(nil)
				mustPut(t, f, "a", []byte("content"))
				if got, err := get(t, f, "a"); string(got) != "content" || err != nil {
					t.Errorf("afterwards: %q, %v", got, err)
				}
			})
		})
	}
}

// A server that does not let the gateway in, or gets stuck at that, is no connection.
func TestServerThatDoesNotLetIn(t *testing.T) {
	t.Parallel()
	for verb, answer := range map[string]string{"USER": "", "PASS": "530 secret is wrong", "FEAT": "", "TYPE": "500 what?"} {
		synctest.Test(t, func(t *testing.T) {
			server := startPiped(t)
			server.failing(verbs(map[string]string{verb: answer}))
			s := New(server.serverConfig())
			defer s.Close()
			if _, err := s.Open(t.Context(), "joe"); !errors.Is(err, session.ErrUnavailable) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s: got %v", verb, err)
			}
		})
	}
}

// A file of which nobody reads on does not keep its connection, and is read on later.
func TestReaderThatRests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := startPiped(t)
		cfg := server.serverConfig()
		cfg.Connections = 2
		f := open(t, cfg)
		content := bytes.Repeat([]byte("0123456789"), 300_000)
		mustPut(t, f, "a", content)
		file, err := f.Open(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		got := make([]byte, len(content))
		if _, err := file.ReadAt(got[:10], 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour) // of the bubble
		mustPut(t, f, "b", content)
		if _, err := file.ReadAt(got, 0); err != nil || !bytes.Equal(got, content) {
			t.Errorf("read on: %v", err)
		}
	})
}

// A server whose certificate is another is not logged in to, nor is one that has no TLS.
func TestCertificate(t *testing.T) {
	t.Parallel()
	server := startFake(t, true)
	cfg := server.serverConfig()
	asked := false
	server.failing(func(verb, _ string) (string, bool) {
		asked = asked || verb == "USER" || verb == "PASS"
		return "", false
	})
	_, cfg.Pin = certificate(t)
	s := New(cfg)
	defer s.Close()
	if _, err := s.Open(t.Context(), "joe"); !errors.Is(err, session.ErrUnavailable) || !strings.Contains(err.Error(), "somebody is between") {
		t.Errorf("another certificate: got %v", err)
	}
	cfg.Pin = ""
	s = New(cfg)
	defer s.Close()
	if _, err := s.Open(t.Context(), "joe"); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("a certificate that nobody vouches for: got %v", err)
	}
	cfg.Roots = x509.NewCertPool()
	leaf, err := x509.ParseCertificate(server.config.Certificates[0].Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	cfg.Roots.AddCert(leaf)
	if asked {
		t.Error("the user was named to a server that is not who it should be")
	}
	mustPut(t, open(t, cfg), "a", []byte("by an authority"))
	asked = false
	cfg = startFake(t, false).serverConfig()
	cfg.Protection, cfg.Pin = "explicit", strings.Repeat("00", 32)
	s = New(cfg)
	defer s.Close()
	if _, err := s.Open(t.Context(), "joe"); !errors.Is(err, session.ErrUnavailable) || !strings.Contains(err.Error(), "AUTH") {
		t.Errorf("no TLS: got %v", err)
	}
	if asked {
		t.Error("the user was named to a server that is not who it should be")
	}
}

// What breaks off in mid-upload is there to be resumed, and never under the name.
func TestUploadBreaksOff(t *testing.T) {
	t.Parallel()
	server := startFake(t, false)
	f := open(t, server.serverConfig())
	content := bytes.Repeat([]byte("0123456789"), 200_000)
	mustPut(t, f, "a", []byte("old"))
	server.cutting(map[string]int{"STOR": 100_000})
	if err := put(t, f, "a", content, storage.CreateOptions{}); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("over a file: got %v", err)
	}
	if err := put(t, f, "b", content, storage.CreateOptions{}); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	server.cutting(nil)
	if got, err := get(t, f, "a"); string(got) != "old" || err != nil {
		t.Errorf("a is %d bytes, %v", len(got), err)
	}
	info, err := f.Stat(t.Context(), "b")
	if err != nil || !info.Partial || info.Size != 100_000 {
		t.Fatalf("b: %+v, %v", info, err)
	}
	if err := put(t, f, "b", content, storage.CreateOptions{Keep: info.Size}); err != nil {
		t.Fatal(err)
	}
	if got, err := get(t, f, "b"); !bytes.Equal(got, content) || err != nil {
		t.Errorf("b is %d bytes, %v", len(got), err)
	}
}

// A file that ends early is an error, and reading goes on where that was when asked again.
func TestDownloadBreaksOff(t *testing.T) {
	t.Parallel()
	server := startFake(t, false)
	f := open(t, server.serverConfig())
	content := bytes.Repeat([]byte("0123456789"), 200_000)
	mustPut(t, f, "a", content)
	file, err := f.Open(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	server.cutting(map[string]int{"RETR": 100_000})
	got := make([]byte, len(content))
	n, err := file.ReadAt(got, 0)
	if n != 100_000 || !errors.Is(err, session.ErrUnavailable) {
		t.Fatalf("got %d bytes, %v", n, err)
	}
	server.cutting(nil)
	if _, err := file.ReadAt(got[n:], int64(n)); err != nil || !bytes.Equal(got, content) {
		t.Errorf("the rest: %v", err)
	}
}

// A server that says of an upload that all is well, and has another size, is not believed;
// one that says another size of a file gives no more than that, and less is an error.
func TestSizeThatIsNotTrue(t *testing.T) {
	t.Parallel()
	server := startFake(t, false)
	f := open(t, server.serverConfig())
	mustPut(t, f, "a", []byte("0123456789"))
	server.failing(verbs(map[string]string{"SIZE": "213 3"}))
	if err := put(t, f, "b", []byte("content"), storage.CreateOptions{}); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("upload: got %v", err)
	}
	for said, want := range map[string]string{"5": "01234", "10": "0123456789", "11": "", "9000000000000000000": ""} {
		server.failing(func(verb, arg string) (string, bool) {
			return "250-this\r\n type=file;size=" + said + "; a\r\n250 end", verb == "MLST" && strings.HasSuffix(arg, "/a")
		})
		file, err := f.Open(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 20)
		n, err := file.ReadAt(got, 0)
		if want != "" && (string(got[:n]) != want || err != io.EOF) || want == "" && !errors.Is(err, session.ErrUnavailable) {
			t.Errorf("said to be %s: got %q, %v", said, got[:n], err)
		}
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	}
	server.failing(nil)
	for _, name := range server.names() {
		if strings.Contains(name, upstream.Hidden) {
			t.Errorf("%s is left", name)
		}
	}
}

// What is no FTP, or has no end, ends the connection.
func TestGarbage(t *testing.T) {
	t.Parallel()
	for what, answers := range map[string]map[string]string{
		"no reply":          {"MLST": "garbage"},
		"a long line":       {"MLST": "250 " + strings.Repeat("x", 10_000)},
		"a long reply":      {"MLST": "250-x\r\n" + strings.Repeat("x\r\n", 100_000) + "250 x"},
		"no facts":          {"MLST": "250-x\r\n x\r\n250 end"},
		"a size of letters": {"FEAT": "211 none", "SIZE": "213 many"},
		"a negative size":   {"FEAT": "211 none", "SIZE": "213 -1"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			server := startFake(t, false)
			s := New(server.serverConfig())
			defer s.Close()
			server.failing(verbs(answers))
			if _, err := s.Open(t.Context(), "joe"); !errors.Is(err, session.ErrUnavailable) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Data connections go to the address of the control connection, and to a port of it.
func TestPassiveElsewhere(t *testing.T) {
	t.Parallel()
	server := startFake(t, false)
	f := open(t, server.serverConfig())
	mustPut(t, f, "a", []byte("content"))
	for _, answer := range []string{"227 here (192,0,2,7,0,0)", "227 here (1,2,3)", "227 here", "227 here (256,0,0,1,300,1)"} {
		server.failing(verbs(map[string]string{"EPSV": "500 what?", "PASV": answer}))
		if _, err := get(t, f, "a"); !errors.Is(err, session.ErrUnavailable) {
			t.Errorf("%s: got %v", answer, err)
		}
	}
}

// Names in a listing that cannot be names are left out.
func TestHostileListing(t *testing.T) {
	t.Parallel()
	server := startFake(t, false)
	f := open(t, server.serverConfig())
	server.mu.Lock()
	for _, name := range []string{"good", "..", ".", "a\rb", "a\x00b", "\xff", "end ", strings.Repeat("n", 256), upstream.Hidden + "x"} {
		server.tree["/joe/"+name] = &node{content: []byte("x")}
	}
	server.mu.Unlock()
	var got []string
	for info, err := range f.List(t.Context(), ".") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, info.Name)
	}
	if len(got) != 1 || got[0] != "good" {
		t.Errorf("listed %q", got)
	}
}

// Servers end connections over which nothing happens: nobody notices.
func TestServerEndsConnectionsAtRest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := startPiped(t)
		f := open(t, server.serverConfig())
		mustPut(t, f, "a", []byte("content"))
		for range 3 {
			time.Sleep(10 * time.Second)
			server.cutAll()
			if got, err := get(t, f, "a"); string(got) != "content" || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
		}
	})
}

// A folder with more entries than there may be is an error, and the connection is good after.
func TestEndlessListing(t *testing.T) {
	t.Parallel()
	for _, old := range []bool{false, true} {
		server := (&fake{old: old}).start(t, false)
		server.mu.Lock()
		for i := range 1000 {
			server.tree[fmt.Sprintf("/%d", i)] = &node{time: time.Now()}
		}
		server.mu.Unlock()
		c, err := ftpclient.Dial(t.Context(), New(server.serverConfig()).cfg.there())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.List(t.Context(), "/", 10); err == nil || !strings.Contains(err.Error(), "more than 10 entries") {
			t.Errorf("got %v", err)
		}
		if list, err := c.List(t.Context(), "/", 1000); err != nil || len(list) != 1000 {
			t.Errorf("got %d, %v", len(list), err)
		}
		_ = c.Close()
	}
}

// An account has a folder of its own, or none.
func TestFoldersOfAccounts(t *testing.T) {
	t.Parallel()
	server := startFake(t, false)
	s := New(server.serverConfig())
	defer s.Close()
	for _, user := range []string{"joe ", "..", ".", "a/b", "a\r\nDELE b", upstream.Hidden + "joe", ""} {
		if _, err := s.Open(t.Context(), user); !errors.Is(err, session.ErrName) {
			t.Errorf("%q: got %v", user, err)
		}
	}
	if names := server.names(); len(names) != 1 {
		t.Errorf("made %q", names)
	}
}

// More transfers than there are connections wait, and are told when that lasts too long;
// questions are answered meanwhile.
func TestConnectionsInUse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := startPiped(t)
		cfg := server.serverConfig()
		cfg.Connections = 2
		f := open(t, cfg)
		u, err := f.Create(t.Context(), "a", storage.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Create(t.Context(), "b", storage.CreateOptions{}); !errors.Is(err, session.ErrUnavailable) || !strings.Contains(err.Error(), "raise connections") {
			t.Errorf("got %v", err)
		}
		if err := f.Mkdir(t.Context(), "d"); err != nil {
			t.Error(err)
		}
		if err := u.Commit(context.Background()); err != nil {
			t.Error(err)
		}
		mustPut(t, f, "b", nil)
		// Appending takes both.
		mustPut(t, f, "b", []byte("some"))
		if err := put(t, f, "b", []byte("some more"), storage.CreateOptions{Keep: 4}); err != nil {
			t.Error(err)
		}
		if got, err := get(t, f, "b"); string(got) != "some more" || err != nil {
			t.Errorf("appended to: %q, %v", got, err)
		}
	})
}
