package limits

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"gateway/session"
)

const (
	// MaxManualBans is how many bans may be made by hand.
	MaxManualBans = 4096
	// maxReason is the length in bytes of the longest reason.
	maxReason = 200
	// maxBansFile bounds what is read back: a ban takes less than 2048 bytes, even
	// if each byte of its reason is written as an escape.
	maxBansFile = MaxManualBans * 2048
)

// A Ban is a network from which nobody is admitted, and why.
type Ban struct {
	Source netip.Prefix `json:"source"`
	Since  time.Time    `json:"since"`
	// Until is when it ends; zero means never.
	Until time.Time `json:"until,omitzero"`
	// Manual tells a ban made by an administrator from one that the source earned.
	Manual bool   `json:"manual,omitempty"`
	Reason string `json:"reason"`
	// Offences count what the source did since it last owed nothing. No names are
	// kept: one that does not exist may be a mistyped password.
	Offences map[session.Offence]int `json:"offences,omitempty"`
}

// Bans lists all bans that hold at this moment, by network.
func (l *Limits) Bans() []Ban {
	now := time.Now()
	l.mu.Lock()
	out := append(l.penalties.bans(now), l.manual.list(now)...)
	l.mu.Unlock()
	slices.SortFunc(out, func(a, b Ban) int {
		return cmp.Or(a.Source.Addr().Compare(b.Source.Addr()), cmp.Compare(a.Source.Bits(), b.Source.Bits()),
			a.Since.Compare(b.Since))
	})
	return out
}

// Ban refuses all connections from prefix for that long; zero means until Unban.
// It holds for trusted networks too, and not for connections that are there. If
// Config.File is set, the ban is on stable storage when Ban returns nil; on an
// error nothing is banned.
func (l *Limits) Ban(prefix netip.Prefix, duration time.Duration, reason string) error {
	if err := checkPrefix(prefix); err != nil {
		return fmt.Errorf("ban: %w", err)
	}
	if duration < 0 {
		return fmt.Errorf("ban %v: duration %v is negative", prefix, duration)
	}
	if err := checkReason(reason); err != nil {
		return fmt.Errorf("ban %v: %w", prefix, err)
	}
	now := time.Now().UTC()
	b := Ban{Source: prefix, Since: now, Manual: true, Reason: reason}
	if duration > 0 {
		b.Until = now.Add(duration)
	}
	l.file.Lock()
	defer l.file.Unlock()
	l.mu.Lock()
	next := l.manual.list(now)
	l.mu.Unlock()
	next = slices.DeleteFunc(next, func(o Ban) bool { return o.Source == prefix })
	if len(next) >= MaxManualBans {
		return fmt.Errorf("ban %v: there are %d bans already: %w", prefix, len(next), session.ErrTooMany)
	}
	return l.replaceManual(append(next, b))
}

func checkReason(reason string) error {
	if len(reason) > maxReason || !utf8.ValidString(reason) ||
		strings.ContainsFunc(reason, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Errorf("the reason must be printable and at most %d bytes", maxReason)
	}
	return nil
}

// Unban ends the ban made by hand on exactly prefix, and forgives every network
// inside it what it owes. It returns session.ErrNotExist if nothing was banned.
func (l *Limits) Unban(prefix netip.Prefix) error {
	if err := checkPrefix(prefix); err != nil {
		return fmt.Errorf("unban: %w", err)
	}
	l.file.Lock()
	defer l.file.Unlock()
	l.mu.Lock()
	before := l.manual.list(time.Now())
	l.mu.Unlock()
	after := slices.DeleteFunc(slices.Clone(before), func(o Ban) bool { return o.Source == prefix })
	if len(after) < len(before) {
		if err := l.replaceManual(after); err != nil {
			return err
		}
	}
	l.mu.Lock()
	forgiven := l.penalties.forgive(prefix)
	l.mu.Unlock()
	if !forgiven && len(after) == len(before) {
		return fmt.Errorf("unban %v: %w", prefix, session.ErrNotExist)
	}
	return nil
}

// replaceManual writes the bans and puts them in force. It is called with
// l.file held.
func (l *Limits) replaceManual(bans []Ban) error {
	if l.cfg.File != "" {
		if err := writeBans(l.cfg.File, bans); err != nil {
			return fmt.Errorf("write bans: %w", err)
		}
	}
	next := newManualBans()
	for _, b := range bans {
		next.add(b)
	}
	l.mu.Lock()
	l.manual = next
	l.mu.Unlock()
	return nil
}

// manualBans are the bans made by hand. The lengths in use are kept, so that a
// look-up costs one step for each of them and not for each ban.
type manualBans struct {
	bans   map[netip.Prefix]Ban
	v4, v6 []int // lengths in use
}

func newManualBans() manualBans { return manualBans{bans: make(map[netip.Prefix]Ban)} }

func (m *manualBans) add(b Ban) {
	m.bans[b.Source] = b
	lengths := &m.v4
	if b.Source.Addr().Is6() {
		lengths = &m.v6
	}
	if !slices.Contains(*lengths, b.Source.Bits()) {
		*lengths = append(*lengths, b.Source.Bits())
	}
}

func (m *manualBans) holds(addr netip.Addr, now time.Time) bool {
	lengths := m.v4
	if addr.Is6() {
		lengths = m.v6
	}
	for _, bits := range lengths {
		prefix, err := addr.Prefix(bits)
		if err != nil {
			return false
		}
		if b, ok := m.bans[prefix]; ok && b.at(now) {
			return true
		}
	}
	return false
}

func (b Ban) at(now time.Time) bool { return b.Until.IsZero() || b.Until.After(now) }

func (m *manualBans) list(now time.Time) []Ban {
	var out []Ban
	for _, b := range m.bans {
		if b.at(now) {
			out = append(out, b)
		}
	}
	return out
}

// describe says what was done, in words: "3 wrong proof, 1 no login".
func describe(counts map[session.Offence]int) string {
	var parts []string
	for _, o := range offences() {
		if n := counts[o]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, o))
		}
	}
	return strings.Join(parts, ", ")
}

// readBans reads the bans made by hand. A file that does not exist has none.
func readBans(name string) ([]Ban, error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	data, err := io.ReadAll(io.LimitReader(f, maxBansFile+1))
	if err != nil {
		return nil, err
	}
	bans, err := parseBans(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return bans, nil
}

func parseBans(data []byte) ([]Ban, error) {
	if len(data) > maxBansFile {
		return nil, fmt.Errorf("larger than %d bytes", maxBansFile)
	}
	var bans []Ban
	if err := json.Unmarshal(data, &bans); err != nil {
		return nil, err
	}
	if len(bans) > MaxManualBans {
		return nil, fmt.Errorf("%d bans: at most %d", len(bans), MaxManualBans)
	}
	for i := range bans {
		if err := errors.Join(checkPrefix(bans[i].Source), checkReason(bans[i].Reason)); err != nil {
			return nil, fmt.Errorf("ban %d: %w", i+1, err)
		}
		bans[i].Manual, bans[i].Offences = true, nil
	}
	return bans, nil
}

// writeBans replaces the file: content and name are on stable storage when it
// returns nil, and the old content stays on an error.
func writeBans(name string, bans []Ban) (err error) {
	data, err := json.MarshalIndent(bans, "", "  ")
	if err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }() // only synced
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name()) // err says what went wrong
		}
	}()
	_, err = f.Write(append(data, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), name); err != nil {
		return err
	}
	return dir.Sync()
}
