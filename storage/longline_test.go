package storage

import (
	"io/fs"
	"testing"
	"time"
)

// D28: modes as ls writes them, not as Go does.
func TestLongLine(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		info Info
		want string
	}{
		{Info{Name: "f", Size: 12, Mode: 0o640, ModTime: now.Add(-time.Hour)}, "-rw-r-----    1 ftp      ftp                12 May 31 23:00 f"},
		{Info{Name: "d", Mode: fs.ModeDir | fs.ModeSticky | 0o777, ModTime: now.AddDate(-1, 0, 0), Links: 3}, "drwxrwxrwt    3 ftp      ftp                 0 Jun  1  2025 d"},
		{Info{Name: "l", Mode: fs.ModeSymlink | 0o777, ModTime: now}, "lrwxrwxrwx    1 ftp      ftp                 0 Jun  1 00:00 l"},
		{Info{Name: "s", Mode: fs.ModeSetuid | 0o644, ModTime: now}, "-rwSr--r--    1 ftp      ftp                 0 Jun  1 00:00 s"},
		{Info{Name: "tomorrow", Size: 1 << 40, ModTime: now.Add(25 * time.Hour)}, "----------    1 ftp      ftp      1099511627776 Jun  2  2026 tomorrow"},
	} {
		if got := string(c.info.AppendLongLine(nil, "ftp", now)); got != c.want {
			t.Errorf("got  %q\nwant %q", got, c.want)
		}
	}
}

func TestLongLineAllocatesNothing(t *testing.T) { // not parallel: it counts
	now := time.Now()
	buf := make([]byte, 0, 256)
	if n := testing.AllocsPerRun(100, func() { buf = Info{Name: "f", ModTime: now}.AppendLongLine(buf[:0], "ftp", now) }); n > 0 {
		t.Errorf("%v allocations a line", n)
	}
}
