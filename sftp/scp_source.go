package sftp

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"

	"gateway/session"
	"gateway/storage"
	"gateway/transfer"
)

// errNotRegular is a folder that was asked for without -r, or what is neither file nor
// folder.
var errNotRegular = status{codeFailure, "Not a regular file"}

// send is scp -f: name goes to the peer. It is one name: nothing is matched.
func (s *scpRun) send(name string) error {
	if _, err := s.response(); err != nil { // the peer is ready
		return err
	}
	info, err := s.tree.Stat(s.ctx, name)
	if err != nil {
		return s.refuse(name, err)
	}
	base := path.Base(path.Clean("/" + name))
	if base == "/" {
		base = s.session.Identity().User
	}
	return s.sendAny(name, base, info, 0)
}

func (s *scpRun) sendAny(name, base string, info storage.Info, depth int) error {
	switch {
	case info.Mode.IsRegular() && !info.Partial:
		return s.sendFile(name, base)
	case info.IsDir() && s.recursive && depth < maxDepth:
		return s.sendFolder(name, base, info, depth)
	default:
		return s.refuse(name, errNotRegular)
	}
}

// announce sends a line, after one with the times if they are to be kept; taken is
// whether the peer takes what it announces.
func (s *scpRun) announce(kind byte, info storage.Info, size int64, base string) (taken bool, err error) {
	if s.times {
		access := info.Access
		if access.IsZero() {
			access = info.ModTime
		}
		if _, err := fmt.Fprintf(s.out, "T%d 0 %d 0\n", max(info.ModTime.Unix(), 0), max(access.Unix(), 0)); err != nil {
			return false, err
		}
		if taken, err := s.response(); err != nil || !taken {
			return false, err
		}
	}
	if _, err := fmt.Fprintf(s.out, "%c%04o %d %s\n", kind, info.Mode.Perm(), size, base); err != nil {
		return false, err
	}
	return s.response()
}

func (s *scpRun) sendFile(name, base string) error {
	if err := s.opened(); err != nil {
		return s.refuse(name, err)
	}
	defer s.busy.closed()
	r, err := s.tree.Open(s.ctx, name)
	if err != nil {
		return s.refuse(name, err)
	}
	recorded := session.ErrPanic
	defer func() { _ = r.Close(s.late(), recorded) }()
	recorded, err = s.sendOpen(r, name, base)
	return err
}

// sendOpen sends a file. failed is what the record says of it, err why nothing can be
// sent any more.
func (s *scpRun) sendOpen(r *transfer.Reader, name, base string) (failed, err error) {
	info, err := r.Stat()
	if err != nil {
		return err, s.refuse(name, err)
	}
	taken, err := s.announce('C', info, info.Size, base)
	switch {
	case err != nil:
		return err, err
	case !taken:
		return errPeer, nil
	}
	failed, err = s.contentOf(r, info.Size)
	switch {
	case err != nil:
		return err, err
	case failed != nil:
		err = s.refuse(name, failed)
	default:
		err = s.ack()
	}
	if err == nil {
		taken, err = s.response()
	}
	if failed == nil && err == nil && !taken {
		failed = errPeer
	}
	return errors.Join(failed, err), err
}

// contentOf sends size bytes, which were announced. failed is why they are not those
// of the file to its end: then zeros go in their place, and the peer is told.
func (s *scpRun) contentOf(r *transfer.Reader, size int64) (failed, err error) {
	buf := s.pool.block()
	defer s.pool.giveBlock(buf)
	for off := int64(0); off < size; {
		if err := s.step(); err != nil {
			return failed, err
		}
		n, err := r.Allow(s.pace, min(int64(len(buf)), size-off))
		if err != nil {
			return failed, err
		}
		p := buf[:n]
		got := 0
		if failed == nil {
			got, err = r.ReadAt(p, off)
			if got < len(p) {
				if err == nil || err == io.EOF {
					err = session.ErrRange
				}
				failed = err
			}
		}
		clear(p[got:])
		if _, err := s.out.Write(p); err != nil {
			return failed, err
		}
		s.busy.touch()
		off += n
	}
	return failed, nil
}

// sendFolder sends a folder and what is in it. A link to a file is that file; one to
// a folder is left out, for it may lead back.
func (s *scpRun) sendFolder(name, base string, info storage.Info, depth int) error {
	listing, err := s.tree.List(s.ctx, name)
	if err != nil {
		return s.refuse(name, err)
	}
	closed := session.ErrPanic
	defer func() { _ = listing.Close(s.late(), closed) }()
	closed = s.sendListing(listing, name, base, info, depth)
	return closed
}

func (s *scpRun) sendListing(listing *transfer.Listing, name, base string, info storage.Info, depth int) error {
	if taken, err := s.announce('D', info, 0, base); err != nil || !taken {
		return err
	}
	for entry, err := range listing.Entries(s.ctx) {
		if err != nil {
			if err := s.refuse(name, err); err != nil {
				return err
			}
			break
		}
		if err := s.step(); err != nil {
			return err
		}
		child := path.Join(name, entry.Name)
		if entry.Mode&fs.ModeSymlink != 0 {
			if entry, err = s.tree.Stat(s.ctx, child); err != nil || entry.IsDir() {
				continue
			}
		}
		if !entry.Mode.IsRegular() && !entry.IsDir() {
			continue
		}
		if err := s.sendAny(child, path.Base(child), entry, depth+1); err != nil {
			return err
		}
	}
	if _, err := io.WriteString(s.out, "E\n"); err != nil {
		return err
	}
	_, err := s.response()
	return err
}
