package limits_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"gateway/limits"
	"gateway/session"
	"gateway/store"
)

func openMail(t *testing.T, path string) (*limits.Mail, func()) {
	t.Helper()
	db, err := store.Open(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := limits.OpenMail(context.Background(), db, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m, func() {
		if err := errors.Join(m.Close(), db.Close()); err != nil {
			t.Error(err)
		}
	}
}

// take sends a message and returns the limit that keeps it from being sent.
func take(t *testing.T, m *limits.Mail, l session.MailLimits, to ...string) *session.LimitError {
	t.Helper()
	_, err := m.Take("joe", l, to)
	limit, ok := errors.AsType[*session.LimitError](err)
	if err != nil && !ok {
		t.Fatal(err)
	}
	return limit
}

// A limit holds until the end of the hour or the day, is told once, and outlives a
// restart.
func TestMailLimits(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "gateway.db")
	synctest.Test(t, func(t *testing.T) { // its clock begins at midnight
		m, stop := openMail(t, path)
		l := session.MailLimits{MessagesPerHour: 2, RecipientsPerDay: 5}
		if got := take(t, m, l, "a@x", "b@x"); got != nil {
			t.Fatalf("the first message: %v", got)
		}
		if got := take(t, m, l, "a@x"); got != nil {
			t.Fatalf("the second message: %v", got)
		}
		for i := range 2 {
			got := take(t, m, l, "a@x")
			if got == nil || got.What != "2 messages an hour" || got.First != (i == 0) || !got.Until.Equal(time.Now().Truncate(time.Hour).Add(time.Hour)) {
				t.Errorf("the third message, time %d: got %+v", i+1, got)
			}
		}
		if err := m.Room("jim", l, nil); err != nil {
			t.Errorf("somebody else: %v", err)
		}
		stop()
		m, stop = openMail(t, path)
		defer func() { stop() }()
		if got := take(t, m, l, "a@x"); got == nil {
			t.Error("a restart begins anew")
		}
		time.Sleep(time.Hour)
		if got := take(t, m, l, "a@x", "b@x", "c@x"); got == nil || got.What != "5 recipients a day" {
			t.Errorf("the next hour, sixth recipient: got %+v", got)
		}
		if got := take(t, m, l, "a@x"); got != nil {
			t.Errorf("the next hour: got %+v", got)
		}
		time.Sleep(24 * time.Hour)
		if got := take(t, m, l, "a@x", "b@x", "c@x"); got != nil {
			t.Errorf("the next day: got %+v", got)
		}
	})
}

// Whom an account has written to is no stranger to it, whatever the case.
func TestNewRecipients(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "gateway.db")
	m, stop := openMail(t, path)
	l := session.MailLimits{NewRecipientsPerDay: 2}
	if got := take(t, m, l, "a@x", "A@X", "b@x"); got != nil {
		t.Fatalf("got %v", got)
	}
	stop()
	m, stop = openMail(t, path)
	defer stop()
	if got := take(t, m, l, "b@x", "a@x"); got != nil {
		t.Errorf("known ones: got %v", got)
	}
	if got := take(t, m, l, "a@x", "c@x"); got == nil || got.What != "2 new recipients a day" {
		t.Errorf("a stranger: got %v", got)
	}
}

// A message that was not accepted does not count.
func TestMailGivenBack(t *testing.T) {
	t.Parallel()
	m, stop := openMail(t, filepath.Join(t.TempDir(), "gateway.db"))
	defer stop()
	l := session.MailLimits{MessagesPerDay: 1, NewRecipientsPerDay: 1}
	for range 3 {
		giveBack, err := m.Take("joe", l, []string{"a@x"})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Room("joe", l, nil); !errors.Is(err, session.ErrTooMany) {
			t.Errorf("meanwhile: %v", err)
		}
		giveBack()
	}
	if got := take(t, m, l, "b@x"); got != nil {
		t.Errorf("got %v", got)
	}
}
