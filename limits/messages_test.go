package limits

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"gateway/session"
)

func TestMessagesOfDevices(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // midnight, UTC
		m := NewMessages()
		d := &session.Device{Name: "mfp", Hourly: 2, Daily: 5}
		send := func(n int) (sent int, hint string) {
			for range n {
				if err := m.Count(t.Context(), d); err == nil {
					sent++
				} else if hint = session.Hint(err); !errors.Is(err, session.ErrTooMany) {
					t.Errorf("got %v, want too many", err)
				}
			}
			return sent, hint
		}
		for hour, want := range []struct {
			sent int
			hint string
		}{
			{2, "More than 2 messages in the hour, try again after 2000-01-01 01:00 UTC"},
			{2, "More than 2 messages in the hour, try again after 2000-01-01 02:00 UTC"},
			{1, "More than 5 messages in the day, try again after 2000-01-02 00:00 UTC"},
			{0, "More than 5 messages in the day, try again after 2000-01-02 00:00 UTC"},
		} {
			if sent, hint := send(3); sent != want.sent || hint != want.hint {
				t.Errorf("hour %d: got %d %q, want %d %q", hour, sent, hint, want.sent, want.hint)
			}
			time.Sleep(time.Hour)
		}
		if err := m.Count(t.Context(), &session.Device{Name: "other", Hourly: 1}); err != nil {
			t.Errorf("another device: got %v", err)
		}
		time.Sleep(20 * time.Hour)
		if sent, _ := send(3); sent != 2 {
			t.Errorf("next day: got %d, want 2", sent)
		}
		if len(m.spans) != 2 {
			t.Errorf("got %d spans remembered, want 2", len(m.spans))
		}
	})
}
