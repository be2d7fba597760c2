package audit

import (
	"fmt"
	"strconv"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// The edge gives the same roots as a tree that keeps every hash.
func TestTreeIsThatOfTlog(t *testing.T) {
	t.Parallel()
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var hs []tlog.Hash
		for _, i := range indexes {
			hs = append(hs, stored[i])
		}
		return hs, nil
	})
	var edge tree
	for n := range int64(300) {
		want, err := tlog.TreeHash(n, reader)
		if err != nil {
			t.Fatal(err)
		}
		if got := edge.root(); got != want {
			t.Fatalf("root of %d: got %v, want %v", n, got, want)
		}
		if got, want := edge.checkpoint(), strconv.FormatInt(n, 10)+":"+want.String(); got != want {
			t.Fatalf("checkpoint: got %s, want %s", got, want)
		}
		back, err := unmarshalTree(edge.marshal())
		if err != nil || back.checkpoint() != edge.checkpoint() {
			t.Fatalf("edge of %d read back: got %v (%v)", n, back, err)
		}
		line := []byte(fmt.Sprint("line ", n))
		hashes, err := tlog.StoredHashes(n, line, reader)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, hashes...)
		edge.add(line)
	}
}
