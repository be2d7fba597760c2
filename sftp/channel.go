package sftp

import (
	"context"
	"errors"
	"io"
	"strings"

	"golang.org/x/crypto/ssh"
)

// channel serves one session channel (RFC 4254, section 6) until it is closed.
// Requests are answered as long as they come, for else the whole connection
// would stand still.
func (c *conn) channel(ctx context.Context, ch ssh.Channel, requests <-chan *ssh.Request) {
	gone, end := context.WithCancelCause(ctx)
	defer end(errGone)
	begun := false
	for r := range requests {
		var run func()
		switch r.Type {
		case "subsystem":
			if name, ok := stringPayload(r.Payload); ok && name == "sftp" {
				run = func() { c.subsystem(ctx, gone, ch) }
			}
		case "exec":
			if line, ok := stringPayload(r.Payload); ok {
				run = func() { c.exec(ctx, gone, ch, line) }
			}
		case "shell":
			run = func() { c.refuse(ctx, ch, "shell") }
		}
		if run == nil || begun { // env, pty-req, signal, another subsystem
			_ = r.Reply(false, nil)
			continue
		}
		begun = true
		_ = r.Reply(true, nil)
		c.start(run)
	}
}

// subsystem serves the file protocol on ch.
func (c *conn) subsystem(ctx, gone context.Context, ch ssh.Channel) {
	c.busy.begin()
	tree, err := c.tree(ctx)
	c.busy.end()
	if err != nil {
		c.noTree(ch, err)
		return
	}
	f := newFiles(ctx, c.session, tree, &c.busy, c.server.pool, ch)
	f.panicked, f.pace, f.gone = c.panicked, c.pace, gone
	f.enrol = c.server.cfg.Enrol
	f.linkFirst = strings.HasPrefix(string(c.t.ClientVersion()), "SSH-2.0-WinSCP_")
	f.serve()
	c.settle()
	exit(ch, 0)
}

// errGone is why a long request is given up: the peer has closed its channel.
var errGone = errors.New("channel closed")

// noTree ends a channel whose files cannot be opened.
func (c *conn) noTree(ch ssh.Channel, err error) {
	c.log.Error("open tree", "user", c.session.Identity().User, "err", err)
	_, _ = io.WriteString(ch.Stderr(), "Service not available, try again later.\r\n")
	exit(ch, 1)
}

// exit says how the subsystem or command ended and closes the channel (RFC 4254,
// section 6.10).
func exit(ch ssh.Channel, status uint32) {
	_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
	_ = ch.Close()
}

// stringPayload is the one string that a request carries.
func stringPayload(payload []byte) (string, bool) {
	var p struct{ Name string }
	if ssh.Unmarshal(payload, &p) != nil {
		return "", false
	}
	return p.Name, true
}
