package sftp

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	client "github.com/pkg/sftp"

	"gateway/session"
)

// A model of a tree: folders that hold names. It is what a client is to find,
// whichever way it got there.
type modelNode struct {
	content string
	names   map[string]*modelNode // nil for a file
}

func (n *modelNode) folder() bool { return n.names != nil }

type model struct {
	root *modelNode
	// uploads are under way, with the folder in which each will appear.
	uploads map[*modelUpload]bool
}

type modelUpload struct {
	folder  *modelNode
	base    string
	content string
	fresh   bool // no file had the name when it began
}

func newModel() *model {
	return &model{root: &modelNode{names: map[string]*modelNode{}}, uploads: map[*modelUpload]bool{}}
}

// at returns the folder that holds name, and what is there; nil if there is nothing.
func (m *model) at(name string) (folder *modelNode, base string, node *modelNode, ok bool) {
	parts := strings.Split(strings.Trim(name, "/"), "/")
	folder = m.root
	for _, part := range parts[:len(parts)-1] {
		if folder = folder.names[part]; folder == nil || !folder.folder() {
			return nil, "", nil, false
		}
	}
	base = parts[len(parts)-1]
	return folder, base, folder.names[base], true
}

// busy reports whether an upload into folder is under way.
func (m *model) busy(folder *modelNode) bool {
	for u := range m.uploads {
		if u.folder == folder {
			return true
		}
	}
	return false
}

// mayBegin decides an OPEN for writing.
func (m *model) mayBegin(name string, exclusive bool) bool {
	_, _, node, ok := m.at(name)
	return ok && (node == nil || !node.folder() && !exclusive)
}

func (m *model) begin(name string) *modelUpload {
	folder, base, node, _ := m.at(name)
	u := &modelUpload{folder: folder, base: base, fresh: node == nil}
	m.uploads[u] = true
	return u
}

// commit shows an upload, unless a folder has got its name.
func (m *model) commit(u *modelUpload, exclusive bool) bool {
	delete(m.uploads, u)
	there := u.folder.names[u.base]
	if there != nil && (there.folder() || exclusive) {
		return false
	}
	u.folder.names[u.base] = &modelNode{content: u.content}
	return true
}

func (m *model) remove(name string) bool {
	folder, base, node, ok := m.at(name)
	if !ok || node == nil || node.folder() {
		return false
	}
	delete(folder.names, base)
	return true
}

func (m *model) mkdir(name string) bool {
	folder, base, node, ok := m.at(name)
	if !ok || node != nil {
		return false
	}
	folder.names[base] = &modelNode{names: map[string]*modelNode{}}
	return true
}

func (m *model) rmdir(name string) bool {
	folder, base, node, ok := m.at(name)
	if !ok || node == nil || !node.folder() || len(node.names) > 0 || m.busy(node) {
		return false
	}
	delete(folder.names, base)
	return true
}

func (m *model) rename(from, to string, overwrite bool) bool {
	fromFolder, fromBase, source, ok := m.at(from)
	if !ok || source == nil || strings.HasPrefix(to, from+"/") {
		return false
	}
	toFolder, toBase, target, ok := m.at(to)
	switch {
	case !ok, target != nil && !overwrite:
		return false
	case target == source:
		return true
	case target != nil && target.folder() != source.folder():
		return false
	case target != nil && target.folder() && (len(target.names) > 0 || m.busy(target)):
		return false
	}
	delete(fromFolder.names, fromBase)
	toFolder.names[toBase] = source
	return true
}

// modelClient is a client with what it has open.
type modelClient struct {
	*client.Client
	open []modelOpen
}

type modelOpen struct {
	file      *client.File
	upload    *modelUpload // nil for a file being read
	content   string       // of a file being read, when it was opened
	exclusive bool
}

// Four clients do at random what clients do, in one tree; a plain model does the same.
// Every success, every refusal and every content is as the model says, and so is what
// is left in the end.
func TestModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			runModel(t, rand.New(rand.NewPCG(seed, 4)), 700)
		})
	}
}

func runModel(t *testing.T, r *rand.Rand, steps int) {
	f, _ := onDisk(t, session.FullAccess())
	m := newModel()
	var clients []*modelClient
	for range 4 {
		_, c := f.alice(t)
		clients = append(clients, &modelClient{Client: c})
	}
	name := func() string {
		parts := make([]string, 1+r.IntN(3))
		for i := range parts {
			parts[i] = string(rune('a' + r.IntN(3)))
		}
		return "/" + strings.Join(parts, "/")
	}
	var done []string
	for step := range steps {
		c := clients[r.IntN(len(clients))]
		what, want, err := c.step(r, m, name)
		if what == "" {
			continue
		}
		done = append(done, fmt.Sprintf("%d %s: %v", step, what, err))
		if want != (err == nil) {
			t.Fatalf("got %v, want success %v of the last of\n%s", err, want, strings.Join(done[max(0, len(done)-25):], "\n"))
		}
		if err != nil && (strings.Contains(err.Error(), "/tmp") || errors.Is(err, io.ErrUnexpectedEOF)) {
			t.Fatalf("%s: %v", what, err)
		}
	}
	for _, c := range clients {
		for len(c.open) > 0 {
			if what, want, err := c.close(m, 0); want != (err == nil) {
				t.Fatalf("%s: got %v, want success %v", what, err, want)
			}
		}
	}
	compareModel(t, clients[0].Client, m.root, "/")
}

