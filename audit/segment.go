package audit

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	segmentSuffix = ".jsonl"
	edgeSuffix    = ".tree"
	seqDigits     = 20
)

// segmentName is the file whose first line has seq.
func segmentName(seq int64) string { return fmt.Sprintf("%0*d%s", seqDigits, seq, segmentSuffix) }

// edgeName is the file with the tree's edge before seq.
func edgeName(seq int64) string { return fmt.Sprintf("%0*d%s", seqDigits, seq, edgeSuffix) }

// parseSegmentName returns the seq of a segment's first line.
func parseSegmentName(name string) (int64, bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(digits) != seqDigits || strings.Trim(digits, "0123456789") != "" {
		return 0, false
	}
	seq, err := strconv.ParseInt(digits, 10, 64)
	return seq, err == nil && seq > 0
}

// listSegments returns the first seq of each segment of dir, in order.
func listSegments(dir string) ([]int64, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var seqs []int64
	for _, name := range names {
		if seq, ok := parseSegmentName(name); ok {
			seqs = append(seqs, seq)
		}
	}
	slices.Sort(seqs)
	return seqs, nil
}

// emptySegment reports whether there is nothing in a segment. Readers pass it
// over: it may be taken back if it turns out that there is no space for it.
func emptySegment(dir string, first int64) bool {
	info, err := os.Stat(filepath.Join(dir, segmentName(first)))
	return err != nil || info.Size() == 0
}

// errLongLine is a line beyond maxLine. Its bytes are skipped, so that reading
// may go on.
var errLongLine = fmt.Errorf("line longer than %d bytes", maxLine)

// lines reads a segment line by line. The zero value is not usable.
type lines struct {
	r *bufio.Reader
	// offset is where the next line begins, number that of the last one read.
	offset int64
	number int
	// left is the length of the unfinished line at the end, set with io.EOF.
	left int64
}

func newLines(r io.Reader, offset int64) *lines {
	return &lines{r: bufio.NewReaderSize(r, maxLine), offset: offset}
}

// next returns the next line without its newline, valid until the next call. It
// returns io.EOF at the end, where an unfinished line is left alone, and
// errLongLine for a line that it skipped.
func (l *lines) next() ([]byte, error) {
	line, err := l.r.ReadSlice('\n')
	if err == nil {
		l.offset += int64(len(line))
		l.number++
		return line[:len(line)-1], nil
	}
	length := int64(len(line))
	for errors.Is(err, bufio.ErrBufferFull) {
		line, err = l.r.ReadSlice('\n')
		length += int64(len(line))
	}
	if err != nil {
		if errors.Is(err, io.EOF) {
			l.left = length
		}
		return nil, err
	}
	l.offset += length
	l.number++
	return nil, errLongLine
}

// maxJump bounds how far a damaged record may move the numbers.
const maxJump = 1 << 40

// A scan is what the start finds in a segment.
type scan struct {
	// good is the offset after the last line that belongs to the record, next the
	// seq that follows it.
	good, next int64
	// cut is the length of what follows good, reason what is wrong with it.
	cut    int64
	reason string
	// damaged says that whole lines of the record follow what is wrong. That is
	// not the mark of a crash, so nothing may be cut away.
	damaged bool
	// checkpoint is the last one stated.
	checkpoint string
}

// scanSegment reads the segment that begins with seq first, up to the first
// line that does not belong, and hands each line that does to leaf.
func scanSegment(ctx context.Context, r io.Reader, first int64, leaf func(line []byte)) (scan, error) {
	s := scan{next: first}
	in := newLines(r, 0)
	for {
		if in.number%1024 == 0 && ctx.Err() != nil {
			return s, ctx.Err()
		}
		line, err := in.next()
		switch {
		case errors.Is(err, io.EOF):
			s.cut = in.offset + in.left - s.good
			if s.reason == "" && s.cut > 0 {
				s.reason = "the last line was not finished"
			}
			return s, nil
		case err != nil && !errors.Is(err, errLongLine):
			return s, err
		}
		seq, ok := int64(0), false
		if err == nil {
			seq, ok = quickSeq(line)
		}
		switch {
		case s.reason == "" && ok && seq == s.next:
			leaf(line)
			if hash, is := checkpointOf(line); is {
				s.checkpoint = hash
			}
			s.good, s.next = in.offset, s.next+1
		case s.reason == "" && ok:
			s.reason = fmt.Sprintf("line %d has seq %d instead of %d", in.number, seq, s.next)
			s.damaged = true
		case s.reason == "":
			s.reason = fmt.Sprintf("line %d is not a record", in.number)
		case ok:
			s.damaged = true
		}
		if s.reason != "" && ok && seq >= s.next && seq < s.next+maxJump {
			s.next = seq + 1
		}
	}
}

