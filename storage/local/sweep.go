package local

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"gateway/session"
)

const (
	// keepOrphan is how long an upload that nobody can resume is left alone after
	// its last write.
	keepOrphan = 24 * time.Hour
	// maxDepth is how deep Sweep follows folders; each level costs descriptors.
	maxDepth = 128
	// maxFaults is how many errors of one sweep are kept.
	maxFaults = 8
)

// Sweep removes what uploads left behind: those that nobody can resume a day
// after their last write, resumable ones after Config.KeepPartial. Uploads that
// are under way are never touched. It returns how many it removed.
func (f *FS) Sweep(ctx context.Context) (removed int, err error) {
	root, err := f.root.OpenRoot(".")
	if err != nil {
		return 0, f.fault("sweep", ".", err)
	}
	var faults faultList
	removed = f.sweepFolder(ctx, root, 0, &faults)
	if ctx.Err() != nil {
		return removed, ctx.Err()
	}
	return removed, faults.err()
}

// sweepFolder takes dir over.
func (f *FS) sweepFolder(ctx context.Context, dir *os.Root, depth int, faults *faultList) (removed int) {
	defer dir.Close()
	d, err := dir.Open(".")
	if err != nil {
		faults.add(f.fault("sweep", ".", err))
		return 0
	}
	defer d.Close()
	for ctx.Err() == nil {
		entries, err := d.ReadDir(listBatch)
		for _, e := range entries {
			switch {
			case e.IsDir() && depth < maxDepth:
				sub, err := dir.OpenRoot(e.Name())
				if err != nil {
					faults.add(f.fault("sweep", e.Name(), err))
					continue
				}
				removed += f.sweepFolder(ctx, sub, depth+1, faults)
			case e.Type().IsRegular() && f.expired(e):
				faults.add(f.fault("sweep", e.Name(), f.booked(func() error {
					gone, err := dropPart(dir, e.Name(), f.ledger)
					if gone {
						removed++
					}
					return err
				})))
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				faults.add(f.fault("sweep", ".", err))
			}
			return removed
		}
	}
	return removed
}

// expired reports whether e is a leftover whose time is over.
func (f *FS) expired(e fs.DirEntry) bool {
	rest, ours := strings.CutPrefix(e.Name(), partPrefix)
	if !ours {
		return false
	}
	keep := f.cfg.KeepPartial
	key, random, orphan := strings.Cut(rest, "-")
	if orphan {
		keep = keepOrphan
	}
	if !isKey(key) || orphan && !isKey(random) {
		return false // not a name that we make
	}
	info, err := e.Info()
	return err == nil && time.Since(info.ModTime()) > keep
}

func isKey(s string) bool {
	_, err := hex.DecodeString(s)
	return err == nil && len(s) == 2*partKey
}

// faultList keeps the first few errors.
type faultList struct{ list []error }

func (l *faultList) add(err error) {
	if err != nil && len(l.list) < maxFaults && !errors.Is(err, session.ErrNotExist) {
		l.list = append(l.list, err)
	}
}

func (l *faultList) err() error { return errors.Join(l.list...) }
