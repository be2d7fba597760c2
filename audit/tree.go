package audit

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// tree is the right edge of a Merkle tree (RFC 6962, section 2.1): all that is
// needed to add leaves and to know the root. The zero value is the empty tree.
type tree struct {
	size int64
	// edge holds the roots of the complete subtrees, the largest and oldest first:
	// one for each bit that is set in size.
	edge []tlog.Hash
}

// add adds a line, without its newline.
func (t *tree) add(line []byte) {
	t.edge = append(t.edge, tlog.RecordHash(line))
	for n := t.size; n&1 == 1; n >>= 1 {
		last := len(t.edge) - 1
		t.edge[last-1] = tlog.NodeHash(t.edge[last-1], t.edge[last])
		t.edge = t.edge[:last]
	}
	t.size++
}

// root is the hash over all lines.
func (t *tree) root() tlog.Hash {
	if t.size == 0 {
		h, _ := tlog.TreeHash(0, nil) // a constant, no hashes are read
		return h
	}
	h := t.edge[len(t.edge)-1]
	for i := len(t.edge) - 2; i >= 0; i-- {
		h = tlog.NodeHash(t.edge[i], h)
	}
	return h
}

// checkpoint is the tree as the key hash of a checkpoint states it.
func (t *tree) checkpoint() string {
	h := t.root()
	return strconv.FormatInt(t.size, 10) + ":" + base64.StdEncoding.EncodeToString(h[:])
}

func (t *tree) clone() tree { return tree{t.size, slices.Clone(t.edge)} }

// marshal writes the edge for the file beside a segment: the size and one hash
// a line.
func (t *tree) marshal() []byte {
	var b strings.Builder
	fmt.Fprintln(&b, t.size)
	for _, h := range t.edge {
		fmt.Fprintln(&b, base64.StdEncoding.EncodeToString(h[:]))
	}
	return []byte(b.String())
}

// unmarshalTree reads what marshal wrote.
func unmarshalTree(data []byte) (tree, error) {
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	size, err := strconv.ParseInt(lines[0], 10, 64)
	if err != nil || size < 0 {
		return tree{}, fmt.Errorf("tree edge: size %q", lines[0])
	}
	t := tree{size: size}
	for _, line := range lines[1:] {
		raw, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(raw) != tlog.HashSize {
			return tree{}, fmt.Errorf("tree edge: hash %q", line)
		}
		t.edge = append(t.edge, tlog.Hash(raw))
	}
	bits := 0
	for n := size; n > 0; n &= n - 1 {
		bits++
	}
	if bits != len(t.edge) {
		return tree{}, fmt.Errorf("tree edge: %d hashes for size %d", len(t.edge), size)
	}
	return t, nil
}
