package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"gateway/session"
	"gateway/storage"
)

// Journal keeps copies of mail as files of accounts. It is an obligation of the
// rules and no doing of the account whose folder it is: its permissions are not
// asked, its quota counts. Each copy is recorded as a file that the sender's session
// wrote.
type Journal struct {
	shares   *Shares
	recorder session.Recorder
	now      func() time.Time
}

// NewJournal returns the Journal of a node.
func NewJournal(shares *Shares, recorder session.Recorder) *Journal {
	return &Journal{shares: shares, recorder: recorder, now: time.Now}
}

// journalSuffix ends the name of a copy.
const journalSuffix = ".eml"

// JournalCopy is a copy while it is written: nobody sees it under its name yet. It
// is used by one goroutine, which calls Close at the end.
type JournalCopy struct {
	journal   *Journal
	tree      storage.FS
	upload    storage.Upload // nil once it is committed
	name      string         // in the tree
	event     session.Event
	size      int64
	committed bool
}

// Begin begins the copy of a message that s sends, into the folder that rule names;
// see session.ParseJournalRule. name is that of the message, and no other's. Folders
// that are missing are made. Errors are those of storage.FS.
func (j *Journal) Begin(ctx context.Context, s *session.Session, rule, name string) (c *JournalCopy, err error) {
	r, err := session.ParseJournalRule(rule)
	if err != nil {
		return nil, fmt.Errorf("journal %q: %w", rule, err)
	}
	user := s.Identity().User
	account, folder := r.Place(user, j.now())
	tree, err := j.shares.cfg.Open(Owner{User: account}, j.shares.Ledger(account))
	if err != nil {
		return nil, fmt.Errorf("journal: open the folder of %s: %w", account, err)
	}
	c = &JournalCopy{journal: j, tree: tree, name: strings.TrimPrefix(path.Join(folder, name+journalSuffix), "/")}
	shown := "/" + c.name
	if account != user {
		shown = account + ":" + shown
	}
	peer := s.Peer()
	c.event = session.Event{
		Event: session.EventFile, Verb: session.Write, Conn: peer.Conn, Session: s.ID(), Listener: peer.Listener,
		Protocol: peer.Protocol, Remote: peer.Remote, User: user, Path: shown, Reason: "copy of mail, by rule",
	}
	if err = makeFolders(ctx, tree, path.Dir(c.name)); err == nil {
		c.upload, err = tree.Create(ctx, c.name, storage.CreateOptions{Exclusive: true})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("journal %s: %w", shown, err), tree.Close())
	}
	return c, nil
}

// makeFolders makes the folders of a clean path that are missing.
func makeFolders(ctx context.Context, tree storage.FS, folder string) error {
	if folder == "." {
		return nil
	}
	if info, err := tree.Stat(ctx, folder); err == nil && info.IsDir() {
		return nil
	}
	if err := makeFolders(ctx, tree, path.Dir(folder)); err != nil {
		return err
	}
	if err := tree.Mkdir(ctx, folder); err != nil && !errors.Is(err, session.ErrExist) {
		return err
	}
	return nil
}

// Write adds to the copy.
func (c *JournalCopy) Write(p []byte) (int, error) {
	n, err := io.NewOffsetWriter(c.upload, c.size).Write(p)
	c.size += int64(n)
	return n, err
}

// Commit returns nil once the copy is recorded, and on stable storage under its
// name.
func (c *JournalCopy) Commit(ctx context.Context) error {
	if err := c.record(session.OutcomeBegun); err != nil {
		return err
	}
	err := c.upload.Commit(ctx)
	c.upload = nil
	c.committed = err == nil
	return c.done(err)
}

// done records how it went and returns err, or that it could not be recorded.
func (c *JournalCopy) done(err error) error {
	outcome := session.OutcomeDone
	if err != nil {
		outcome = session.OutcomeFailed
	}
	return errors.Join(err, c.record(outcome))
}

func (c *JournalCopy) record(outcome string) error {
	e := c.event
	e.Outcome, e.Bytes = outcome, c.size
	return c.journal.recorder.Append(e)
}

// Close gives back what the copy holds. A copy that was not committed is dropped,
// and without keep one that was: what it is a copy of was not accepted after all.
func (c *JournalCopy) Close(keep bool) error {
	var err error
	if c.upload != nil {
		err = c.upload.Abort(false)
		c.upload = nil
	}
	if c.committed && !keep {
		c.event.Verb, c.event.Reason = session.Remove, "copy of mail that was not accepted"
		err = c.done(c.tree.Remove(context.Background(), c.name))
	}
	return errors.Join(err, c.tree.Close())
}
