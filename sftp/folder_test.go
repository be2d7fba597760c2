package sftp

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"gateway/session"
	"gateway/storage"
)

// madeUp is a tree whose only folder has entries that are made as they are read, each
// of a name so long that some 130 fit into an answer.
type madeUp struct {
	*fakeFS
	entries int
	end     func() error // what comes after them
	read    atomic.Int32
	going   atomic.Int32 // listings that have not ended
}

func (m *madeUp) List(context.Context, string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		m.going.Add(1)
		defer m.going.Add(-1)
		for i := range m.entries {
			m.read.Add(1)
			if !yield(storage.Info{Name: fmt.Sprintf("%0200d", i)}, nil) {
				return
			}
		}
		if err := m.end(); err != nil {
			yield(storage.Info{}, err)
		}
	}
}

func newTalkOfMany(t testing.TB, entries int) (*talk, *madeUp) {
	t.Helper()
	fs := newFakeFS(t)
	m := &madeUp{fakeFS: fs, entries: entries, end: func() error { return nil }}
	return newTalkOn(t, m, fs.dir), m
}

// namesIn are the names that an answer tells; nil if it is a status.
func namesIn(answer []byte) (list []string) {
	if answer[0] != typeName {
		return nil
	}
	p := parser{rest: answer[5:]}
	for range p.uint32() {
		list = append(list, string(p.bytes()))
		p.bytes()
		p.attrs()
	}
	return list
}

// A listing comes in answers of at most 64 KiB and is complete.
func TestListingInPieces(t *testing.T) {
	t.Parallel()
	k := newTalk(t)
	const many = 700
	for i := range many {
		k.put(t, fmt.Sprintf("%0200d", i), "")
	}
	names, pieces := 0, 0
	for _, a := range k.say(t, send(11, 1, "/"), bytes.Repeat(send(12, 1, nth(1)), 20))[1:] {
		if len(a)+4 > maxNames {
			t.Errorf("answer of %d bytes", len(a))
		}
		if a[0] == typeName {
			names += int(binary.BigEndian.Uint32(a[5:]))
			pieces++
		}
	}
	if names != many || pieces < 4 || pieces > 10 {
		t.Errorf("%d names in %d answers, want %d in a few", names, pieces, many)
	}
}

// An error comes after what was read before it, and comes again; so does the end.
func TestErrorInAListing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err  error
		code string
		want string
	}{
		"end":   {nil, "1", session.OutcomeDone},
		"error": {session.ErrDenied, "3", session.OutcomeFailed},
	} {
		for _, entries := range []int{0, 1, 130, 300, 600} {
			k, tree := newTalkOfMany(t, entries)
			tree.end = func() error { return c.err }
			names, after := 0, ""
			for _, a := range k.say(t, send(11, 1, "/"), bytes.Repeat(send(12, 1, nth(1)), 9), send(4, 1, nth(1)))[1:] {
				names += len(namesIn(a))
				if a[0] == typeStatus {
					after += code(a)
				} else if after != "" {
					t.Errorf("%s after %d: names after it", name, entries)
				}
			}
			if want := c.code + c.code; names != entries || !strings.HasPrefix(after, want) || !strings.HasSuffix(after, "0") {
				t.Errorf("%s after %d: got %d names, then statuses %q", name, entries, names, after)
			}
			if e := k.core.Record.Events(session.EventFile); len(e) != 1 || e[0].Outcome != c.want {
				t.Errorf("%s after %d: recorded %+v", name, entries, e)
			}
		}
	}
}

// A panic while an answer is prepared is that of a request.
func TestPanicInAListing(t *testing.T) {
	t.Parallel()
	k, tree := newTalkOfMany(t, 200)
	tree.end = func() error { panic("a fault of ours") }
	got := codes(k.say(t, send(11, 1, "/"), send(12, 1, nth(1)), send(12, 1, nth(1))))
	if got != "type 102 type 104 4" || k.panics != 1 {
		t.Errorf("answered %s with %d panics", got, k.panics)
	}
}

// Folders are listed side by side, by requests that do not wait for answers, and of no
// more than maxAhead of them the next answer is prepared.
func TestListingsSideBySide(t *testing.T) {
	t.Parallel()
	const folders, entries = maxAhead + 2, 700
	k, _ := newTalkOfMany(t, entries)
	sent := bytes.Repeat(send(11, 1, "/"), folders)
	for range 7 {
		for i := range folders {
			sent = append(sent, send(12, i, nth(uint64(i+1)))...)
		}
	}
	listed := make([][]string, folders)
	for _, a := range k.say(t, sent)[folders:] {
		i := binary.BigEndian.Uint32(a[1:])
		listed[i] = append(listed[i], namesIn(a)...)
	}
	for i, list := range listed {
		for j, name := range list {
			if want := fmt.Sprintf("%0200d", j); name != want {
				t.Fatalf("folder %d: got %q, want %q", i, name, want)
			}
		}
		if len(list) != entries {
			t.Errorf("folder %d: got %d names, want %d", i, len(list), entries)
		}
	}
}

// dialogue is a subsystem that is asked one thing after the other, within synctest.
type dialogue struct {
	light
	files *files
	peer  *io.PipeReader
	ended chan struct{}
}

