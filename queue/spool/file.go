package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"gateway/session"
)

const (
	// draftPrefix begins the name of a file that is still being written.
	draftPrefix = "draft-"
	// checkEvery is how many bytes may be written between two looks at the space
	// that is left.
	checkEvery = 8 << 20
)

// File is a content, or the rest of one, that is kept apart from the log. It is used
// by one goroutine, and ends with Discard, which does nothing once the message that
// it is part of is committed.
type File struct {
	name, draft string // paths
	file        *os.File
	room        func() error
	sync        func() error
	log         func(err error)
	size        int64
	checked     int64 // size at the last look at the space left
}

// File begins the file of a message.
func (s *Spool[T]) File(id ID) (*File, error) {
	if err := s.Room(); err != nil {
		return nil, err
	}
	f := &File{
		name: filepath.Join(s.cfg.Dir, id.String()), draft: filepath.Join(s.cfg.Dir, draftPrefix+id.String()),
		room: s.Room, sync: s.syncDir,
		log: func(err error) { s.cfg.Log.Warn("discarded content not removed", "id", id, "err", err) },
	}
	var err error
	if f.file, err = os.OpenFile(f.draft, os.O_RDWR|os.O_CREATE|os.O_EXCL, fileMode); err != nil {
		return nil, fmt.Errorf("create content file: %w", diskError(err))
	}
	return f, nil
}

// Write adds to the file. session.ErrNoSpace means that the disk is full.
func (f *File) Write(p []byte) (int, error) {
	if f.size-f.checked >= checkEvery {
		if err := f.room(); err != nil {
			return 0, err
		}
		f.checked = f.size
	}
	n, err := f.file.Write(p)
	f.size += int64(n)
	if err != nil {
		return n, fmt.Errorf("write content: %w", diskError(err))
	}
	return n, nil
}

// Publish puts the file on stable storage under its name. It runs in the caller's
// goroutine, so that many of them sync at the same time and none of them holds up
// the log.
func (f *File) Publish() error {
	err := datasync(f.file)
	if err = errors.Join(err, f.file.Close()); err != nil {
		return fmt.Errorf("sync content: %w", diskError(err))
	}
	if err := os.Rename(f.draft, f.name); err != nil {
		return fmt.Errorf("name content file: %w", diskError(err))
	}
	f.draft = f.name
	if err := f.sync(); err != nil {
		return fmt.Errorf("name content file: %w", diskError(err))
	}
	return nil
}

// keep makes Discard do nothing: a message has the file, or may have it.
func (f *File) keep() { f.draft = "" }

// Discard removes the file.
func (f *File) Discard() {
	if f.draft == "" {
		return
	}
	_ = f.file.Close() // closed by Publish if it came so far
	if err := os.Remove(f.draft); err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.log(err)
	}
	f.draft = ""
}

// sweep removes files that no message names: drafts that were under way when the
// process ended, and contents of messages that were done with. A file whose name is
// not ours is left alone.
func (s *Spool[T]) sweep() error {
	entries, err := os.ReadDir(s.cfg.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name, draft := strings.CutPrefix(e.Name(), draftPrefix)
		id, ok := ParseID(name)
		if !ok || !e.Type().IsRegular() || !draft && s.index.get(id) != nil {
			continue
		}
		if !draft && s.damaged {
			continue // its message may be in the part that could not be read
		}
		if err := os.Remove(filepath.Join(s.cfg.Dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		s.cfg.Log.Info("content without an envelope removed", "id", id)
	}
	return nil
}

// Content is the content of a message while it is read.
type Content struct {
	small []byte
	file  *os.File // nil if all is in small
	size  int64
}

// Content opens the content of m. Errors as for Envelope; ErrDamaged if its file is
// missing.
func (s *Spool[T]) Content(m *Message[T]) (*Content, error) {
	small, err := s.content(m)
	if err != nil {
		return nil, err
	}
	c := &Content{small: small, size: int64(len(small))}
	s.mu.RLock()
	whole := m.flags&inFile == 0
	s.mu.RUnlock()
	if whole {
		return c, nil
	}
	c.file, err = os.Open(filepath.Join(s.cfg.Dir, m.id.String()))
	if errors.Is(err, fs.ErrNotExist) {
		if s.Get(m.id) == nil {
			return nil, fmt.Errorf("message %s: %w", m.id, session.ErrNotExist)
		}
		return nil, fmt.Errorf("message %s: its content file is missing: %w", m.id, ErrDamaged)
	}
	if err != nil {
		return nil, fmt.Errorf("open content: %w", err)
	}
	info, err := c.file.Stat()
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	c.size += info.Size()
	return c, nil
}

// Size is how many bytes the content has.
func (c *Content) Size() int64 { return c.size }

// Read reads on.
func (c *Content) Read(p []byte) (int, error) {
	if len(c.small) > 0 {
		n := copy(p, c.small)
		c.small = c.small[n:]
		return n, nil
	}
	if c.file == nil {
		return 0, io.EOF
	}
	return c.file.Read(p)
}

// Close gives back what the Content holds.
func (c *Content) Close() error {
	if c.file == nil {
		return nil
	}
	return c.file.Close()
}
