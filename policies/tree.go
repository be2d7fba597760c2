package policies

import (
	"path"
	"strings"

	"gateway/session"
)

// A treeTable tells for each value of a fact that lies in a tree, a path or a domain, which
// conditions it satisfies: those that name it, or something above it.
type treeTable struct {
	tree   func(value string) (above string, more bool)
	values map[string]*bits // by what conditions name
	// under is, by what lies above a name, the whens that have the name: what moves a tree
	// moves all that is in it.
	under  map[string]*bits
	other  bits // satisfied by every value
	absent bits // satisfied when the fact is not known
}

// newTree builds the table of one fact: list gives the values that a condition names, none if
// it does not restrict the fact.
func newTree(conds []*condition, whens *bits, tree func(string) (string, bool), list func(*condition) []string) treeTable {
	t := treeTable{tree: tree, values: make(map[string]*bits), under: make(map[string]*bits)}
	mark := func(in map[string]*bits, key string, id int) {
		if in[key] == nil {
			in[key] = &bits{}
		}
		in[key].set(id)
	}
	for _, c := range conds {
		named := list(c)
		if len(named) == 0 {
			t.other.set(c.id)
			continue
		}
		for _, v := range named {
			mark(t.values, v, c.id)
			if !whens.has(c.id) {
				continue
			}
			for above, more := tree(v); more; above, more = tree(above) {
				mark(t.under, above, c.id)
			}
		}
	}
	t.absent = t.other
	t.absent.or(whens)
	return t
}

// at is what a value satisfies; with moves, also what something below it would.
func (t *treeTable) at(value string, moves bool) bits {
	if value == "" {
		return t.absent
	}
	out := t.other
	if len(t.values) == 0 {
		return out
	}
	if below := t.under[value]; moves && below != nil {
		out.or(below)
	}
	for more := true; more; value, more = t.tree(value) {
		if b := t.values[value]; b != nil {
			out.or(b)
		}
	}
	return out
}

// narrow takes away the conditions that a value does not satisfy.
func (t *treeTable) narrow(matched *bits, value string, moves bool) {
	if len(t.values) == 0 {
		return // no condition looks at it
	}
	at := t.at(value, moves)
	matched.and(&at)
}

// aboveFolder is the folder that a path is in.
func aboveFolder(name string) (string, bool) {
	if name == "/" || !strings.HasPrefix(name, "/") {
		return "", false
	}
	return path.Dir(name), true
}

// aboveDomain is ".example.com" of a.example.com, and then ".com".
func aboveDomain(name string) (string, bool) {
	i := strings.IndexByte(strings.TrimPrefix(name, "."), '.')
	if i < 0 {
		return "", false
	}
	return strings.TrimPrefix(name, ".")[i:], true
}

// aboveNothing is the tree of words that are in none.
func aboveNothing(string) (string, bool) { return "", false }

// folderName reports whether a text is a folder as a condition names it: not the root, which
// everything is in.
func folderName(text string) bool {
	return strings.HasPrefix(text, "/") && text != "/" && path.Clean(text) == text
}

// maxLabel is how long one part of a domain may be, in bytes (RFC 1035, section 2.3.4).
const maxLabel = 63

// domainPattern reports whether a text is a domain, or with a dot before it all below one.
func domainPattern(text string) bool {
	for label := range strings.SplitSeq(strings.TrimPrefix(text, "."), ".") {
		if label == "" || len(label) > maxLabel || strings.ContainsAny(label, " @<>\"\\/,;:") {
			return false
		}
	}
	return true
}

// outsideTree says why a value is in none of some, in words; nothing if it is.
func outsideTree(tree func(string) (string, bool), name string, list []string, got string) []string {
	if list == nil {
		return nil
	}
	for at, more := got, got != ""; more; at, more = tree(at) {
		for _, v := range list {
			if v == at {
				return nil
			}
		}
	}
	return []string{name + " is " + orUnknown(got) + ", not " + either(list)}
}

// unmet says which of the attributes r does not match, in words.
func (c *actCondition) unmet(r *session.Request) []string {
	if c.empty() || r.Phase != "" && r.Phase != session.PhaseSession {
		return nil
	}
	out := outsideTree(aboveFolder, attrPath, c.paths, r.Act.Path)
	if len(out) == 0 && r.Act.Target != "" {
		out = outsideTree(aboveFolder, "the other path", c.paths, r.Act.Target)
	}
	out = append(out, outsideTree(aboveDomain, attrSender, c.senders, senderKey(r))...)
	out = append(out, outsideTree(aboveDomain, attrRecipient, c.recipients, domainOf(r.Act.Recipient))...)
	return append(out, outsideTree(aboveNothing, attrRequest, c.requests, r.Act.Asked)...)
}
