package ftpfiles

import (
	"context"
	"errors"
	"fmt"

	"gateway/session"
	"gateway/storage"
	"gateway/storage/remote/ftpclient"
	"gateway/storage/remote/upstream"
)

// end lets Commit and Abort run once.
func (u *upload) end() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	first := !u.ended
	u.ended = true
	return first
}

// Commit implements storage.Upload. That content is safe is what the server says by its
// reply. What breaks off even now was interrupted, and can be resumed.
func (u *upload) Commit(ctx context.Context) error {
	if !u.end() {
		return fault("commit", u.name, session.ErrClosed)
	}
	defer u.free()
	if err := ctx.Err(); err != nil {
		u.out.Abort()
		u.remove(u.part)
		return fault("commit", u.name, err)
	}
	if err := u.arrive(); err != nil {
		if refused(err) {
			u.remove(u.part)
		} else {
			_ = u.withConn(u.keep)
		}
		return fault("commit", u.name, err)
	}
	err := u.complete(ctx)
	if err == nil {
		err = u.show(ctx)
	}
	switch {
	case err != nil:
		u.remove(u.part)
	case u.left:
		u.remove(upstream.Part(u.full))
	}
	return fault("commit", u.name, err)
}

// arrive ends the transfer, and returns nil if the server says that all came.
func (u *upload) arrive() error {
	err := u.err
	if err == nil {
		err = u.content.finish()
	}
	if err != nil {
		u.out.Abort()
		return err
	}
	return u.out.Finish()
}

// complete checks that all has arrived, and gives the hidden file its attributes: the
// permissions that it should have if the server sets any, and the time that was asked for.
func (u *upload) complete(ctx context.Context) error {
	c := u.lease.Conn
	size, err := c.Size(ctx, u.part)
	if err == nil && size != u.content.next {
		return fmt.Errorf("the server has %d bytes of %d: %w", size, u.content.next, session.ErrUnavailable)
	}
	if err != nil && !refused(err) { // some have no SIZE
		return err
	}
	if perm, wanted := u.wantedPerm(); wanted && u.perm == nil {
		if err := c.Chmod(ctx, u.part, perm); err != nil && !refused(err) {
			return err
		}
	}
	if u.modTime != nil {
		return c.SetModTime(ctx, u.part, *u.modTime)
	}
	return nil
}

// show gives the hidden file its name, if that has not come to be another's meanwhile.
func (u *upload) show(ctx context.Context) error {
	u.fs.server.uploads.Naming.Lock()
	defer u.fs.server.uploads.Naming.Unlock()
	there, err := stat(ctx, u.lease, u.full)
	exists := err == nil
	switch {
	case err != nil && !errors.Is(err, session.ErrNotExist):
		return err
	case exists && there.Kind != ftpclient.File:
		return regular(there)
	case !exists && u.opts.Replacing:
		return session.ErrNotExist
	case exists && (u.opts.Exclusive || u.opts.Append && u.was == nil):
		return session.ErrExist
	case exists:
		return replace(ctx, u.lease, u.part, u.full)
	}
	return u.lease.Conn.Rename(ctx, u.part, u.full)
}

// remove removes a hidden file, by another connection if need be.
func (u *upload) remove(part string) {
	_ = u.withConn(func(ctx context.Context, c lease) error { return c.Conn.Remove(ctx, part) })
}

// withConn does something by the connection of the upload or, if that broke, by another.
func (u *upload) withConn(do func(context.Context, lease) error) error {
	ctx := context.Background() // each step has a time-out of its own
	if !u.lease.Conn.Broken() {
		return do(ctx, u.lease)
	}
	c, err := u.fs.lend(ctx, upstream.Brief)
	if err != nil {
		return err
	}
	defer c.Return()
	return do(ctx, c)
}

// Abort implements storage.Upload. What can be resumed is what the server says that it has:
// of a connection that broke, perhaps less than was written.
func (u *upload) Abort(resumable bool) error {
	if !u.end() {
		return fault("abort", u.name, session.ErrClosed)
	}
	defer u.free()
	if !resumable {
		u.out.Abort()
		return fault("abort", u.name, u.withConn(func(ctx context.Context, c lease) error { return c.Conn.Remove(ctx, u.part) }))
	}
	if u.err == nil { // what waits for what has not come is not part of it
		_ = u.out.Finish()
	}
	u.out.Abort()
	return fault("abort", u.name, u.withConn(u.keep))
}

// keep gives the hidden file the name by which it is resumed.
func (u *upload) keep(ctx context.Context, c lease) error {
	if _, err := stat(ctx, c, u.part); err != nil {
		return err
	}
	resumed := upstream.Part(u.full)
	switch {
	case u.part == resumed:
		return nil
	case !u.first && !u.fs.server.uploads.Take(u.full): // the first one is under way
		return c.Conn.Remove(ctx, u.part)
	}
	u.first = true // this is the later interruption
	if _, err := stat(ctx, c, resumed); err == nil {
		return replace(ctx, c, u.part, resumed)
	}
	return c.Conn.Rename(ctx, u.part, resumed)
}

var _ storage.Upload = (*upload)(nil)
