package session

import (
	"path"
	"strings"
	"testing"
	"time"
)

func TestJournalRule(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 30, 23, 30, 0, 0, time.FixedZone("", -3600))
	for text, want := range map[string]string{
		"/mail/{date}":                 "alice /mail/2026-12-01",
		"/":                            "alice /",
		"archive:/{user}/{date}":       "archive /alice/2026-12-01",
		"archive:/{date}-{user}/mail":  "archive /2026-12-01-alice/mail",
		"/a:b":                         "alice /a:b",
		"mail":                         "the folder must begin with /",
		"archive:mail":                 "the folder must begin with /",
		":/mail":                       "the account before the colon",
		"..:/mail":                     "cannot be an account",
		"{user}:/mail":                 "cannot be an account",
		"/mail/":                       "not in its shortest form",
		"/mail/../x":                   "not in its shortest form",
		"/mail/{time}":                 "the only variables",
		"/mail/\n":                     "control characters",
		"/mail/\xff":                   "not UTF-8",
		"/" + strings.Repeat("x", 255): "too long",
	} {
		r, err := ParseJournalRule(text)
		got := ""
		if err == nil {
			account, folder := r.Place("alice", now)
			got = account + " " + folder
		} else {
			got = err.Error()
		}
		if err == nil && got != want || err != nil && !strings.Contains(got, want) {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

// A rule that is accepted stays within the folder that it names, whoever sends.
func FuzzJournalRule(f *testing.F) {
	for _, seed := range []string{"/mail/{date}", "archive:/{user}", "a:/../b", "/{user}/..", "/{", "x:y:/z"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseJournalRule(text)
		if err != nil {
			return
		}
		account, folder := r.Place("alice", time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC))
		if account == "" || strings.Contains(account, "/") || path.Clean(folder) != folder || !path.IsAbs(folder) || strings.ContainsAny(folder, "{}\x00\r\n") {
			t.Errorf("%q: %q %q", text, account, folder)
		}
	})
}
