package session

import (
	"errors"
	"path"
	"strings"
	"time"
	"unicode/utf8"
)

// MaxJournals is how many rules of a policy may ask for copies of mail.
const MaxJournals = 4

// maxJournalRule bounds such a rule in bytes.
const maxJournalRule = 255

// The variables of a JournalRule.
const (
	journalDate = "{date}"
	journalUser = "{user}"
)

// JournalRule says into which folder copies of mail go.
type JournalRule struct {
	// Account is whose folder it is; empty is the sender's own.
	Account string
	// Folder is an absolute path, in which {date} stands for the day in UTC and {user}
	// for the sender.
	Folder string
}

// ParseJournalRule reads FOLDER or ACCOUNT:FOLDER, such as "archive:/mail/{date}".
func ParseJournalRule(text string) (JournalRule, error) {
	r := JournalRule{Folder: text}
	if account, folder, found := strings.Cut(text, ":"); found && !strings.Contains(account, "/") {
		r = JournalRule{account, folder}
		switch {
		case account == "":
			return JournalRule{}, errors.New("the account before the colon is missing")
		case strings.ContainsAny(account, "{}") || account[0] == '.':
			return JournalRule{}, errors.New("what is before the colon cannot be an account")
		}
	}
	rest := strings.NewReplacer(journalDate, "", journalUser, "").Replace(text)
	switch {
	case len(text) > maxJournalRule:
		return JournalRule{}, errors.New("it is too long")
	case !strings.HasPrefix(r.Folder, "/"):
		return JournalRule{}, errors.New("the folder must begin with /, which is the account's own folder")
	case strings.ContainsAny(rest, "{}"):
		return JournalRule{}, errors.New("the only variables are {date} and {user}")
	case !utf8.ValidString(text) || strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c == 0x7f }):
		return JournalRule{}, errors.New("it holds control characters, or what is not UTF-8")
	case path.Clean(r.Folder) != r.Folder:
		return JournalRule{}, errors.New("the folder is not in its shortest form")
	}
	return r, nil
}

// Place is the account and the folder for a copy of what user sends at a time.
func (r JournalRule) Place(user string, now time.Time) (account, folder string) {
	account = r.Account
	if account == "" {
		account = user
	}
	return account, strings.NewReplacer(journalDate, now.UTC().Format(time.DateOnly), journalUser, user).Replace(r.Folder)
}

// Journals lists the rules that ask for a copy, as ParseJournalRule reads them.
func (d DataRules) Journals() []string {
	var list []string
	for _, rule := range d.Journal {
		if rule != "" {
			list = append(list, rule)
		}
	}
	return list
}
