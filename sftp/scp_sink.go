package sftp

import (
	"errors"
	"io"
	"path"

	"gateway/session"
	"gateway/storage"
	"gateway/transfer"
)

// receive is scp -t: what comes is put into target, if that is a folder, and is
// target otherwise.
func (s *scpRun) receive(target string) error {
	info, err := s.tree.Stat(s.ctx, target)
	into := err == nil && info.IsDir()
	if s.folder && !into {
		if err == nil {
			err = session.ErrNotDirectory
		}
		return errors.Join(s.refuse(target, err), err)
	}
	if err := s.ack(); err != nil {
		return err
	}
	place := func(name string) string {
		if into {
			return path.Join(target, name)
		}
		return target
	}
	return s.receiveInto(place, 0)
}

// receiveInto takes lines until the end of the folder, or of all. place says where
// something of a name is to be put.
func (s *scpRun) receiveInto(place func(name string) string, depth int) error {
	var times *scpHeader
	for {
		first, err := s.from.Peek(1)
		switch {
		case err == io.EOF && depth == 0:
			return nil
		case err != nil:
			return cut(err)
		}
		kind := first[0]
		line, err := s.line()
		if err != nil {
			return err
		}
		switch kind {
		case scpError:
			s.failed = true // the peer leaves something out
			continue
		case scpFatal:
			return errPeer
		}
		h, err := parseHeader(line)
		if err != nil {
			return err
		}
		switch h.kind {
		case 'T':
			times = &h
			err = s.ack()
		case 'E':
			if depth == 0 {
				return errSCP
			}
			return nil // answered by who began the folder
		case 'C':
			err = s.receiveFile(place(h.name), h, times)
			times = nil
		case 'D':
			if !s.recursive || depth >= maxDepth {
				return errSCP
			}
			err = s.receiveFolder(place(h.name), h, times, depth)
			times = nil
		}
		if err != nil {
			return err
		}
	}
}

// kept are the attributes that -p keeps; nil if there are none.
func (s *scpRun) kept(h scpHeader, times *scpHeader) *storage.Attr {
	if !s.times {
		return nil
	}
	attr := &storage.Attr{Perm: &h.mode}
	if times != nil {
		attr.ModTime, attr.Access = &times.modified, &times.access
	}
	return attr
}

// receiveFolder takes a folder, which may be there already.
func (s *scpRun) receiveFolder(name string, h scpHeader, times *scpHeader, depth int) error {
	info, err := s.tree.Stat(s.ctx, name)
	switch {
	case err == nil && !info.IsDir():
		err = session.ErrNotDirectory
	case errors.Is(err, session.ErrNotExist):
		err = s.tree.Mkdir(s.ctx, name)
	}
	if err != nil {
		return s.refuse(name, err)
	}
	if err := s.ack(); err != nil {
		return err
	}
	if err := s.receiveInto(func(base string) string { return path.Join(name, base) }, depth+1); err != nil {
		return err
	}
	if attr := s.kept(h, times); attr != nil {
		if err := s.tree.SetAttr(s.ctx, name, *attr); err != nil {
			return s.refuse(name, err)
		}
	}
	return s.ack()
}

// receiveFile takes a file. It is shown when all of it is there and the peer says
// that it is right.
func (s *scpRun) receiveFile(name string, h scpHeader, times *scpHeader) error {
	if err := s.opened(); err != nil {
		return s.refuse(name, err)
	}
	defer s.busy.closed()
	w, err := s.tree.Create(s.ctx, name, storage.CreateOptions{Perm: h.mode})
	if err != nil {
		return s.refuse(name, err)
	}
	open := true
	defer func() {
		if open { // a panic
			_ = w.Abort(s.late(), session.ErrPanic, true)
		}
	}()
	var failed error
	done := false
	if err = s.ack(); err == nil {
		failed, err = s.content(w, h.size)
	}
	if err == nil {
		done, err = s.whole()
	}
	open = false
	switch {
	case err != nil:
		return w.Abort(s.late(), err, true)
	case failed == nil && !done:
		failed = errPeer
	}
	if attr := s.kept(h, times); failed == nil && attr != nil {
		failed = w.SetAttr(*attr)
	}
	if failed == nil {
		failed = s.over()
	}
	if failed != nil {
		return s.refuse(name, w.Abort(s.late(), failed, true))
	}
	s.busy.begin()
	err = w.Commit(s.late())
	s.busy.end()
	if err != nil {
		return s.refuse(name, err)
	}
	return s.ack()
}

// whole reads whether the peer says that what it sent is right. libssh2, and curl with
// it, ends without a word when all bytes that it announced are sent.
func (s *scpRun) whole() (bool, error) {
	if _, err := s.from.Peek(1); err == io.EOF {
		return true, nil
	}
	return s.response()
}

// content writes what comes. failed is why not all of it could be written: the rest
// is read all the same, since the peer does not listen before its end.
func (s *scpRun) content(w *transfer.Writer, size int64) (failed, err error) {
	for off := int64(0); off < size; {
		if _, err := s.from.Peek(1); err != nil {
			return failed, cut(err)
		}
		p, err := s.from.Peek(int(min(int64(s.from.Buffered()), size-off)))
		if err != nil {
			return failed, err
		}
		if failed == nil {
			failed = s.over() // a peer that has sent all may leave
		}
		if failed == nil {
			failed = w.Pace(s.pace, int64(len(p)))
		}
		if failed == nil {
			_, failed = w.WriteAt(p, off)
		}
		off += int64(len(p))
		if _, err := s.from.Discard(len(p)); err != nil {
			return failed, err
		}
	}
	return failed, nil
}
