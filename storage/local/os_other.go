//go:build !linux

package local

import (
	"context"
	"os"

	"gateway/session"
	"gateway/storage"
)

// FS exists nowhere but on Linux: the calls that the promises rest on are missing,
// so that Open fails. It only lets the program compile.
type FS struct{ storage.FS }

// Sweep does nothing.
func (*FS) Sweep(context.Context) (int, error) { return 0, session.ErrUnsupported }

func newFS(*os.Root, Config) (*FS, error) { return nil, session.ErrUnsupported }
