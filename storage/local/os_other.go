//go:build !linux

package local

import (
	"io/fs"
	"os"
	"time"

	"gateway/session"
	"gateway/storage"
)

// supported is false where the calls that the promises rest on do not exist;
// Open then fails. The rest of this file only lets the package compile.
const supported = false

const (
	openSafely = 0
	openFolder = 0
)

func device(fs.FileInfo) uint64 { return 0 }

func details(fs.FileInfo) (dev, ino, links uint64, access time.Time) { return }

func tryLock(*os.File) error                     { return session.ErrUnsupported }
func isLocked(*os.File) (bool, error)            { return false, session.ErrUnsupported }
func unlink(*os.Root, string) error              { return session.ErrUnsupported }
func removeFolder(*os.Root, string) error        { return session.ErrUnsupported }
func setTimes(_ *os.File, _, _ *time.Time) error { return session.ErrUnsupported }

func rename(*os.Root, string, *os.Root, string, bool, bool) error { return session.ErrUnsupported }
func link(*os.Root, string, *os.Root, string) error               { return session.ErrUnsupported }
func renamed(*os.File, string) (*os.File, error)                  { return nil, session.ErrUnsupported }
func space(*os.File) (storage.Space, error)                       { return storage.Space{}, session.ErrUnsupported }
