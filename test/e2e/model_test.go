package e2e

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gateway/internal/gatewaytest"
)

const (
	modelOperations = 10_000 // of both clients together
	modelLimit      = 4 * time.Minute
	modelSeed       = 20260
)

// Two clients at once, one of them over TLS, do random operations on one account.
// The same operations are done on a plain folder. Every reply agrees with what
// became of the operation there, and in the end both trees are the same: names,
// contents, permissions, and times where they were set.
//
// Each client works in a half of the tree of its own, and in a folder where both
// work, each on names of its own; both read what neither changes. So what happens
// does not depend on who comes first. E2E_SEED chooses other operations.
func TestRandomOperationsMatchAPlainFolder(t *testing.T) {
	t.Parallel()
	seed := uint64(modelSeed)
	if text := os.Getenv("E2E_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("E2E_SEED=%d", seed)
	state := quickDir(t)
	g := gatewaytest.Start(t, ftpSettings{state: state}.options())
	real, plain := filepath.Join(state, "files", scanner), filepath.Join(t.TempDir(), "plain")
	first, err := dialRaw(t.Context(), g.Addr("ftp"), scanner, scannerPassword, nil, clientTimeout)
	if err != nil {
		t.Fatal(err)
	}
	_ = first.Close() // it made the folder
	for _, root := range []string{real, plain} {
		for _, folder := range []string{"half 0", "half 1", "common", "fixed/dé"} {
			if err := os.MkdirAll(filepath.Join(root, folder), 0o750); err != nil {
				t.Fatal(err)
			}
		}
		for name, size := range map[string]int{"empty": 0, "small é": 77, "dé/large": 200_000} {
			content := make([]byte, size)
			_, _ = rand.NewChaCha8([32]byte{1}).Read(content)
			if err := os.WriteFile(filepath.Join(root, "fixed", name), content, 0o640); err != nil {
				t.Fatal(err)
			}
		}
	}
	begun := time.Now().Add(-time.Second)
	operations := modelOperations / 2
	if testing.Short() {
		operations /= 10
	}
	var wg sync.WaitGroup
	for i, settings := range []*tls.Config{nil, resuming(t, g)} {
		c, err := dialRaw(t.Context(), g.Addr("ftp"), scanner, scannerPassword, settings, modelLimit)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		w := &walker{c: c, root: plain, number: i, cwd: "/", r: rand.New(rand.NewPCG(seed, uint64(i))), done: map[string]int{}}
		wg.Go(func() {
			for n := range operations {
				if err := w.step(); err != nil {
					t.Errorf("client %d, operation %d: %v\nbefore it:\n%s", i, n, err, strings.Join(w.recent, "\n"))
					return
				}
			}
			t.Logf("client %d: %v", i, w.done)
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	t.Logf("%d operations in %v", 2*operations, time.Since(begun).Round(time.Millisecond))
	sameTree(t, real, plain, begun)
}

// quickDir is a temporary folder, in memory where that is possible: what is
// compared here is not what a disk does.
func quickDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "gateway-e2e-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// walker is one client, the plain folder that it is compared with, and what it
// knows: its working directory.
type walker struct {
	c      *rawFTP
	root   string // of the plain folder
	number int
	cwd    string
	r      *rand.Rand

	recent []string
	done   map[string]int // verb and code, how often
}

// refusal is what the gateway is to answer in place of success.
type refusal int

func (r refusal) Error() string { return fmt.Sprint(int(r)) }

// errRefused is the answer to most of what cannot be done.
const errRefused = refusal(550)

// wanted is the code that an operation on the plain folder stands for.
func wanted(success int, err error) int {
	var r refusal
	switch {
	case err == nil:
		return success
	case errors.As(err, &r):
		return int(r)
	case errors.Is(err, syscall.EINVAL): // a folder into itself
		return 553
	default:
		return int(errRefused)
	}
}

// agree compares a reply with what became of the plain folder.
func (w *walker) agree(said string, code int, err error, success int, model error) error {
	verb, _, _ := strings.Cut(said, " ")
	w.recent = append(w.recent, fmt.Sprintf("  %s -> %d", said, code))
	if len(w.recent) > 12 {
		w.recent = w.recent[1:]
	}
	w.done[fmt.Sprintf("%s %d", verb, code)]++
	if err != nil {
		return fmt.Errorf("%s: %w", said, err)
	}
	if want := wanted(success, model); code != want {
		return fmt.Errorf("%s: got %d, want %d (the plain folder: %v)", said, code, want, model)
	}
	return nil
}

// pick chooses a path in what is the client's own: blindly, so that it is hardly
// ever there, or by going through what is there.
func (w *walker) pick() string {
	names := [...]string{"f 1", "f é 2", "f3", "d 1", "d é 2", "d3"}
	p, own, depth := fmt.Sprintf("/half %d", w.number), "", 4
	if w.r.IntN(4) == 0 {
		p, own, depth = "/common", w.own(), 2
	}
	blind := w.r.IntN(4) == 0
	for {
		depth--
		name := own + names[w.r.IntN(len(names))]
		if !blind && w.r.IntN(3) > 0 {
			if there, _, _ := w.plainEntries(p, own); len(there) > 0 {
				name = there[w.r.IntN(len(there))].name
			}
		}
		p, own = p+"/"+name, ""
		info, err := os.Stat(w.at(p))
		if depth == 0 || w.r.IntN(3) == 0 || !blind && (err != nil || !info.IsDir()) {
			return p
		}
	}
}

// own begins the names that are the client's in the common folder.
func (w *walker) own() string { return fmt.Sprintf("of %d ", w.number) }

// say writes p as a client would: absolute, or relative to where it is.
func (w *walker) say(p string) string {
	if w.r.IntN(2) == 0 {
		return p
	}
	relative, err := filepath.Rel(w.cwd, p)
	if err != nil || relative == "." {
		return p
	}
	return relative
}

func (w *walker) at(p string) string { return filepath.Join(w.root, p) }

func (w *walker) content(least int) []byte {
	size := least + w.r.IntN(4000)
	if w.r.IntN(50) == 0 {
		size += w.r.IntN(200_000)
	}
	content := make([]byte, size)
	for i := range content {
		content[i] = byte(w.r.Uint32())
	}
	return content
}

func (w *walker) step() error {
	operations := [...]struct {
		weight int
		do     func(*walker) error
	}{
		{16, (*walker).stor},
		{6, (*walker).appe},
		{6, (*walker).restStor},
		{12, (*walker).retr},
		{3, (*walker).retrFixed},
		{7, (*walker).dele},
		{9, (*walker).rename},
		{10, (*walker).mkd},
		{4, (*walker).rmd},
		{8, (*walker).cwdTo},
		{5, (*walker).mfmt},
		{4, (*walker).chmod},
		{4, (*walker).size},
		{4, (*walker).mlsd},
		{2, (*walker).nlst},
		{2, (*walker).list},
	}
	total := 0
	for _, o := range operations {
		total += o.weight
	}
	at := w.r.IntN(total)
	for _, o := range operations {
		if at -= o.weight; at < 0 {
			return o.do(w)
		}
	}
	return nil
}

// upload writes to the plain folder as an upload does: a file that its owner may
// not write stays, whoever runs the test.
func (w *walker) upload(p string, write func(old []byte) ([]byte, error)) error {
	info, err := os.Stat(w.at(p))
	var old []byte
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if folder, err := os.Stat(filepath.Dir(w.at(p))); err != nil || !folder.IsDir() {
			return errRefused
		}
	case err != nil:
		return err
	case info.IsDir(), info.Mode()&0o200 == 0:
		return errRefused
	default:
		if old, err = os.ReadFile(w.at(p)); err != nil {
			return err
		}
	}
	content, err := write(old)
	if err != nil {
		return err
	}
	if info != nil {
		return os.WriteFile(w.at(p), content, 0)
	}
	if err := os.WriteFile(w.at(p), content, 0o640); err != nil {
		return err
	}
	return os.Chmod(w.at(p), 0o640)
}

func (w *walker) stor() error {
	p, content := w.pick(), w.content(0)
	model := w.upload(p, func([]byte) ([]byte, error) { return content, nil })
	said := "STOR " + w.say(p)
	code, err := w.c.send(content, said)
	return w.agree(said, code, err, 226, model)
}

func (w *walker) appe() error {
	p, content := w.pick(), w.content(1)
	model := w.upload(p, func(old []byte) ([]byte, error) { return append(old, content...), nil })
	said := "APPE " + w.say(p)
	code, err := w.c.send(content, said)
	return w.agree(said, code, err, 226, model)
}

// offset is somewhere in what p is, or a little behind it.
func (w *walker) offset(p string) int64 {
	info, err := os.Stat(w.at(p))
	if err != nil || !info.Mode().IsRegular() {
		return int64(w.r.IntN(20))
	}
	return w.r.Int64N(info.Size() + 1 + info.Size()/8)
}

func (w *walker) restStor() error {
	p, content := w.pick(), w.content(1)
	offset := w.offset(p)
	model := w.upload(p, func(old []byte) ([]byte, error) {
		if offset > int64(len(old)) {
			return nil, refusal(554)
		}
		return append(old[:offset:offset], content...), nil
	})
	said := "STOR " + w.say(p)
	code, err := w.c.send(content, fmt.Sprintf("REST %d", offset), said)
	return w.agree(said, code, err, 226, model)
}

func (w *walker) retr() error {
	return w.fetch(w.pick())
}

func (w *walker) retrFixed() error {
	return w.fetch("/fixed/" + []string{"empty", "small é", "dé/large", "dé", "none"}[w.r.IntN(5)])
}

func (w *walker) fetch(p string) error {
	want, model := os.ReadFile(w.at(p))
	said := "RETR " + w.say(p)
	commands := []string{said}
	if w.r.IntN(3) == 0 {
		offset := w.offset(p)
		commands = []string{fmt.Sprintf("REST %d", offset), said}
		switch {
		case model != nil:
		case offset > int64(len(want)):
			model = refusal(554)
		default:
			want = want[offset:]
		}
	}
	got, code, err := w.c.fetch(commands...)
	if err := w.agree(said, code, err, 226, model); err != nil {
		return err
	}
	if model == nil && !bytes.Equal(got, want) {
		return fmt.Errorf("%s: got %d bytes that differ from the %d there", said, len(got), len(want))
	}
	return nil
}

func (w *walker) dele() error {
	p := w.pick()
	said := "DELE " + w.say(p)
	code, _, err := w.c.say(said)
	return w.agree(said, code, err, 250, syscall.Unlink(w.at(p)))
}

// rename uses the system call, since os.Rename does not replace empty folders.
func (w *walker) rename() error {
	from, to := w.pick(), w.pick()
	said := "RNFR " + w.say(from)
	_, model := os.Lstat(w.at(from))
	code, _, err := w.c.say(said)
	if err := w.agree(said, code, err, 350, model); err != nil || model != nil {
		return err
	}
	said = "RNTO " + w.say(to)
	model = syscall.Rename(w.at(from), w.at(to))
	code, _, err = w.c.say(said)
	return w.agree(said, code, err, 250, model)
}

func (w *walker) mkd() error {
	p := w.pick()
	said := "MKD " + w.say(p)
	code, _, err := w.c.say(said)
	return w.agree(said, code, err, 257, os.Mkdir(w.at(p), 0o750))
}

func (w *walker) rmd() error {
	p := w.pick()
	said := "RMD " + w.say(p)
	code, _, err := w.c.say(said)
	return w.agree(said, code, err, 250, syscall.Rmdir(w.at(p)))
}

func (w *walker) cwdTo() error {
	p, said := w.pick(), ""
	switch w.r.IntN(6) {
	case 0:
		p, said = path.Dir(w.cwd), "CDUP"
	case 1:
		p = "/fixed/dé"
	case 2:
		p = fmt.Sprintf("/half %d", w.number)
	}
	if said == "" {
		said = "CWD " + w.say(p)
	}
	info, model := os.Stat(w.at(p))
	if model == nil && !info.IsDir() {
		model = syscall.ENOTDIR
	}
	code, _, err := w.c.say(said)
	if model == nil {
		w.cwd = p
	}
	if err := w.agree(said, code, err, 250, model); err != nil {
		return err
	}
	code, text, err := w.c.say("PWD")
	if err == nil && !strings.HasPrefix(text, `"`+w.cwd+`"`) {
		err = fmt.Errorf("got %s, want %q", text, w.cwd)
	}
	return w.agree("PWD", code, err, 257, nil)
}

// oldest and older bound the times that are set, so that they can be told from
// those that are not.
const (
	older  = 1_400_000_000
	oldest = 1_000_000_000
)

func (w *walker) mfmt() error {
	p, at := w.pick(), time.Unix(oldest+w.r.Int64N(older-oldest), 0).UTC()
	said := fmt.Sprintf("MFMT %s %s", at.Format("20060102150405"), w.say(p))
	code, _, err := w.c.say(said)
	return w.agree(said, code, err, 213, os.Chtimes(w.at(p), at, at))
}

func (w *walker) chmod() error {
	p := w.pick()
	modes := []fs.FileMode{0o600, 0o640, 0o444, 0o400, 0o755}
	info, model := os.Stat(w.at(p))
	if model == nil && info.IsDir() {
		modes = []fs.FileMode{0o700, 0o755} // the rest must stay possible for who is not root
	}
	mode := modes[w.r.IntN(len(modes))]
	if model == nil {
		model = os.Chmod(w.at(p), mode)
	}
	said := fmt.Sprintf("SITE CHMOD %o %s", mode, w.say(p))
	code, _, err := w.c.say(said)
	return w.agree(said, code, err, 200, model)
}

func (w *walker) size() error {
	p := w.pick()
	info, model := os.Stat(w.at(p))
	regular := model
	if model == nil && !info.Mode().IsRegular() {
		regular = syscall.EISDIR
	}
	said := "SIZE " + w.say(p)
	code, text, err := w.c.say(said)
	if err := w.agree(said, code, err, 213, regular); err != nil {
		return err
	}
	if regular == nil && text != fmt.Sprint(info.Size()) {
		return fmt.Errorf("%s: got %s, want %d", said, text, info.Size())
	}
	said = "MDTM " + w.say(p)
	code, text, err = w.c.say(said)
	if err := w.agree(said, code, err, 213, model); err != nil {
		return err
	}
	if want := stampIfSet(info); want != "" && text != want {
		return fmt.Errorf("%s: got %s, want %s", said, text, want)
	}
	return nil
}

// stampIfSet is the time of a file as FTP writes it, or "" if nobody set it.
func stampIfSet(info fs.FileInfo) string {
	if info == nil || info.IsDir() || info.ModTime().Unix() > older {
		return ""
	}
	return info.ModTime().UTC().Format("20060102150405")
}

// sameTree compares everything below two folders. Times that were not set since
// begun must be of now, on both sides.
func sameTree(t *testing.T, got, want string, begun time.Time) {
	t.Helper()
	list := func(root string) (lines []string) {
		err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			name, err := filepath.Rel(root, p)
			if err != nil || name == "." {
				return err
			}
			line := fmt.Sprintf("%s %v", name, info.Mode())
			if info.Mode().IsRegular() {
				when := stampIfSet(info)
				if when == "" && info.ModTime().After(begun) {
					when = "now"
				}
				if strings.HasPrefix(name, "fixed/") {
					when = ""
				}
				content, err := os.ReadFile(p)
				if err != nil {
					return err
				}
				line += fmt.Sprintf(" %s %d bytes %x", when, len(content), checksum(content))
			}
			lines = append(lines, line)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return lines
	}
	g, w := list(got), list(want)
	t.Logf("%d files and folders at the end", len(w))
	for _, line := range g {
		if !slices.Contains(w, line) {
			t.Errorf("only in the gateway:      %s", line)
		}
	}
	for _, line := range w {
		if !slices.Contains(g, line) {
			t.Errorf("only in the plain folder: %s", line)
		}
	}
}

func checksum(content []byte) uint32 { return crc32.ChecksumIEEE(content) }
