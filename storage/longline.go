package storage

import (
	"io/fs"
	"strconv"
	"time"
)

// halfYear is the age from which a long line shows the year and not the hour, as
// ls has it; so does a time in the future.
const halfYear = 182 * 24 * time.Hour

const (
	recentTime = "Jan _2 15:04"
	oldTime    = "Jan _2  2006"
)

// AppendLongLine appends the line of "ls -l" that FTP (LIST) and SFTP (longname)
// show, and clients parse, without its end. Everything in a tree is the account's
// own, so owner stands for user and group. Times are in UTC. It allocates nothing
// but the growth of b.
func (i Info) AppendLongLine(b []byte, owner string, now time.Time) []byte {
	b = appendMode(b, i.Mode)
	b = appendRight(append(b, ' '), int64(max(i.Links, 1)), 4)
	b = appendLeft(append(b, ' '), owner, 8)
	b = appendLeft(append(b, ' '), owner, 8)
	b = appendRight(append(b, ' '), i.Size, 12)
	layout := recentTime
	if age := now.Sub(i.ModTime); age > halfYear || age < -time.Hour {
		layout = oldTime
	}
	b = i.ModTime.UTC().AppendFormat(append(b, ' '), layout)
	return append(append(b, ' '), i.Name...)
}

// appendMode appends type and permissions in the ten columns of ls.
func appendMode(b []byte, m fs.FileMode) []byte {
	letter := byte('-')
	switch {
	case m.IsDir():
		letter = 'd'
	case m&fs.ModeSymlink != 0:
		letter = 'l'
	case m&fs.ModeNamedPipe != 0:
		letter = 'p'
	case m&fs.ModeSocket != 0:
		letter = 's'
	case m&fs.ModeCharDevice != 0:
		letter = 'c'
	case m&fs.ModeDevice != 0:
		letter = 'b'
	}
	b = append(b, letter)
	for i, c := range []byte("rwxrwxrwx") {
		if m&(0o400>>i) == 0 {
			c = '-'
		}
		b = append(b, c)
	}
	mode := b[len(b)-10:]
	special(mode, 3, m&fs.ModeSetuid != 0, 's')
	special(mode, 6, m&fs.ModeSetgid != 0, 's')
	special(mode, 9, m&fs.ModeSticky != 0, 't')
	return b
}

// special puts a bit into the column of the right to execute that it goes with.
func special(mode []byte, column int, set bool, letter byte) {
	switch {
	case !set:
	case mode[column] == 'x':
		mode[column] = letter
	default:
		mode[column] = letter - 'a' + 'A'
	}
}

func appendRight(b []byte, n int64, width int) []byte {
	var digits [20]byte
	text := strconv.AppendInt(digits[:0], n, 10)
	for range width - len(text) {
		b = append(b, ' ')
	}
	return append(b, text...)
}

func appendLeft(b []byte, s string, width int) []byte {
	b = append(b, s...)
	for range width - len(s) {
		b = append(b, ' ')
	}
	return b
}
