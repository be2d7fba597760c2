package hashes

import (
	"fmt"
	"strconv"
	"strings"
)

const wrappedPrefix = "$wrapped$"

// Wrap replaces the output of a weak hash by argon2id over it, so that a stolen store
// gives away nothing cheaper than argon2id. To compare a password, the weak output is
// computed and then argon2id of that. The canonical text is
//
//	$wrapped$SIZE$argon2id$v=19$m=19456,t=2,p=1$SALT$SUM$SETTING
//
// with the text of the weak hash up to its output as SETTING, and the characters of
// that output as SIZE. The password of argon2id is the output as text. A hash that is
// not Weak, or wrapped already, is returned as it is. It takes the time of New.
func (h Hash) Wrap() (Hash, error) {
	if h.derive == nil {
		return Hash{}, malformed("no hash to wrap")
	}
	if !h.Weak() {
		return h, nil
	}
	outer := newArgon()
	outer.sum = outer.derive(h.output)
	return Hash{recipe: h.recipe, outer: outer}, nil
}

func (h Hash) encodeWrapped() string {
	return wrappedPrefix + strconv.Itoa(h.size) + h.outer.setting() + h.outer.sum + "$" + h.setting
}

// parseWrapped reads what follows the prefix.
func parseWrapped(text string) (Hash, error) {
	part := strings.SplitN(text, "$", 7)
	if len(part) != 7 || part[1] != argonID {
		return Hash{}, malformed("wrapped: want SIZE, argon2id and SETTING")
	}
	size, err := parseNumber("size", part[0], 1, maxTextBytes)
	if err != nil {
		return Hash{}, fmt.Errorf("wrapped: %w", err)
	}
	outer, err := parseArgon(part[1:5], len(part[5]))
	if err != nil {
		return Hash{}, fmt.Errorf("wrapped: %w", err)
	}
	if _, err := parseBase64("sum", part[5], minArgonBytes, maxArgonBytes); err != nil {
		return Hash{}, fmt.Errorf("wrapped: %w", err)
	}
	outer.sum = part[5]
	s, err := schemeOf(part[6])
	if err != nil {
		return Hash{}, err
	}
	r, err := s.recipe(part[6], int(size))
	if err != nil {
		return Hash{}, err
	}
	if !r.weak {
		return Hash{}, malformed("%s is never wrapped", s.name)
	}
	if outer.price().Work > normalWork {
		return Hash{}, fmt.Errorf("%w: the argon2id around another hash takes over %v", ErrCost, normalWork)
	}
	return Hash{recipe: r, outer: outer}, nil
}
