package queue

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"gateway/queue/relay"
)

// handMaildir writes one file for each recipient into the route's folder. After
// a fault the rest is left for the next attempt.
func (q *Queue) handMaildir(ctx context.Context, route Route, m *message, batch []int) relay.Result {
	result := relay.Result{RemoteHost: route.path, Statuses: make([]relay.Status, len(batch))}
	var fault error
	for i, number := range batch {
		if fault == nil {
			fault = q.storeFor(ctx, route.path, m, number)
		}
		if fault != nil {
			result.Down = true
			result.Statuses[i] = relay.Status{Enhanced: "4.2.0", Text: "maildir: " + withoutPath(fault)}
			continue
		}
		result.Statuses[i] = relay.Status{Outcome: relay.Delivered, Enhanced: "2.0.0", Text: "stored in the maildir"}
	}
	return result
}

func (q *Queue) storeFor(ctx context.Context, folder string, m *message, number int) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	body, err := q.open(m)
	if err != nil {
		return err
	}
	defer body.Close()
	return q.writeMaildir(folder, m, number, body)
}

// writeMaildir stores a message in folder: written and synced in tmp, renamed
// into new, and the name synced. The file's name is made of the queue id and the
// recipient, so that an attempt that was cut between the rename and our own
// commit puts the same name in place again, and no second copy.
func (q *Queue) writeMaildir(folder string, m *message, number int, body io.Reader) (err error) {
	if err := os.MkdirAll(q.cfg.MaildirDir, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(q.cfg.MaildirDir)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, sub := range []string{"tmp", "new", "cur"} {
		if err := makeFolders(root, path.Join(folder, sub)); err != nil {
			return err
		}
	}
	// A colon begins the flags of a maildir's file name.
	host := strings.ReplaceAll(q.cfg.Hostname, ":", `\072`)
	name := fmt.Sprintf("%d.%sR%d.%s", m.accepted().Unix(), m.id(), number, host)
	tmp := path.Join(folder, "tmp", name)
	f, err := root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = writeMail(f, m.From, m.envelope.To[number].Address, body)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = root.Rename(tmp, path.Join(folder, "new", name))
	}
	if err != nil {
		return errors.Join(err, root.Remove(tmp))
	}
	return syncIn(root, path.Join(folder, "new"))
}

// writeMail writes the content as mail stores keep it: lines end in LF alone,
// and the envelope stands in the first two fields (RFC 5321, section 4.4).
func writeMail(w io.Writer, from, to string, body io.Reader) error {
	out := bufio.NewWriterSize(w, 64<<10)
	fmt.Fprintf(out, "Return-Path: <%s>\nDelivered-To: %s\n", from, to)
	in := bufio.NewReaderSize(body, 64<<10)
	for {
		c, err := in.ReadByte()
		if errors.Is(err, io.EOF) {
			return out.Flush()
		}
		if err != nil {
			return err
		}
		if c == '\r' {
			if next, err := in.Peek(1); err == nil && next[0] == '\n' {
				continue
			}
		}
		if err := out.WriteByte(c); err != nil {
			return err
		}
	}
}

// makeFolders is MkdirAll that makes the new names survive a power cut.
func makeFolders(root *os.Root, name string) error {
	if info, err := root.Stat(name); err == nil && info.IsDir() {
		return nil
	}
	parent := "."
	for part := range strings.SplitSeq(name, "/") {
		at := path.Join(parent, part)
		err := root.Mkdir(at, 0o700)
		if err == nil {
			err = syncIn(root, parent)
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		parent = at
	}
	return nil
}

func syncIn(root *os.Root, folder string) error {
	d, err := root.Open(folder)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// withoutPath is the text of a file system's error without the names of the
// machine's folders: it is recorded, and may end in a bounce.
func withoutPath(err error) string {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Op + ": " + p.Err.Error()
	}
	if l, ok := errors.AsType[*os.LinkError](err); ok {
		return l.Op + ": " + l.Err.Error()
	}
	return err.Error()
}
