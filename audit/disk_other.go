//go:build !linux

package audit

import "errors"

func (f segmentFile) datasync() error { return f.Sync() }

func (f segmentFile) allocate(int64) error { return errors.ErrUnsupported }
