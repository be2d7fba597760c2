package storagetest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"gateway/session"
	"gateway/storage"
)

func concurrentCases() []testCase {
	return []testCase{
		{"two uploads, the last commit wins", func(t *testing.T, tree storage.FS) {
			first := create(t, tree, "a", storage.CreateOptions{})
			second := create(t, tree, "a", storage.CreateOptions{})
			writeAt(t, first, "first", 0)
			writeAt(t, second, "second", 0)
			want(t, "Commit", second.Commit(t.Context()), nil)
			wantContent(t, tree, "a", "second")
			want(t, "Commit", first.Commit(t.Context()), nil)
			wantContent(t, tree, "a", "first")
			if got := list(t, tree, "."); len(got) != 1 {
				t.Errorf("listed %v", got)
			}
		}},
		{"two resuming uploads, one is busy", func(t *testing.T, tree storage.FS) {
			interrupt(t, tree, "a", "half")
			u := create(t, tree, "a", storage.CreateOptions{Keep: 4})
			_, err := tree.Create(t.Context(), "a", storage.CreateOptions{Keep: 4})
			want(t, "second resuming Create", err, session.ErrBusy)
			_, err = tree.Create(t.Context(), "a", storage.CreateOptions{Keep: storage.KeepAll})
			want(t, "appending Create", err, session.ErrBusy)
			want(t, "Abort", u.Abort(true), nil)
			wantSize(t, tree, "a", 4)
		}},
		{"two appends, one is busy", func(t *testing.T, tree storage.FS) {
			put(t, tree, "a", "one")
			u := create(t, tree, "a", storage.CreateOptions{Keep: storage.KeepAll})
			_, err := tree.Create(t.Context(), "a", storage.CreateOptions{Keep: storage.KeepAll})
			want(t, "second append", err, session.ErrBusy)
			writeAt(t, u, "two", 3)
			want(t, "Commit", u.Commit(t.Context()), nil)
			wantContent(t, tree, "a", "onetwo")
		}},
		{"the later interruption is kept", func(t *testing.T, tree storage.FS) {
			first := create(t, tree, "a", storage.CreateOptions{})
			second := create(t, tree, "a", storage.CreateOptions{})
			writeAt(t, first, "1", 0)
			writeAt(t, second, "22", 0)
			want(t, "Abort", first.Abort(true), nil)
			wantSize(t, tree, "a", 1)
			want(t, "Abort", second.Abort(true), nil)
			wantSize(t, tree, "a", 2)
			want(t, "Remove", tree.Remove(t.Context(), "a"), nil)
			wantGone(t, tree, "a")
		}},
		{"a reader keeps the old content", func(t *testing.T, tree storage.FS) {
			put(t, tree, "a", "old content")
			file, err := tree.Open(t.Context(), "a")
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			put(t, tree, "a", "new")
			if got := readAll(t, file); got != "old content" {
				t.Errorf("reader got %q", got)
			}
			want(t, "Remove", tree.Remove(t.Context(), "a"), nil)
			if got := readAll(t, file); got != "old content" {
				t.Errorf("after Remove the reader got %q", got)
			}
		}},
		{"a reader never sees half", func(t *testing.T, tree storage.FS) {
			const size = 100_000
			put(t, tree, "a", strings.Repeat("0", size))
			var wg sync.WaitGroup
			defer wg.Wait()
			for i := range 4 {
				wg.Go(func() {
					content := strings.Repeat(fmt.Sprint(i+1), size)
					for range 5 {
						put(t, tree, "a", content)
					}
				})
			}
			done := make(chan struct{})
			go func() { wg.Wait(); close(done) }()
			for reading := true; reading; {
				select {
				case <-done:
					reading = false
				default:
				}
				got := get(t, tree, "a")
				if len(got) != size || strings.Trim(got, got[:1]) != "" {
					t.Fatalf("mixed content of %d bytes", len(got))
				}
			}
		}},
		{"one exclusive upload of many wins", func(t *testing.T, tree storage.FS) {
			const n = 8
			won := make(chan int, n)
			var wg sync.WaitGroup
			for i := range n {
				wg.Go(func() {
					u, err := tree.Create(t.Context(), "a", storage.CreateOptions{Exclusive: true})
					if err == nil {
						_, _ = u.WriteAt([]byte{byte('0' + i)}, 0)
						err = u.Commit(t.Context())
					}
					if err == nil {
						won <- i
					} else if !errors.Is(err, session.ErrExist) {
						t.Errorf("got %v, want ErrExist", err)
					}
				})
			}
			wg.Wait()
			close(won)
			if len(won) != 1 {
				t.Fatalf("%d won, want 1", len(won))
			}
			wantContent(t, tree, "a", fmt.Sprint(<-won))
		}},
		{"one rename of many wins", func(t *testing.T, tree storage.FS) {
			const n = 8
			for i := range n {
				put(t, tree, fmt.Sprint(i), fmt.Sprint(i))
			}
			var wg sync.WaitGroup
			won := make(chan int, n)
			for i := range n {
				wg.Go(func() {
					switch err := tree.Rename(t.Context(), fmt.Sprint(i), "a", false); {
					case err == nil:
						won <- i
					case !errors.Is(err, session.ErrExist):
						t.Errorf("got %v, want ErrExist", err)
					}
				})
			}
			wg.Wait()
			close(won)
			if len(won) != 1 {
				t.Fatalf("%d won, want 1", len(won))
			}
			wantContent(t, tree, "a", fmt.Sprint(<-won))
			if got := len(list(t, tree, ".")); got != n {
				t.Errorf("%d files left, want %d", got, n)
			}
		}},
		{"many uploads at once", func(t *testing.T, tree storage.FS) {
			var wg sync.WaitGroup
			for i := range 16 {
				wg.Go(func() { put(t, tree, fmt.Sprintf("f%d", i%8), strings.Repeat("x", i%8)) })
			}
			wg.Wait()
			for i := range 8 {
				wantContent(t, tree, fmt.Sprintf("f%d", i), strings.Repeat("x", i))
			}
		}},
		{"writes of one upload at once", func(t *testing.T, tree storage.FS) {
			u := create(t, tree, "a", storage.CreateOptions{})
			var wg sync.WaitGroup
			for i := range 16 {
				wg.Go(func() { writeAt(t, u, fmt.Sprintf("%02d", i), int64(2*i)) })
			}
			wg.Wait()
			want(t, "Commit", u.Commit(t.Context()), nil)
			wantContent(t, tree, "a", "00010203040506070809101112131415")
		}},
	}
}
