package ftpfiles

import (
	"bytes"
	"errors"
	"testing"

	"gateway/session"
)

func TestInOrder(t *testing.T) {
	t.Parallel()
	type write struct {
		text string
		off  int64
		err  error
	}
	for name, c := range map[string]struct {
		writes []write
		want   string
	}{
		"in order":          {[]write{{"ab", 0, nil}, {"cd", 2, nil}}, "abcd"},
		"the other way":     {[]write{{"ef", 4, nil}, {"cd", 2, nil}, {"ab", 0, nil}}, "abcdef"},
		"a hole":            {[]write{{"d", 3, nil}}, "\x00\x00\x00d"},
		"two holes":         {[]write{{"d", 3, nil}, {"b", 1, nil}}, "\x00b\x00d"},
		"what was written":  {[]write{{"ab", 0, nil}, {"x", 1, session.ErrUnsupported}, {"c", 2, nil}}, "abc"},
		"twice ahead":       {[]write{{"b", 1, nil}, {"x", 1, session.ErrUnsupported}, {"a", 0, nil}}, "ab"},
		"overlap before":    {[]write{{"cd", 2, nil}, {"xx", 1, session.ErrUnsupported}, {"ab", 0, nil}}, "abcd"},
		"overlap behind":    {[]write{{"bc", 1, nil}, {"xx", 2, session.ErrUnsupported}, {"a", 0, nil}}, "abc"},
		"far ahead":         {[]write{{"x", maxLate + 1, session.ErrUnsupported}, {"a", 0, nil}}, "a"},
		"nothing far ahead": {[]write{{"", 1 << 40, nil}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			o := inOrder{to: &out}
			for _, w := range c.writes {
				if n, err := o.writeAt([]byte(w.text), w.off); !errors.Is(err, w.err) || w.err == nil && (err != nil || n != len(w.text)) {
					t.Errorf("%q at %d: got %d, %v; want %v", w.text, w.off, n, err, w.err)
				}
			}
			if size := o.size(); size != int64(len(c.want)) {
				t.Errorf("size %d, want %d", size, len(c.want))
			}
			if err := o.finish(); err != nil || out.String() != c.want {
				t.Errorf("got %q, %v; want %q", out.String(), err, c.want)
			}
		})
	}
}

// What waits is bounded, in all.
func TestInOrderIsBounded(t *testing.T) {
	t.Parallel()
	o := inOrder{to: &bytes.Buffer{}}
	p := make([]byte, maxLate/4)
	for i := range 5 {
		_, err := o.writeAt(p, int64(1+i*len(p)))
		if wrong := errors.Is(err, session.ErrUnsupported) != (i == 4); wrong {
			t.Errorf("piece %d: %v", i, err)
		}
	}
}

// Whatever the order of what comes, what is written is what came where it belongs, or is
// refused.
func FuzzInOrder(f *testing.F) {
	f.Add([]byte{0, 2, 4, 2, 2, 2})
	f.Add([]byte{9, 1, 0, 9})
	f.Fuzz(func(t *testing.T, steps []byte) {
		var out bytes.Buffer
		o := inOrder{to: &out}
		model := make([]byte, 512)
		var size int64
		for i := 0; i+1 < len(steps); i += 2 {
			off, p := int64(steps[i]), bytes.Repeat([]byte{byte(i + 1)}, int(steps[i+1]))
			if _, err := o.writeAt(p, off); err == nil && len(p) > 0 {
				copy(model[off:], p)
				size = max(size, off+int64(len(p)))
			}
		}
		if o.size() != size {
			t.Fatalf("size %d, want %d", o.size(), size)
		}
		if err := o.finish(); err != nil || !bytes.Equal(out.Bytes(), model[:size]) {
			t.Fatalf("got %v, %v; want %v", out.Bytes(), err, model[:size])
		}
	})
}
