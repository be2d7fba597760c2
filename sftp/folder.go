package sftp

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"iter"
	"sync"
	"time"

	"gateway/session"
	"gateway/storage"
	"gateway/transfer"
)

// folder is a folder open for listing.
type folder struct {
	files   *files
	listing *transfer.Listing
	next    func() (storage.Info, error, bool)
	stop    func()
	left    *storage.Info // came, and did not fit into the last answer
	err     error         // the listing ended
	ahead   *prepared     // the next answer; nil if that is read when it is asked for
}

// prepared is an answer that is made before it is asked for, by a goroutine to which
// the listing belongs meanwhile.
type prepared struct {
	making sync.WaitGroup
	held   *nameBlock
	names  []byte // in held, as folder.read appends them
	err    error
}

// opendir answers SSH_FXP_OPENDIR (section 6.7).
func (f *files) opendir(r *request) error {
	if f.handles.folders >= maxFolders {
		return session.ErrTooMany
	}
	return f.opened(func() (handle, error) {
		listing, err := f.view().List(f.ctx, r.path)
		if err != nil {
			return nil, err
		}
		d := &folder{files: f, listing: listing}
		d.next, d.stop = iter.Pull2(listing.Entries(f.ctx))
		return d, nil
	})
}

// readdir answers SSH_FXP_READDIR. If there is more in the folder than fits into one
// answer, the next is made while the peer is busy with this one.
func (f *files) readdir(r *request) error {
	_, h := f.handles.get(r.handle)
	d, ok := h.(*folder)
	if !ok {
		return errHandle
	}
	b, err := d.names(begin(f.out.free(), typeName, f.id))
	if err != nil {
		return err
	}
	f.reply(b)
	if d.left != nil && f.handles.ahead < maxAhead {
		d.prepare()
	}
	return nil
}

// names appends what the next answer tells, which is at most maxNames with what is
// before it.
func (d *folder) names(b []byte) ([]byte, error) {
	if d.ahead == nil {
		return d.read(b)
	}
	d.ahead.making.Wait()
	defer d.forget()
	return append(b, d.ahead.names...), d.ahead.err
}

// prepare begins to make the next answer.
func (d *folder) prepare() {
	p := &prepared{held: d.files.pool().names()}
	d.ahead = p
	d.files.handles.ahead++
	p.making.Go(func() {
		defer func() {
			if v := recover(); v != nil {
				d.files.panicked(v)
				p.err = session.ErrPanic
			}
		}()
		p.names, p.err = d.read(p.held[:0])
	})
}

// forget gives back what the answer took that was prepared, and is made.
func (d *folder) forget() {
	d.files.pool().giveNames(d.ahead.held)
	d.files.handles.ahead--
	d.ahead = nil
}

// read appends the number of the next entries and as many of them as fit into an
// answer. It fails only if there is none; io.EOF after the last.
func (d *folder) read(b []byte) ([]byte, error) {
	owner, now := d.files.session.Identity().User, time.Now()
	count := len(b)
	b = binary.BigEndian.AppendUint32(b, 0)
	names := uint32(0)
	for {
		info, err := d.entry()
		if err != nil {
			if names == 0 {
				return nil, err
			}
			break // told the next time
		}
		if len(b)-count+entrySize(info.Name, owner) > maxNames-namesHeader && names > 0 {
			d.left = &info
			break
		}
		b = appendString(b, info.Name)
		b = appendLongName(b, info, owner, now)
		b = appendAttrs(b, info)
		names++
	}
	binary.BigEndian.PutUint32(b[count:], names)
	return b, nil
}

// entry returns the next entry; io.EOF after the last.
func (d *folder) entry() (storage.Info, error) {
	if d.left != nil {
		info := *d.left
		d.left = nil
		return info, nil
	}
	if d.err != nil {
		return storage.Info{}, d.err
	}
	info, err, more := d.next()
	if !more {
		err = io.EOF
	}
	d.err = err
	return info, err
}

// close ends the listing. A peer that has seen enough before the end is told that
// all is well; the record knows, also of an answer that was made and not asked for.
func (d *folder) close(ctx context.Context, cause error) error {
	if d.ahead != nil {
		d.ahead.making.Wait()
		d.forget()
		if cause == nil {
			cause = transfer.ErrCutListing
		}
	}
	d.stop()
	err := d.listing.Close(ctx, cause)
	if errors.Is(err, session.ErrUnavailable) {
		return err
	}
	return nil
}

// fixedEntry is the most bytes of an entry but for the names in it.
const fixedEntry = 160

func entrySize(name, owner string) int { return fixedEntry + 2*len(name) + 2*len(owner) }

// appendLongName appends the line for people (section 7).
func appendLongName(b []byte, info storage.Info, owner string, now time.Time) []byte {
	at := len(b)
	b = info.AppendLongLine(append(b, 0, 0, 0, 0), owner, now)
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	return b
}
