package local_test

import (
	"fmt"
	"testing"

	"gateway/storage"
	"gateway/storage/local"
)

func BenchmarkPut(b *testing.B) {
	for _, folder := range []string{"", "d/"} {
		b.Run("folder="+folder, func(b *testing.B) {
			tree, _ := open(b, local.Config{})
			if err := tree.Mkdir(b.Context(), "d"); err != nil {
				b.Fatal(err)
			}
			content := make([]byte, 4096)
			n := 0
			for b.Loop() {
				n++
				u, err := tree.Create(b.Context(), fmt.Sprint(folder, n), storage.CreateOptions{})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := u.WriteAt(content, 0); err != nil {
					b.Fatal(err)
				}
				if err := u.Commit(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkGet(b *testing.B) {
	tree, _ := open(b, local.Config{})
	put(b, tree, "f", string(make([]byte, 4096)))
	content := make([]byte, 4096)
	for b.Loop() {
		file, err := tree.Open(b.Context(), "f")
		if err != nil {
			b.Fatal(err)
		}
		if _, err := file.ReadAt(content, 0); err != nil {
			b.Fatal(err)
		}
		_ = file.Close()
	}
}

// BenchmarkList counts one listing of a thousand files.
func BenchmarkList(b *testing.B) {
	tree, _ := open(b, local.Config{})
	for n := range 1000 {
		put(b, tree, fmt.Sprint(n), "")
	}
	for b.Loop() {
		for _, err := range tree.List(b.Context(), ".") {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}
