package session

import (
	"fmt"
	"strings"
)

// Factors is a set of kinds of proof. Words for it join its members with "+":
// "publickey+password".
type Factors uint8

const (
	FactorKey      Factors = 1 << iota // an SSH key, or that of a client certificate
	FactorPassword                     // by whatever method it is sent
	FactorCode                         // a one-time code (RFC 6238)

	allFactors = FactorKey | FactorPassword | FactorCode
)

// factorWords are those of the rules and the record, in the order of the bits.
func factorWords() []string { return []string{"publickey", "password", "code"} }

// ParseFactors reads "password", "publickey+password" and so on.
func ParseFactors(text string) (Factors, error) {
	var f Factors
	for word := range strings.SplitSeq(text, "+") {
		var one Factors
		for i, known := range factorWords() {
			if word == known {
				one = 1 << i
			}
		}
		if one == 0 {
			return 0, fmt.Errorf("%q is not one of: %s", word, strings.Join(factorWords(), ", "))
		}
		if f&one != 0 {
			return 0, fmt.Errorf("%q stands there twice", word)
		}
		f |= one
	}
	return f, nil
}

func (f Factors) String() string {
	var list []string
	for i, word := range factorWords() {
		if f&(1<<i) != 0 {
			list = append(list, word)
		}
	}
	return strings.Join(list, "+")
}

// MarshalText writes the words.
func (f Factors) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads the words back.
func (f *Factors) UnmarshalText(text []byte) (err error) {
	if len(text) == 0 {
		*f = 0
		return nil
	}
	*f, err = ParseFactors(string(text))
	return err
}

// Factor is what m proves.
func (m Method) Factor() Factors {
	switch m {
	case MethodPublicKey:
		return FactorKey
	case MethodPassword, MethodKeyboardInteractive, MethodSCRAM, MethodToken:
		return FactorPassword
	case MethodCode:
		return FactorCode
	default:
		return 0
	}
}

// SendsPassword reports whether the account's own password is sent by m, rather than
// a token or the proof that one knows it.
func (m Method) SendsPassword() bool {
	return m == MethodPassword || m == MethodKeyboardInteractive
}

// Lacking says which proofs are not enough: bit i, that whoever has proven the set
// Factors(i) and no more must prove something else. The zero value asks for no
// more than one proof of any kind. Of two rules that must both hold, the union
// is lacking.
type Lacking uint8

// LackingAllBut is what rules say for which one of the ways, each a set of
// Factors, must be proven.
func LackingAllBut(ways ...Factors) Lacking {
	var l Lacking
	for proven := Factors(0); proven <= allFactors; proven++ {
		enough := false
		for _, w := range ways {
			enough = enough || w != 0 && proven&w == w
		}
		if !enough {
			l |= 1 << proven
		}
	}
	return l
}

// More reports whether whoever has proven that much must prove more.
func (l Lacking) More(proven Factors) bool { return l&(1<<(proven&allFactors)) != 0 }

// Next is what may be proven next, if in all only what is in can may still be
// proven: each member of it leads to where it is enough, without a proof that is
// not needed. It is empty if nothing does.
func (l Lacking) Next(proven, can Factors) Factors {
	var next Factors
	for goal := Factors(0); goal <= allFactors; goal++ {
		rest := goal &^ proven
		if goal&proven != proven || rest&^can != 0 || rest == 0 || l.More(goal) {
			continue
		}
		needed := true
		for one := Factors(1); one <= allFactors; one <<= 1 {
			if rest&one != 0 && !l.More(goal&^one) {
				needed = false
			}
		}
		if needed {
			next |= rest
		}
	}
	return next
}

// methods lists how the members of f may be offered.
func (f Factors) methods() []Method {
	var list []Method
	if f&FactorKey != 0 {
		list = append(list, MethodPublicKey)
	}
	if f&FactorPassword != 0 {
		list = append(list, MethodPassword, MethodKeyboardInteractive)
	}
	if f&FactorCode != 0 {
		list = append(list, MethodCode)
	}
	return list
}

// canFollow is what a client of the protocol can still prove after it has proven
// something: only SSH asks (RFC 4252, section 5.1). An FTP client whose certificate
// was not enough is asked for its password anyway.
func (p Protocol) canFollow() Factors {
	if p == SFTP {
		return allFactors
	}
	return FactorPassword
}

// chain is what was proven so far on a connection, for one name, where it was
// right and not enough.
type chain struct {
	user       string
	method     Method // of the first proof
	proven     Factors
	key        Key    // that was proven last, if one was
	proof      Proof  // of a token, if one was among them
	password   Secret // if it is to be handed on
	generation int64  // of the account
}

// begun reports whether c is a chain of that name.
func (c *chain) begun(user string) bool { return c.proven != 0 && c.user == user }