// step does one thing; want is whether it is to succeed.
func (c *modelClient) step(r *rand.Rand, m *model, name func() string) (what string, want bool, err error) {
	at := name()
	switch n := r.IntN(20); {
	case n < 4: // OPEN to write
		if len(c.open) >= 3 {
			return c.close(m, r.IntN(len(c.open)))
		}
		exclusive := r.IntN(4) == 0
		flags := os.O_WRONLY | os.O_CREATE | os.O_TRUNC
		if exclusive {
			flags |= os.O_EXCL
		}
		want = m.mayBegin(at, exclusive)
		file, err := c.OpenFile(at, flags)
		if err == nil && want {
			c.open = append(c.open, modelOpen{file: file, upload: m.begin(at), exclusive: exclusive})
		}
		return fmt.Sprintf("open %s, exclusive %v", at, exclusive), want, err
	case n < 7 && len(c.open) > 0: // WRITE or READ
		o := c.open[r.IntN(len(c.open))]
		if o.upload == nil {
			got, err := io.ReadAll(io.NewSectionReader(o.file, 0, 1<<20))
			if err == nil && string(got) != o.content {
				err = fmt.Errorf("read %q, want %q", got, o.content)
			}
			return "read " + o.file.Name(), true, err
		}
		text := strings.Repeat(string(rune('A'+r.IntN(26))), 1+r.IntN(40))
		off := r.IntN(60)
		padded := o.upload.content + strings.Repeat("\x00", max(0, off+len(text)-len(o.upload.content)))
		o.upload.content = padded[:off] + text + padded[off+len(text):]
		_, err = o.file.WriteAt([]byte(text), int64(off))
		return "write " + o.file.Name(), true, err
	case n < 9 && len(c.open) > 0:
		return c.close(m, r.IntN(len(c.open)))
	case n < 11: // OPEN to read
		if len(c.open) >= 3 {
			return "", true, nil
		}
		_, _, node, ok := m.at(at)
		want = ok && node != nil && !node.folder()
		file, err := c.Open(at)
		if err == nil && want {
			c.open = append(c.open, modelOpen{file: file, content: node.content})
		}
		return "open to read " + at, want, err
	case n < 13:
		return "mkdir " + at, m.mkdir(at), c.Mkdir(at)
	case n < 14:
		return "rmdir " + at, m.rmdir(at), c.RemoveDirectory(at)
	case n < 15:
		return "remove " + at, m.remove(at), removeOnly(c.Client, at)
	case n < 17:
		to := name()
		if c.writes(at) { // of what is not shown yet: TestRenameOfANewFileNotYetClosed
			return "", true, nil
		}
		if r.IntN(2) == 0 {
			return "rename " + at + " to " + to, m.rename(at, to, false), c.Rename(at, to)
		}
		return "posix-rename " + at + " to " + to, m.rename(at, to, true), c.PosixRename(at, to)
	default: // STAT
		_, _, node, ok := m.at(at)
		info, err := c.Stat(at)
		if err == nil && ok && node != nil && (info.IsDir() != node.folder() || !info.IsDir() && info.Size() != int64(len(node.content))) {
			err = fmt.Errorf("described as %v, %d bytes", info.Mode(), info.Size())
		}
		// What a client is writing itself it sees by the name that it opened.
		return "stat " + at, ok && node != nil || c.writes(at), err
	}
}

// writes reports whether the client is writing to that name itself.
func (c *modelClient) writes(name string) bool {
	return slices.ContainsFunc(c.open, func(o modelOpen) bool { return o.upload != nil && o.file.Name() == name })
}

// removeOnly is REMOVE: the library would try RMDIR next.
func removeOnly(c *client.Client, name string) error {
	if info, err := c.Lstat(name); err == nil && info.IsDir() {
		return os.ErrInvalid
	}
	return c.Remove(name)
}

func (c *modelClient) close(m *model, i int) (what string, want bool, err error) {
	o := c.open[i]
	c.open = slices.Delete(c.open, i, i+1)
	want = o.upload == nil || m.commit(o.upload, o.exclusive)
	return "close " + o.file.Name(), want, o.file.Close()
}

// compareModel finds whether the tree at name is what the model says.
func compareModel(t *testing.T, c *client.Client, node *modelNode, name string) {
	t.Helper()
	list, err := c.ReadDir(name)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if len(list) != len(node.names) {
		t.Errorf("%s: %d names, want %d", name, len(list), len(node.names))
	}
	for _, e := range list {
		child := node.names[e.Name()]
		at := path.Join(name, e.Name())
		switch {
		case child == nil || child.folder() != e.IsDir():
			t.Errorf("%s should not be, or be something else", at)
		case child.folder():
			compareModel(t, c, child, at)
		default:
			file, err := c.Open(at)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(file); err != nil || string(got) != child.content {
				t.Errorf("%s: %q, %v, want %q", at, got, err, child.content)
			}
			_ = file.Close()
		}
	}
}
