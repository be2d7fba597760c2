//go:build !unix

package ftp

import "syscall"

func reuseAddress(string, string, syscall.RawConn) error { return nil }

func refusedByPeer(error) bool { return false }
