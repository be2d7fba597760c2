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
	folder    *modelNode
	base      string
	content   string
	exclusive bool
	ended     bool
	shown     bool // and ended
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
	folder, base, _, _ := m.at(name)
	u := &modelUpload{folder: folder, base: base}
	m.uploads[u] = true
	return u
}

// commit shows an upload, unless a folder has got its name.
func (m *model) commit(u *modelUpload) bool {
	if u.ended {
		return u.shown
	}
	delete(m.uploads, u)
	there := u.folder.names[u.base]
	u.ended = true
	u.shown = there == nil || !there.folder() && !u.exclusive
	if u.shown {
		u.folder.names[u.base] = &modelNode{content: u.content}
	}
	return u.shown
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
	file    *client.File
	path    string       // as renamed by its client
	upload  *modelUpload // nil for a file being read, unless its client is writing that
	reads   bool
	content string // of a file being read, when it was opened
}

// own finds what the client is writing to that name itself; nil if nothing.
func (c *modelClient) own(name string) *modelUpload {
	for _, o := range c.open {
		if o.upload != nil && !o.upload.ended && o.path == name {
			return o.upload
		}
	}
	return nil
}

// show ends what the client is writing to that name, as a request that needs it does.
func (c *modelClient) show(m *model, name string) bool {
	u := c.own(name)
	return u == nil || m.commit(u)
}

// renamed gives what is open its new name.
func (c *modelClient) renamed(from, to string) {
	for i, o := range c.open {
		if below, ok := strings.CutPrefix(o.path, from); ok && (below == "" || below[0] == '/') {
			c.open[i].path = to + below
		}
	}
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
			want = c.own(at) == nil && m.mayBegin(at, true)
		} else {
			c.show(m, at)
			want = m.mayBegin(at, false)
		}
		file, err := c.OpenFile(at, flags)
		if err == nil && want {
			u := m.begin(at)
			u.exclusive = exclusive
			c.open = append(c.open, modelOpen{file: file, path: at, upload: u})
		}
		return fmt.Sprintf("open %s, exclusive %v", at, exclusive), want, err
	case n < 7 && len(c.open) > 0: // WRITE or READ
		return c.use(r, c.open[r.IntN(len(c.open))])
	case n < 9 && len(c.open) > 0:
		return c.close(m, r.IntN(len(c.open)))
	case n < 11: // OPEN to read
		if len(c.open) >= 3 {
			return "", true, nil
		}
		_, _, node, ok := m.at(at)
		u := c.own(at)
		want = u != nil || ok && node != nil && !node.folder()
		file, err := c.Open(at)
		if err == nil && want {
			o := modelOpen{file: file, path: at, upload: u, reads: true}
			if u == nil {
				o.content = node.content
			}
			c.open = append(c.open, o)
		}
		return "open to read " + at, want, err
	case n < 13:
		return "mkdir " + at, m.mkdir(at), c.Mkdir(at)
	case n < 14:
		return "rmdir " + at, m.rmdir(at), c.RemoveDirectory(at)
	case n < 15:
		_, _, node, _ := m.at(at)
		if node != nil && node.folder() {
			return "", true, nil // the library would try RMDIR next
		}
		c.show(m, at)
		return "remove " + at, m.remove(at), c.Remove(at)
	case n < 17:
		return c.move(r, m, at, name())
	default: // STAT
		_, _, node, ok := m.at(at)
		info, err := c.Stat(at)
		u := c.own(at)
		switch {
		case err != nil:
		case u != nil && (node == nil || !node.folder()):
			if info.IsDir() || info.Size() != int64(len(u.content)) {
				err = fmt.Errorf("described as %v, %d bytes", info.Mode(), info.Size())
			}
		case ok && node != nil && (info.IsDir() != node.folder() || !info.IsDir() && info.Size() != int64(len(node.content))):
			err = fmt.Errorf("described as %v, %d bytes", info.Mode(), info.Size())
		}
		return "stat " + at, ok && node != nil || u != nil, err
	}
}

// use reads or writes.
func (c *modelClient) use(r *rand.Rand, o modelOpen) (what string, want bool, err error) {
	switch u := o.upload; {
	case o.reads && u != nil && u.ended && !u.shown, !o.reads && u.ended:
		return "", true, nil // TestWritesGoOnAfterTheFileIsShown
	case o.reads:
		content := o.content
		if u != nil {
			content = u.content
		}
		got, err := io.ReadAll(io.NewSectionReader(o.file, 0, 1<<20))
		if err == nil && string(got) != content {
			err = fmt.Errorf("read %q, want %q", got, content)
		}
		return "read " + o.path, true, err
	}
	text := strings.Repeat(string(rune('A'+r.IntN(26))), 1+r.IntN(40))
	off := r.IntN(60)
	padded := o.upload.content + strings.Repeat("\x00", max(0, off+len(text)-len(o.upload.content)))
	o.upload.content = padded[:off] + text + padded[off+len(text):]
	_, err = o.file.WriteAt([]byte(text), int64(off))
	return "write " + o.path, true, err
}

// move renames, which shows what the client is writing to either name.
func (c *modelClient) move(r *rand.Rand, m *model, from, to string) (what string, want bool, err error) {
	shown := c.show(m, from)
	if shown {
		c.show(m, to)
	}
	if r.IntN(2) == 0 {
		what, want, err = "rename "+from+" to "+to, shown && m.rename(from, to, false), c.Rename(from, to)
	} else {
		what, want, err = "posix-rename "+from+" to "+to, shown && m.rename(from, to, true), c.PosixRename(from, to)
	}
	if want {
		c.renamed(from, to)
	}
	return what, want, err
}

func (c *modelClient) close(m *model, i int) (what string, want bool, err error) {
	o := c.open[i]
	c.open = slices.Delete(c.open, i, i+1)
	want = o.reads || m.commit(o.upload)
	return "close " + o.path, want, o.file.Close()
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
