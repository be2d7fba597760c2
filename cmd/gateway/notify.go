package main

import (
	"net"
	"os"
)

// notify tells systemd how far the gateway is (sd_notify(3)): "READY=1",
// "RELOADING=1", "STOPPING=1". Without systemd it does nothing.
func notify(state string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	if path[0] == '@' { // an abstract socket
		path = "\x00" + path[1:]
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return // whoever started us does not listen; nothing depends on it
	}
	defer c.Close()
	_, _ = c.Write([]byte(state))
}