func (k *talk) dialogue(t testing.TB) *dialogue {
	t.Helper()
	in, say := io.Pipe()
	hear, out := io.Pipe()
	f := newFiles(t.Context(), k.session, k.tree, &activity{}, k.pool, struct {
		io.Reader
		io.Writer
	}{in, out})
	f.panicked = func(v any) { t.Errorf("panic: %v", v) }
	f.handles.next = counted()
	d := &dialogue{light{in: say, out: bufio.NewReader(hear)}, f, hear, make(chan struct{})}
	go func() {
		defer close(d.ended)
		f.serve()
	}()
	d.ask(t, send(1, 3))
	return d
}

// ask returns the answer, when the subsystem is at rest again.
func (d *dialogue) ask(t testing.TB, packet []byte) []byte {
	t.Helper()
	d.send(t, packet)
	answer := d.answer(t)
	synctest.Wait()
	return answer
}

// cut ends the channel, for which there may be no time to hear anything.
func (d *dialogue) cut() {
	_ = d.in.Close()
	_ = d.peer.CloseWithError(errors.New("connection lost"))
	<-d.ended
}

// The next answer is prepared, and only that; for a folder that fits into one there is
// none.
func TestNextAnswerIsPrepared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, tree := newTalkOfMany(t, 1000)
		d := k.dialogue(t)
		defer d.cut()
		d.ask(t, send(11, 1, "/"))
		if n := tree.read.Load(); n != 0 {
			t.Errorf("OPENDIR read %d entries", n)
		}
		for told := 0; told < 500; {
			told += len(namesIn(d.ask(t, send(12, 1, nth(1)))))
			if n := int(tree.read.Load()); n < told+100 || n > told+150 || d.files.handles.ahead != 1 {
				t.Errorf("%d entries were told, %d were read", told, n)
			}
		}
		tree.entries = 100
		d.ask(t, send(11, 1, "/"))
		if d.ask(t, send(12, 1, nth(2))); d.files.handles.ahead != 1 {
			t.Error("an answer is prepared after the last")
		}
		tree.entries = 1000
		for i := range maxAhead + 2 {
			d.ask(t, send(11, 1, "/"))
			d.ask(t, send(12, 1, nth(uint64(3+i))))
		}
		if n := d.files.handles.ahead; n != maxAhead {
			t.Errorf("the answers of %d folders are prepared, want %d", n, maxAhead)
		}
	})
}

// A peer that does not ask for what was prepared did not list the folder to its end,
// whether it closes the handle or is cut off.
func TestListingCutInTheMiddle(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*testing.T, *dialogue){
		"CLOSE": func(t *testing.T, d *dialogue) {
			if a := d.ask(t, send(4, 1, nth(1))); code(a) != "0" {
				t.Errorf("CLOSE: answered %s", code(a))
			}
			if d.files.handles.ahead != 0 {
				t.Error("what was prepared is kept")
			}
		},
		"connection": func(_ *testing.T, d *dialogue) { d.cut() },
		"answer": func(t *testing.T, d *dialogue) { // nobody hears it
			d.send(t, send(12, 1, nth(1)))
			d.cut()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { // which waits for all goroutines
				for _, entries := range []int{200, 1000} { // prepared to the end or not
					k, tree := newTalkOfMany(t, entries)
					d := k.dialogue(t)
					d.ask(t, send(11, 1, "/"))
					d.ask(t, send(12, 1, nth(1)))
					end(t, d)
					if n := tree.going.Load(); n != 0 {
						t.Errorf("%d listings go on", n)
					}
					if e := k.core.Record.Events(session.EventFile); len(e) != 1 || e[0].Outcome != session.OutcomeFailed {
						t.Errorf("recorded %+v", e)
					}
					d.cut()
				}
			})
		})
	}
}

// opened is how many descriptors this process has of a folder.
func opened(folder string) (n int) {
	list, _ := filepath.Glob("/proc/self/fd/*")
	for _, fd := range list {
		if name, err := os.Readlink(fd); err == nil && name == folder {
			n++
		}
	}
	return n
}

// What is removed between two answers is told if it is in the prepared one, and what
// stays is told once. No descriptor is left.
func TestListingWhileFilesAreRemoved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const many = 1000
		k := newTalkOnDisk(t)
		folder := filepath.Join(k.dir, "d")
		if err := os.Mkdir(folder, 0o750); err != nil {
			t.Fatal(err)
		}
		for i := range many {
			k.put(t, fmt.Sprintf("d/%0200d", i), "")
		}
		d := k.dialogue(t)
		d.ask(t, send(11, 1, "d"))
		told := map[string]int{}
		for removed := false; ; removed = true {
			a := d.ask(t, send(12, 1, nth(1)))
			for _, name := range namesIn(a) {
				told[name]++
			}
			if a[0] == typeStatus {
				break
			}
			for i := 1; i < many && !removed; i += 2 {
				if err := os.Remove(filepath.Join(folder, fmt.Sprintf("%0200d", i))); err != nil {
					t.Fatal(err)
				}
			}
		}
		for i := range many {
			if n := told[fmt.Sprintf("%0200d", i)]; n > 1 || n == 0 && i%2 == 0 {
				t.Errorf("file %d is told %d times", i, n)
			}
		}
		if len(told) > many*3/4 {
			t.Errorf("%d names were told of %d", len(told), many/2)
		}
		for range 2 {
			d.ask(t, send(11, 1, "d"))
		}
		d.ask(t, send(12, 1, nth(2)))
		if n := opened(folder); n != 1 { // the third handle was not asked for anything
			t.Errorf("the folder is open %d times, want once", n)
		}
		d.cut()
		if n := opened(folder); n != 0 {
			t.Errorf("the folder is open %d times after the end", n)
		}
	})
}
