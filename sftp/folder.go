package sftp

import (
	"context"
	"io/fs"
	"iter"
	"sync"
	"time"

	"gateway/session"
	"gateway/storage"
)

// maxNames is the most bytes of names in one answer to SSH_FXP_READDIR; sshfs
// gives up at 128 KiB, and each name is sent twice, with its attributes.
const maxNames = 16 << 10

// folder is a folder open for listing.
type folder struct {
	files *files
	mu    sync.Mutex
	next  func() (storage.Info, error, bool)
	stop  func()
	err   error // the listing failed
}

// list opens a folder.
func (f *files) list(name string) (*folder, error) {
	if !f.busy.opened() {
		return nil, session.ErrShutdown
	}
	f.mu.Lock()
	full := f.folders >= maxFolders
	if !full {
		f.folders++
	}
	f.mu.Unlock()
	if full {
		f.busy.closed()
		return nil, session.ErrTooMany
	}
	seq, err := f.tree.List(f.ctx, name)
	if err != nil {
		f.closedFolder()
		return nil, err
	}
	d := &folder{files: f}
	d.next, d.stop = iter.Pull2(seq)
	return d, nil
}

func (f *files) closedFolder() {
	f.mu.Lock()
	f.folders--
	f.mu.Unlock()
	f.busy.closed()
}

// read returns the next entries, at most limit; none at the end.
func (d *folder) read(limit int) ([]fs.FileInfo, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []fs.FileInfo
	for size := 0; d.err == nil && len(list) < limit && size < maxNames; {
		info, err, more := d.next()
		if !more {
			break
		}
		if err != nil {
			d.err = err
			break
		}
		list = append(list, entry{info})
		size += len(info.Name)
	}
	if len(list) == 0 {
		return nil, d.err
	}
	return list, nil
}

// Close ends the listing, once.
func (d *folder) Close() error {
	defer d.files.closedFolder()
	return d.files.close(func(context.Context) error {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.stop()
		return nil
	})
}

// entry is a file as the request server wants it described.
type entry struct{ storage.Info }

func (e entry) Name() string       { return e.Info.Name }
func (e entry) Size() int64        { return e.Info.Size }
func (e entry) Mode() fs.FileMode  { return e.Info.Mode }
func (e entry) ModTime() time.Time { return e.Info.ModTime }
func (e entry) Sys() any           { return nil }
