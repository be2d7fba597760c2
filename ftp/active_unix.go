//go:build unix

package ftp

import (
	"errors"
	"syscall"
)

// reuseAddress lets several data connections share their source port.
func reuseAddress(_, _ string, raw syscall.RawConn) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	})
	return errors.Join(err, failed)
}

// refusedByPeer reports whether another source port would not help.
func refusedByPeer(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }
