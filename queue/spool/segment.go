package spool

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"gateway/session"
)

const (
	segmentSuffix = ".spool"
	segmentDigits = 10
	segmentMagic  = "GWSPOOL1"
	// startSize is the length of what a segment begins with: magic and salt.
	startSize = len(segmentMagic) + 4
	fileMode  = 0o600
)

// segment is one file of the log.
type segment struct {
	number uint32
	file   *os.File
	salt   uint32
	size   int64 // what is on stable storage
	limit  int64 // length at which the next segment follows
	end    int64 // length up to which space is ours: behind limit it is for what frees space

	used int64 // bytes of records in use
	// removals counts the removals here by the segment of the message: while that one
	// exists they are needed, lest the message come back.
	removals map[uint32]int
	// kept says that something in use cannot be copied, so that the segment stays.
	kept bool
}

func segmentName(number uint32) string {
	return fmt.Sprintf("%0*d%s", segmentDigits, number, segmentSuffix)
}

func parseSegmentName(name string) (uint32, bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(digits) != segmentDigits {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	return uint32(n), err == nil && n > 0
}

// createSegment begins a segment with space for size bytes, of which the last
// quarter, or reserve, is for what frees space.
func createSegment(dir string, number uint32, size int64) (*segment, error) {
	f, err := os.OpenFile(filepath.Join(dir, segmentName(number)), os.O_RDWR|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return nil, fmt.Errorf("begin segment: %w", diskError(err))
	}
	var salt [4]byte
	_, _ = rand.Read(salt[:]) // never fails (crypto/rand)
	s := &segment{number: number, file: f, salt: binary.LittleEndian.Uint32(salt[:]), removals: make(map[uint32]int)}
	s.end = size
	s.limit = size - min(reserve, size/4)
	if err := s.allocate(); err != nil {
		return nil, errors.Join(fmt.Errorf("begin segment: %w", diskError(err)), f.Close(), os.Remove(f.Name()))
	}
	return s, nil
}

// start is what the segment begins with.
func (s *segment) start() []byte {
	return binary.LittleEndian.AppendUint32([]byte(segmentMagic), s.salt)
}

// allocate takes the segment's space in advance, where that can be done.
func (s *segment) allocate() error {
	for {
		switch err := unix.Fallocate(int(s.file.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, s.end); {
		case err == unix.EINTR:
		case err == unix.EOPNOTSUPP, err == unix.ENOSYS:
			return nil
		default:
			return err
		}
	}
}

// datasync leaves out the times of the file, which nobody reads.
func datasync(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); err != unix.EINTR {
			return err
		}
	}
}

// cut brings the file back to what is known to be on stable storage.
func (s *segment) cut() error {
	if err := s.file.Truncate(s.size); err != nil {
		return fmt.Errorf("cut segment %s: %w", segmentName(s.number), err)
	}
	if err := datasync(s.file); err != nil {
		return fmt.Errorf("sync segment %s: %w", segmentName(s.number), err)
	}
	return nil
}

// discard takes back a segment that nothing was put in.
func (s *segment) discard() error { return errors.Join(s.file.Close(), os.Remove(s.file.Name())) }

// read returns n bytes at offset.
func (s *segment) read(offset, n int64) ([]byte, error) {
	b := make([]byte, n)
	if _, err := s.file.ReadAt(b, offset); err != nil {
		return nil, fmt.Errorf("read segment %s: %w", segmentName(s.number), err)
	}
	return b, nil
}

// listSegments returns the numbers of the segments of dir, in order.
func listSegments(dir string) ([]uint32, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var numbers []uint32
	for _, e := range entries {
		if n, ok := parseSegmentName(e.Name()); ok && e.Type().IsRegular() {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// syncFolder makes the names in a folder survive a power cut.
func syncFolder(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	return nil
}

// diskError gives a full disk its kind.
func diskError(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", session.ErrNoSpace, err)
	}
	return err
}
