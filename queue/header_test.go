package queue

import (
	"io"
	"strings"
	"testing"
)

// Fields that come with the envelope stand in front of the content, whether it is in
// the store or in a file, and count.
func TestFieldsInFront(t *testing.T) {
	t.Parallel()
	f := newQueue(t, "maildir://mail", nil)
	const field = "DKIM-Signature: v=1;\r\n b=x\r\n"
	for name, content := range map[string]string{
		"small": "Subject: t\r\n\r\nhello\r\n", "empty": "", "large": "Subject: t\r\n\r\n" + strings.Repeat("0123456789\r\n", maxInline/10),
		"just not in a file": strings.Repeat("x", maxInline),
	} {
		e := sends("bob@example.net")
		e.Header = field
		id := put(t, f.Queue, content, e)
		m := f.loadID(t, id)
		r, err := f.open(m)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if string(got) != field+content || err != nil || m.envelope.Size != int64(len(got)) {
			t.Errorf("%s: got %d bytes, %.60q, %v, size %d", name, len(got), got, err, m.envelope.Size)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A message that is to be held is, from the first moment.
func TestHeldFromTheStart(t *testing.T) {
	t.Parallel()
	f := newQueue(t, "maildir://mail", nil)
	e := sends("bob@example.net")
	e.Hold = true
	id := put(t, f.Queue, mail, e)
	if m := f.loadID(t, id); !m.status.Held {
		t.Errorf("got %+v, want it held", m.status)
	}
	f.run(t)
	other := put(t, f.Queue, mail, sends("bob@example.net"))
	if events := f.wait(t, 1); events[0].QueueID != other {
		t.Errorf("delivered %s, want %s only", events[0].QueueID, other)
	}
}
