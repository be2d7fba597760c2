package transfer_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gateway/session"
	"gateway/transfer"
)

// journalFixture is a house with a session that sends mail.
func journalFixture(t *testing.T, access session.Access) (*house, *transfer.Journal, *session.Session) {
	t.Helper()
	h := newHouse(t)
	h.core.Accounts.Allow("alice", access)
	sess, err := h.core.Connect(t, session.Submission, session.TLS).Offer(t.Context(), session.Password("alice", "right"))
	if err != nil {
		t.Fatal(err)
	}
	return h, transfer.NewJournal(h.shares, h.core.Record), sess
}

// files lists what is in the folder of an account, hidden files included.
func (h *house) files(t *testing.T, user string) (list []string) {
	t.Helper()
	base := filepath.Join(h.trees.Base, user)
	err := filepath.WalkDir(base, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			list = append(list, strings.TrimPrefix(path, base))
		}
		return err
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return list
}

// A copy is a file of the account that the rule names, whatever the sender may do
// with files, and is seen when it is complete.
func TestJournalCopy(t *testing.T) {
	t.Parallel()
	for rule, want := range map[string]string{"/sent/{user}": "alice /sent/alice/q1.eml", "archive:/": "archive /q1.eml"} {
		h, j, sess := journalFixture(t, session.Access{Rules: []session.PathRule{{Path: "/"}}}) // alice may do nothing
		c, err := j.Begin(t.Context(), sess, rule, "q1")
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range []string{"From: alice@example.com\r\n", "\r\nhello\r\n"} {
			if _, err := c.Write([]byte(part)); err != nil {
				t.Fatal(err)
			}
		}
		user, name, _ := strings.Cut(want, " ")
		for _, seen := range h.files(t, user) {
			if strings.HasSuffix(seen, ".eml") {
				t.Errorf("%s is seen before it is complete", seen)
			}
		}
		if err := c.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(true); err != nil {
			t.Error(err)
		}
		content, err := os.ReadFile(filepath.Join(h.trees.Base, user, name))
		if string(content) != "From: alice@example.com\r\n\r\nhello\r\n" || err != nil {
			t.Errorf("%s: got %q, %v", want, content, err)
		}
		events := h.core.Record.Events(session.EventFile)
		if len(events) != 2 || events[0].Outcome != session.OutcomeBegun || events[1].Outcome != session.OutcomeDone ||
			!strings.HasSuffix(events[1].Path, name) || events[1].User != "alice" || events[1].Bytes != int64(len(content)) || events[1].Session != sess.ID() {
			t.Errorf("recorded %+v", events)
		}
		if shown := events[1].Path; (user == "archive") != strings.HasPrefix(shown, "archive:") {
			t.Errorf("recorded as %q", shown)
		}
	}
}

// A copy of what was not accepted is gone, at whatever moment.
func TestJournalCopyDropped(t *testing.T) {
	t.Parallel()
	for _, committed := range []bool{false, true} {
		h, j, sess := journalFixture(t, session.FullAccess())
		c, err := j.Begin(t.Context(), sess, "/sent", "q1")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if committed {
			if err := c.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Close(false); err != nil {
			t.Error(err)
		}
		if left := h.files(t, "alice"); len(left) != 0 {
			t.Errorf("committed %v: %v is left", committed, left)
		}
		if events := h.core.Record.Events(session.EventFile); committed && events[len(events)-1].Verb != session.Remove {
			t.Errorf("recorded %+v, want a removal at the end", events)
		}
	}
}

func TestJournalFaults(t *testing.T) {
	t.Parallel()
	h, j, sess := journalFixture(t, session.FullAccess())
	if _, err := j.Begin(t.Context(), sess, "sent", "q1"); err == nil {
		t.Error("a rule that is none: got nil")
	}
	if _, err := j.Begin(t.Context(), sess, "../bob:/x", "q1"); err == nil {
		t.Error("an account that is none: got nil")
	}
	c, err := j.Begin(t.Context(), sess, "/sent", "q1")
	if err != nil {
		t.Fatal(err)
	}
	h.core.Record.Fail(errors.New("the record is full"))
	if err := c.Commit(t.Context()); err == nil {
		t.Error("a copy that cannot be recorded: got nil")
	}
	if err := c.Close(false); err != nil {
		t.Error(err)
	}
	h.core.Record.Fail(nil)
	if left := h.files(t, "alice"); len(left) != 0 {
		t.Errorf("%v is left", left)
	}
	if c, err = j.Begin(t.Context(), sess, "/sent", "q1"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.Commit(t.Context()), c.Close(true)); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Begin(t.Context(), sess, "/sent", "q1"); !errors.Is(err, session.ErrExist) {
		t.Errorf("the same name twice: got %v, want ErrExist", err)
	}
	if err := os.WriteFile(filepath.Join(h.trees.Base, "alice", "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Begin(t.Context(), sess, "/file/sent", "q2"); err == nil {
		t.Error("a folder that is a file: got nil")
	}
}

// A copy counts against the quota of the account whose folder it is in.
func TestJournalQuota(t *testing.T) {
	t.Parallel()
	h, j, sess := journalFixture(t, session.FullAccess())
	h.enter(t, "archive", quota(10, 0), transfer.Limits{})
	c, err := j.Begin(t.Context(), sess, "archive:/", "q1")
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Write([]byte("more than ten bytes"))
	if err == nil {
		err = c.Commit(t.Context())
	}
	wantErr(t, "too much", err, session.ErrQuota)
	if err := c.Close(false); err != nil {
		t.Error(err)
	}
	h.wantOnDisk(t, "archive", 0, 0)
}
