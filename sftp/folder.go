package sftp

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"iter"
	"time"

	"gateway/session"
	"gateway/storage"
	"gateway/transfer"
)

// folder is a folder open for listing.
type folder struct {
	listing *transfer.Listing
	next    func() (storage.Info, error, bool)
	stop    func()
	ahead   *storage.Info // came, and did not fit into the last answer
	err     error         // the listing ended
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
		d := &folder{listing: listing}
		d.next, d.stop = iter.Pull2(listing.Entries(f.ctx))
		return d, nil
	})
}

// readdir answers SSH_FXP_READDIR with as many entries as fit into maxNames.
func (f *files) readdir(r *request) error {
	_, h := f.handles.get(r.handle)
	d, ok := h.(*folder)
	if !ok {
		return errHandle
	}
	owner, now := f.session.Identity().User, time.Now()
	b := begin(f.out.free(), typeName, f.id)
	count := len(b)
	b = binary.BigEndian.AppendUint32(b, 0)
	names := uint32(0)
	for {
		info, err := d.entry()
		if err != nil {
			if names == 0 {
				return err
			}
			break // told the next time
		}
		if len(b)+entrySize(info.Name, owner) > maxNames && names > 0 {
			d.ahead = &info
			break
		}
		b = appendString(b, info.Name)
		b = appendLongName(b, info, owner, now)
		b = appendAttrs(b, info)
		names++
	}
	binary.BigEndian.PutUint32(b[count:], names)
	f.reply(b)
	return nil
}

// entry returns the next entry; io.EOF after the last.
func (d *folder) entry() (storage.Info, error) {
	if d.ahead != nil {
		info := *d.ahead
		d.ahead = nil
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
// all is well; the record knows.
func (d *folder) close(ctx context.Context, cause error) error {
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
