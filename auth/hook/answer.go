package hook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"

	"gateway/auth"
)

const (
	// maxAnswer is how many bytes an answer may have.
	maxAnswer = 64 << 10
	// maxList is how many groups or addresses it may name.
	maxList = 256
)

// answer is what a hook says.
type answer struct {
	ID        string   `json:"id"`
	User      string   `json:"user"`
	Exists    *bool    `json:"exists"`
	Right     *bool    `json:"right"` // of a password
	Groups    []string `json:"groups"`
	Addresses []string `json:"addresses"`
	Home      string   `json:"home"`
	Disabled  bool     `json:"disabled"`
}

// parseAnswer reads the answer to a question: one object, with keys that are known, each
// once, and about nobody else.
func parseAnswer(body []byte, to question) (answer, error) {
	if !utf8.Valid(body) {
		return answer{}, errors.New("it is not UTF-8")
	}
	if err := checkKeys(body); err != nil {
		return answer{}, err
	}
	var a answer
	if err := json.Unmarshal(body, &a); err != nil {
		return answer{}, err
	}
	switch {
	case a.ID != to.ID:
		return answer{}, errors.New("id: it is not that of the question")
	case a.User != to.User:
		return answer{}, errors.New("user: it is not the one that was asked about")
	case a.Exists == nil:
		return answer{}, errors.New("exists: want true or false")
	case !*a.Exists:
		return answer{ID: a.ID, User: a.User, Exists: a.Exists}, nil
	case to.Password != nil && a.Right == nil:
		return answer{}, errors.New("right: want true or false, for a password was asked about")
	case to.Password == nil && a.Right != nil:
		return answer{}, errors.New("right: no password was asked about")
	case len(a.Groups) > maxList || len(a.Addresses) > maxList:
		return answer{}, fmt.Errorf("groups, addresses: want at most %d of each", maxList)
	}
	return a, nil
}

// checkKeys wants one object whose keys are those of an answer: encoding/json takes others
// for them that differ by case, and the last of those that come twice.
func checkKeys(body []byte) error {
	in := json.NewDecoder(bytes.NewReader(body))
	if first, err := in.Token(); err != nil || first != json.Delim('{') {
		return errors.New("want one object of JSON")
	}
	var seen []string
	for in.More() {
		token, err := in.Token()
		if err != nil {
			return err
		}
		key, _ := token.(string)
		if !slices.Contains([]string{"id", "user", "exists", "right", "groups", "addresses", "home", "disabled"}, key) {
			return fmt.Errorf("it has a key that is not known: %q", clip(key))
		}
		if slices.Contains(seen, key) {
			return fmt.Errorf("%s: it comes twice", key)
		}
		seen = append(seen, key)
		var value json.RawMessage
		if err := in.Decode(&value); err != nil {
			return err
		}
	}
	if _, err := in.Token(); err != nil { // the }
		return err
	}
	if _, err := in.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the object")
	}
	return nil
}

// said is what the answer says of the account, nil if there is none.
func (a answer) said(homes string) (*auth.Said, error) {
	if !*a.Exists {
		return nil, nil
	}
	home, err := auth.HomeBelow(homes, a.Home)
	if err != nil {
		return nil, err
	}
	return &auth.Said{Groups: a.Groups, Addresses: a.Addresses, Home: home, Disabled: a.Disabled}, nil
}

// clip shortens what an error quotes.
func clip(s string) string {
	const limit = 40
	if len(s) > limit {
		return s[:limit] + "..."
	}
	return s
}
