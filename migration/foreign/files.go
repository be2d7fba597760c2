package foreign

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"strings"
	"unicode/utf8"
)

// The bounds of a source.
const (
	// maxFileBytes is of one file. A million lines of passwd are less.
	maxFileBytes = 256 << 20
	// maxLineBytes is of one line of a file that has lines.
	maxLineBytes = 64 << 10
	// maxFolderFiles is of a folder with a file for each account.
	maxFolderFiles = 100_000
	// maxRefusals is how many lines of one source are named that are not taken.
	maxRefusals = 10_000
)

// Files is where a source is read from.
type Files interface {
	// Read returns what is in a file, of at most maxFileBytes.
	Read(name string) ([]byte, error)
	// List returns the names of the files in a folder, without those that begin with a
	// dot, in their order.
	List(folder string) ([]string, error)
}

// Disk reads the files of the operating system.
type Disk struct{}

// Read implements Files.
func (Disk) Read(name string) ([]byte, error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("%w: run as a user who may read it (sudo), or give it a copy that you may read", err)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && !info.Mode().IsRegular() && info.Mode()&(fs.ModeNamedPipe|fs.ModeCharDevice) == 0 {
		return nil, fmt.Errorf("%s is no file", name)
	}
	content, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, err
	}
	if len(content) > maxFileBytes {
		return nil, fmt.Errorf("%s has more than %d MiB, which is no file of accounts", name, maxFileBytes>>20)
	}
	return content, nil
}

// List implements Files.
func (Disk) List(folder string) ([]string, error) {
	d, err := os.Open(folder)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	if _, err := d.Readdirnames(maxFolderFiles + 1); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	if len(entries) > maxFolderFiles {
		return nil, fmt.Errorf("%s has more than %d files", folder, maxFolderFiles)
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// line is one line of a file, without its end.
type line struct {
	At   Position
	Text string
}

// lines are those of a file that are not empty and that can be read. Others are refused
// in found: with a NUL, too long. Latin-1 is made UTF-8. A byte order mark and carriage
// returns at the end are not part of a line; a last line without an end is one.
func lines(name string, content []byte, found *Found) iter.Seq[line] {
	return func(yield func(line) bool) {
		content = bytes.TrimPrefix(content, []byte("\xef\xbb\xbf"))
		number := 0
		for raw := range bytes.Lines(content) {
			number++
			at := Position{name, number}
			raw = bytes.TrimRight(raw, "\r\n")
			switch {
			case len(raw) == 0:
				continue
			case len(raw) > maxLineBytes:
				found.refuse(at, "", "the line is longer than %d bytes", maxLineBytes)
			case bytes.IndexByte(raw, 0) >= 0:
				found.refuse(at, "", "there is a NUL in the line: is it another kind of file?")
			default:
				if !yield(line{at, text(raw)}) {
					return
				}
			}
			if found.full(at) {
				return
			}
		}
	}
}

// text makes UTF-8 of what may be Latin-1.
func text(raw []byte) string {
	if utf8.Valid(raw) {
		return string(raw)
	}
	var b strings.Builder
	for _, c := range raw {
		b.WriteRune(rune(c))
	}
	return b.String()
}
