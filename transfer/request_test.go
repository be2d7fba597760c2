package transfer

import (
	"os"
	"path/filepath"
	"testing"

	"gateway/session"
	"gateway/session/sessiontest"
	"gateway/storage"
	"gateway/storage/local"
)

// What a peer asks for reaches the rules with each action.
func TestFilesForRequest(t *testing.T) {
	t.Parallel()
	s, err := sessiontest.New(t, nil).Connect(t, session.SFTP, session.SSH).Offer(t.Context(), session.Password("alice", "right"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	tree, err := local.Open(dir, local.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "f"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	files := New(s, tree, Limits{OpenFiles: 2})
	defer files.Close()
	asked := files.For("open", session.SSH)
	r, err := asked.Open(t.Context(), "f")
	if err != nil {
		t.Fatal(err)
	}
	w, err := asked.Create(t.Context(), "g", storage.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range []*session.Op{r.op, w.op} {
		if got := op.Action().Request; got != "open" {
			t.Errorf("%s: request %q, want open", op.Action().Verb, got)
		}
	}
	l, err := files.For("opendir", session.SSH).List(t.Context(), "/")
	if err != nil || l.op.Action().Request != "opendir" {
		t.Errorf("list: %v, %+v", err, l)
	}
	// The limit of open files is one for all of them.
	if _, err := files.Open(t.Context(), "f"); err != session.ErrTooMany {
		t.Errorf("third: %v, want ErrTooMany", err)
	}
	if err := w.Commit(t.Context()); err != nil {
		t.Error(err)
	}
	if err := r.Close(t.Context(), nil); err != nil {
		t.Error(err)
	}
	_ = l.Close(t.Context(), nil)
}
