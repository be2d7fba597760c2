package ftp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"gateway/session"
	"gateway/storage"
	"gateway/transfer"
)

// factSet says which facts MLST and MLSD show, as bits in the order of
// factNames.
type factSet uint8

const allFacts factSet = 1<<6 - 1

// factNames are the facts of RFC 3659, section 7.5, that we know.
func factNames() [6]string {
	return [...]string{"Type", "Size", "Modify", "Perm", "Unique", "UNIX.mode"}
}

// parseFacts takes the list that OPTS MLST gives; unknown facts are left out
// (RFC 3659, section 7.9).
func parseFacts(list string) factSet {
	var set factSet
	for fact := range strings.SplitSeq(list, ";") {
		for i, name := range factNames() {
			if strings.EqualFold(strings.TrimSpace(fact), name) {
				set |= 1 << i
			}
		}
	}
	return set
}

// feature lists all facts, those in use with a star (RFC 3659, section 7.8).
func (f factSet) feature() string {
	var b strings.Builder
	for i, name := range factNames() {
		b.WriteString(name)
		if f&(1<<i) != 0 {
			b.WriteByte('*')
		}
		b.WriteByte(';')
	}
	return b.String()
}

// names lists the facts in use.
func (f factSet) names() string {
	var b strings.Builder
	for i, name := range factNames() {
		if f&(1<<i) != 0 {
			b.WriteString(name + ";")
		}
	}
	return b.String()
}

// append writes the facts of one entry, and with them what the account may do.
func (f factSet) append(b []byte, info storage.Info, may transfer.Rights) []byte {
	regular := info.Mode.IsRegular()
	kind := "file"
	switch {
	case info.IsDir():
		kind = "dir"
	case info.Mode&fs.ModeSymlink != 0:
		kind = "OS.unix=symlink"
	case !regular:
		kind = "OS.unix=other"
	}
	for i, name := range factNames() {
		if f&(1<<i) == 0 {
			continue
		}
		var value string
		switch name {
		case "Type":
			value = kind
		case "Size":
			if !regular {
				continue
			}
			value = decimal(info.Size)
		case "Modify":
			value = stamp(info.ModTime)
		case "Perm":
			value = perm(info, may)
		case "Unique":
			if info.ID == 0 {
				continue
			}
			value = strconv.FormatUint(info.ID, 16)
		case "UNIX.mode":
			value = octal(info.Mode)
		}
		b = append(b, name+"="+value+";"...)
	}
	return b
}

// perm is what the fact Perm says (RFC 3659, section 7.5.5): which commands would
// not be refused because of a right that is missing.
func perm(info storage.Info, may transfer.Rights) string {
	var letters []byte
	for _, l := range [...]struct {
		letter  byte
		granted bool
	}{
		{'a', info.Mode.IsRegular() && may.Entry&session.MayAppend != 0},
		{'c', info.IsDir() && may.Content&session.MayCreate != 0},
		{'d', may.Entry&session.MayDelete != 0},
		{'e', info.IsDir()},
		{'f', may.Entry&session.MayRename != 0},
		{'l', info.IsDir() && may.Content&session.MayList != 0},
		{'m', info.IsDir() && may.Content&session.MayMkdir != 0},
		{'p', info.IsDir() && may.Content&session.MayDelete != 0},
		{'r', info.Mode.IsRegular() && may.Content&session.MayRead != 0},
		{'w', info.Mode.IsRegular() && may.Entry&session.MayOverwrite != 0},
	} {
		if l.granted {
			letters = append(letters, l.letter)
		}
	}
	return string(letters)
}

// mff changes facts of a file (draft-somers-ftp-mfxx-04, section 5): Modify and
// UNIX.mode.
func (c *conn) mff(ctx context.Context, arg string) reply {
	attr, shown, name, err := parseMFF(arg)
	switch {
	case errors.Is(err, errFact):
		return replyParameter
	case err != nil:
		return replySyntax
	}
	return c.onPath(name, func(path string) error {
		return c.files.SetAttr(ctx, path, attr)
	}, func(path string) reply { return reply{213, shown + " " + oneLine(path)} })
}

var (
	errFact      = errors.New("fact that cannot be changed")
	errFactValue = errors.New("not a list of facts and a name")
)

// parseMFF divides "Modify=20260102030405;UNIX.mode=0640; name" into what to
// change, how the reply shows it, and the name. It returns errFact for a fact that
// cannot be changed.
func parseMFF(arg string) (attr storage.Attr, shown, name string, err error) {
	list, name, found := strings.Cut(arg, " ")
	list, ended := strings.CutSuffix(list, ";")
	if !found || !ended || name == "" {
		return attr, "", "", errFactValue
	}
	for fact := range strings.SplitSeq(list, ";") {
		key, value, _ := strings.Cut(fact, "=")
		switch {
		case strings.EqualFold(key, "Modify") && attr.ModTime == nil:
			at, ok := parseStamp(value)
			if !ok {
				return attr, "", "", errFactValue
			}
			attr.ModTime = &at
			shown += "Modify=" + stamp(at) + ";"
		case strings.EqualFold(key, "UNIX.mode") && attr.Perm == nil:
			mode, ok := parseMode(value)
			if !ok {
				return attr, "", "", errFactValue
			}
			attr.Perm = &mode
			shown += "UNIX.mode=" + octal(mode) + ";"
		case strings.EqualFold(key, "Modify"), strings.EqualFold(key, "UNIX.mode"), fact == "":
			return attr, "", "", errFactValue
		default:
			return attr, "", "", errFact
		}
	}
	return attr, shown, name, nil
}

// parseMode reads permissions of one to four octal digits. The bits above 0777
// become those that storage refuses.
func parseMode(s string) (fs.FileMode, bool) {
	if len(s) > 4 || !allDigits(s) {
		return 0, false
	}
	bits, err := strconv.ParseUint(s, 8, 12)
	if err != nil {
		return 0, false
	}
	mode := fs.FileMode(bits & 0o777)
	for bit, special := range map[uint64]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if bits&bit != 0 {
			mode |= special
		}
	}
	return mode, true
}

func octal(m fs.FileMode) string { return fmt.Sprintf("0%03o", m.Perm()) }

// parseStamp reads "20260102030405[.fraction]" (RFC 3659, section 2.3).
func parseStamp(digits string) (time.Time, bool) {
	whole, fraction, dotted := strings.Cut(digits, ".")
	if len(whole) != len(stampLayout) || !allDigits(whole) || dotted && (len(fraction) > 9 || !allDigits(fraction)) {
		return time.Time{}, false
	}
	at, err := time.ParseInLocation(stampLayout, whole, time.UTC)
	return at, err == nil
}
