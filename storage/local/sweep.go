//go:build linux

package local

import (
	"context"
	"encoding/hex"
	"strings"
	"time"
)

const (
	// keepOrphan is how long an upload that nobody can resume is left alone after
	// its last write.
	keepOrphan = 24 * time.Hour
	// maxDepth is how deep Sweep follows folders; each level costs descriptors.
	maxDepth = 128
)

// Sweep removes what uploads left behind: those that nobody can resume a day
// after their last write, resumable ones after Config.KeepPartial. Uploads that
// are under way are never touched. It returns how many it removed.
func (f *FS) Sweep(ctx context.Context) (removed int, err error) {
	top, err := f.openFolder(".")
	if err != nil {
		return 0, f.fault("sweep", ".", err)
	}
	var faults faultList
	removed = f.sweepFolder(ctx, top, 0, &faults)
	if ctx.Err() != nil {
		return removed, ctx.Err()
	}
	return removed, faults.err()
}

// sweepFolder takes dir over.
func (f *FS) sweepFolder(ctx context.Context, dir *folder, depth int, faults *faultList) (removed int) {
	defer dir.Close()
	err := dir.each(func(e entry) error {
		switch {
		case e.mode.IsDir() && depth < maxDepth:
			sub, err := dir.folder(e.name)
			if err != nil {
				faults.add(f.fault("sweep", e.name, err))
				break
			}
			removed += f.sweepFolder(ctx, sub, depth+1, faults)
		case e.mode.IsRegular() && f.expired(dir, e.name):
			faults.add(f.fault("sweep", e.name, f.booked(func() error {
				gone, err := dropPart(dir, e.name, f.ledger)
				if gone {
					removed++
				}
				return err
			})))
		}
		return ctx.Err()
	})
	if err != nil && ctx.Err() == nil {
		faults.add(f.fault("sweep", ".", err))
	}
	return removed
}

// expired reports whether the file base is a leftover whose time is over.
func (f *FS) expired(dir *folder, base string) bool {
	rest, ours := strings.CutPrefix(base, partPrefix)
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
	s, err := dir.lstat(base)
	return err == nil && time.Since(s.mod) > keep
}

func isKey(s string) bool {
	_, err := hex.DecodeString(s)
	return err == nil && len(s) == 2*partKey
}