// checkpointOf returns what a line states, if it is a checkpoint.
func checkpointOf(line []byte) (string, bool) {
	if !bytes.Contains(line, []byte(`"verb":"checkpoint"`)) {
		return "", false
	}
	e, err := decode(line)
	if err != nil || !isCheckpoint(e) {
		return "", false
	}
	return e.Hash, true
}

// lastSeq returns the seq of the last whole line of a segment, without reading
// all of it. It returns zero if there is none.
func lastSeq(path string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	// The last line may be unfinished, so the one before it must fit too.
	for _, length := range []int64{readSize, 2 * maxLine} {
		length = min(length, info.Size())
		tail := make([]byte, length)
		if _, err := f.ReadAt(tail, info.Size()-length); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		whole := tail[:bytes.LastIndexByte(tail, '\n')+1]
		for len(whole) > 0 {
			begin := bytes.LastIndexByte(whole[:len(whole)-1], '\n') + 1
			if seq, ok := quickSeq(whole[begin : len(whole)-1]); ok {
				return seq, nil
			}
			whole = whole[:begin]
		}
	}
	return 0, nil
}

// brokenChain says where the segments of dir do not follow one another, or "".
func brokenChain(ctx context.Context, dir string, firsts []int64) (string, error) {
	next := int64(1)
	for i, first := range firsts {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		if first != next {
			return fmt.Sprintf("%s follows seq %d", segmentName(first), next-1), nil
		}
		if i == len(firsts)-1 {
			break
		}
		last, err := lastSeq(filepath.Join(dir, segmentName(first)))
		if err != nil {
			return "", err
		}
		next = last + 1
	}
	return "", nil
}

// resumeTree returns the tree over all lines before the segment firsts[i]: from
// the edge beside it if that can be believed, else from the lines themselves.
func resumeTree(ctx context.Context, dir string, firsts []int64, i int) (tree, error) {
	var t tree
	from := 0
	for k := i; k > 0; k-- {
		if edge, ok := believedEdge(dir, firsts[k]); ok {
			t, from = edge, k
			break
		}
	}
	for _, first := range firsts[from:i] {
		if err := addSegment(ctx, dir, first, &t); err != nil {
			return tree{}, err
		}
	}
	return t, nil
}

// believedEdge reads the edge before a segment and checks it with the segment's
// first line.
func believedEdge(dir string, first int64) (tree, bool) {
	data, err := readSmall(filepath.Join(dir, edgeName(first)))
	if err != nil {
		return tree{}, false
	}
	t, err := unmarshalTree(data)
	if err != nil {
		return tree{}, false
	}
	f, err := os.Open(filepath.Join(dir, segmentName(first)))
	if err != nil {
		return tree{}, false
	}
	defer f.Close()
	line, err := newLines(f, 0).next()
	if err != nil {
		return tree{}, false
	}
	hash, ok := checkpointOf(line)
	return t, ok && hash == t.checkpoint()
}

// addSegment adds every line of a segment.
func addSegment(ctx context.Context, dir string, first int64, t *tree) error {
	f, err := os.Open(filepath.Join(dir, segmentName(first)))
	if err != nil {
		return err
	}
	defer f.Close()
	in := newLines(f, 0)
	for {
		if in.number%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		line, err := in.next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, errLongLine):
			line = nil
		case err != nil:
			return err
		}
		t.add(line)
	}
}

// maxEdgeFile bounds a .tree file: a size and at most 63 hashes.
const maxEdgeFile = 4096

func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxEdgeFile+1))
	if err == nil && len(data) > maxEdgeFile {
		err = &fs.PathError{Op: "read", Path: path, Err: errors.New("file too long")}
	}
	return data, err
}
