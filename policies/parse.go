package policies

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

const (
	// maxNesting is how deep braces and brackets may be nested.
	maxNesting = 8
	// maxValue is the length in bytes of the longest text in a policy.
	maxValue = 255
	// maxReply is the length in bytes of the longest reply, filled in: an FTP reply
	// is one line of at most 512 bytes, code and line end included.
	maxReply = 400
	// maxPrefixes is how many networks all conditions of a policy may have together.
	maxPrefixes = 65536
	// maxList is how many values an attribute may have.
	maxList = 4096
	// maxExpects is how many expectations a policy may have.
	maxExpects = 512
)

// A network is a name for a list of prefixes.
type network struct {
	name  string
	line  int
	cidrs []netip.Prefix
}

// A decoder reads one policy, and collects what is wrong with it.
type decoder struct {
	filename string
	opts     Options
	diags    hcl.Diagnostics

	seen       map[string]int // kind and name, to the line
	networks   map[string]network
	profiles   map[string]profile
	zone       *time.Location
	admins     []string
	allows     []*statement
	requires   []*statement
	exempts    []*statement
	devices    []*device
	expects    []expectation
	asserts    []assertion
	prefixes   int
	conditions int
	journals   int
}

// syntax reads the text as far as HCL goes. Only plain values are let through to
// the parser: no policy needs expressions, and their depth has no bound.
func (d *decoder) syntax(src []byte) *hcl.File {
	start := hcl.InitialPos
	if len(src) > maxSource {
		d.fault(hcl.Range{Filename: d.filename, Start: start, End: start},
			"Policy too large", "A policy may have %d bytes.", maxSource)
		return nil
	}
	plain := &hcl.File{Bytes: src}
	tokens, diags := hclsyntax.LexConfig(src, d.filename, start)
	if d.diags = append(d.diags, diags...); diags.HasErrors() {
		return plain
	}
	depth := 0
	for _, t := range tokens {
		switch t.Type {
		case hclsyntax.TokenOBrace, hclsyntax.TokenOBrack:
			depth++
		case hclsyntax.TokenCBrace, hclsyntax.TokenCBrack:
			depth--
		case hclsyntax.TokenEqual, hclsyntax.TokenComma, hclsyntax.TokenIdent, hclsyntax.TokenOQuote,
			hclsyntax.TokenCQuote, hclsyntax.TokenQuotedLit, hclsyntax.TokenNumberLit, hclsyntax.TokenNewline,
			hclsyntax.TokenComment, hclsyntax.TokenEOF, hclsyntax.TokenDot:
		default:
			d.fault(t.Range, "Not a plain value",
				"A policy has texts in quotes and lists of them, and no expressions, templates or heredocs.")
			return plain
		}
		if depth > maxNesting {
			d.fault(t.Range, "Nested too deeply", "Braces and brackets may be nested %d deep.", maxNesting)
			return plain
		}
	}
	file, diags := hclsyntax.ParseConfig(src, d.filename, start)
	d.diags = append(d.diags, diags...)
	return file
}

// read decodes the whole file. References between statements are checked last,
// since their order does not matter.
func (d *decoder) read(src []byte) *hcl.File {
	file := d.syntax(src)
	if file == nil || file.Body == nil {
		return file
	}
	body, ok := file.Body.(*hclsyntax.Body)
	if !ok || body == nil {
		return file
	}
	for _, a := range inOrder(body.Attributes) {
		d.fault(a.NameRange, "Setting outside of a statement", "%q stands outside of any statement.%s", a.Name, suggest(a.Name, kinds()))
	}
	for _, b := range body.Blocks {
		switch b.Type {
		case kindNetwork:
			d.network(b)
		case kindProfile:
			d.profile(b)
		case kindSettings:
			d.settings(b)
		}
	}
	for _, b := range body.Blocks {
		switch b.Type {
		case kindNetwork, kindProfile, kindSettings:
		case kindAllow:
			d.allow(b)
		case kindRequire:
			d.require(b)
		case kindExempt:
			d.exempt(b)
		case kindDevice:
			d.device(b)
		case kindExpect:
			d.expectation(b)
		case kindAssert:
			d.assertion(b)
		case "group":
			d.fault(b.TypeRange, "Unknown statement", "Groups are those of the accounts (gateway user set NAME --group): name them in group = \"...\" of a statement.")
		case "when", kindRollout, "brownout":
			d.fault(b.TypeRange, "Statement in the wrong place", "%q belongs inside a require.", b.Type)
		default:
			d.fault(b.TypeRange, "Unknown statement", "There is no statement %q.%s", b.Type, suggest(b.Type, kinds()))
		}
	}
	d.resolve()
	slices.SortStableFunc(d.diags, func(a, b *hcl.Diagnostic) int {
		if a.Subject == nil || b.Subject == nil {
			return 0
		}
		return a.Subject.Start.Byte - b.Subject.Start.Byte
	})
	return file
}

func kinds() []string {
	return []string{kindSettings, kindNetwork, kindProfile, kindAllow, kindRequire, kindExempt, kindDevice, kindExpect, kindAssert}
}

// inOrder lists attributes as they stand in the file.
func inOrder(attrs hclsyntax.Attributes) []*hclsyntax.Attribute {
	list := make([]*hclsyntax.Attribute, 0, len(attrs))
	for _, a := range attrs {
		list = append(list, a)
	}
	slices.SortFunc(list, func(a, b *hclsyntax.Attribute) int { return a.NameRange.Start.Byte - b.NameRange.Start.Byte })
	return list
}

// labels checks the names of a statement and that no other has them. wanted says
// what each is.
func (d *decoder) labels(b *hclsyntax.Block, wanted ...string) bool {
	if len(b.Labels) != len(wanted) {
		d.fault(b.DefRange(), "Wrong number of names", "Write: %s \"%s\" { ... }", b.Type, strings.Join(wanted, "\" \""))
		return false
	}
	ok := true
	for i, l := range b.Labels {
		if why := badText(l, maxValue); why != "" || strings.ContainsAny(l, "\"\\") {
			d.fault(b.LabelRanges[i], "Bad name", "The %s must be a text without quotes and backslashes%s.", wanted[i], why)
			ok = false
		}
	}
	key := b.Type + "\x00" + strings.Join(b.Labels, "\x00")
	if line, taken := d.seen[key]; taken {
		d.fault(b.DefRange(), "Name already used", "There is %s %q already, in line %d.", b.Type, strings.Join(b.Labels, "\" \""), line)
		return false
	}
	d.seen[key] = b.TypeRange.Start.Line
	return ok
}

// badText says what is wrong with a text that will be written in lines, or "".
func badText(s string, limit int) string {
	switch {
	case s == "":
		return " and must not be empty"
	case len(s) > limit:
		return fmt.Sprintf(" of at most %d bytes", limit)
	case !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
		return " of printable characters"
	}
	return ""
}

// attributes hands each attribute of a body to set, which says whether it knows
// the name; the others are faults.
func (d *decoder) attributes(in string, body *hclsyntax.Body, known []string, set func(a *hclsyntax.Attribute)) {
	for _, a := range inOrder(body.Attributes) {
		if !slices.Contains(known, a.Name) && slices.Contains(actNames(), a.Name) {
			d.fault(a.NameRange, "Known too late", "%s is about logins, and %q about what is done after one: say in a require what must hold of that.", in, a.Name)
			continue
		}
		if !slices.Contains(known, a.Name) {
			d.fault(a.NameRange, "Unknown attribute", "%s has no attribute %q.%s", in, a.Name, suggest(a.Name, known))
			continue
		}
		set(a)
	}
}

// noBlocks refuses blocks where there may be none.
func (d *decoder) noBlocks(in string, body *hclsyntax.Body) {
	for _, b := range body.Blocks {
		d.fault(b.TypeRange, "Unknown block", "%s has no block %q.", in, b.Type)
	}
}

// A text is a value with its place in the file.
type text struct {
	value string
	at    hcl.Range
}

// texts reads a text or a list of texts.
func (d *decoder) texts(a *hclsyntax.Attribute) []text {
	list, ok := a.Expr.(*hclsyntax.TupleConsExpr)
	if !ok {
		if t, ok := d.literal(a.Name, a.Expr); ok {
			return []text{t}
		}
		return nil
	}
	if len(list.Exprs) == 0 {
		d.fault(a.Expr.Range(), "Empty list", "An empty list for %q would match nothing. Leave the attribute out if all should match.", a.Name)
	}
	if len(list.Exprs) > maxList {
		d.fault(a.Expr.Range(), "List too long", "A list may have %d values. Use a group or a network.", maxList)
		return nil
	}
	var out []text
	for _, e := range list.Exprs {
		t, ok := d.literal(a.Name, e)
		if !ok {
			continue
		}
		if slices.ContainsFunc(out, func(o text) bool { return o.value == t.value }) {
			d.fault(t.at, "Value written twice", "%q is in the list already.", t.value)
			continue
		}
		out = append(out, t)
	}
	return out
}

// one reads a single text.
func (d *decoder) one(a *hclsyntax.Attribute) (text, bool) {
	if _, list := a.Expr.(*hclsyntax.TupleConsExpr); list {
		d.fault(a.Expr.Range(), "Wrong type", "%q takes one text, not a list.", a.Name)
		return text{}, false
	}
	return d.literal(a.Name, a.Expr)
}

func (d *decoder) literal(name string, e hclsyntax.Expression) (text, bool) {
	t, ok := e.(*hclsyntax.TemplateExpr)
	if !ok || !t.IsStringLiteral() {
		d.fault(e.Range(), "Wrong type", "%q takes a text in quotes, or a list of them where several may match.", name)
		return text{}, false
	}
	v, diags := t.Value(nil)
	if diags.HasErrors() {
		d.diags = append(d.diags, diags...)
		return text{}, false
	}
	s := v.AsString()
	if why := badText(s, maxReply); why != "" {
		d.fault(e.Range(), "Bad text", "%q takes a text%s.", name, why)
		return text{}, false
	}
	return text{s, e.Range()}, true
}

// date reads a day, which ends at its last moment in UTC, or a moment.
func (d *decoder) date(a *hclsyntax.Attribute) (until time.Time, written string, ok bool) {
	t, ok := d.one(a)
	if !ok {
		return time.Time{}, "", false
	}
	if day, err := time.Parse(time.DateOnly, t.value); err == nil {
		return day.AddDate(0, 0, 1), t.value, true
	}
	moment, err := time.Parse(time.RFC3339, t.value)
	if err != nil {
		d.fault(t.at, "Not a date", "%q takes a day, \"2027-06-30\", or a moment, \"2027-06-30T18:00:00Z\".", a.Name)
		return time.Time{}, "", false
	}
	return moment.UTC(), t.value, true
}

// required reports attributes that are missing.
func (d *decoder) required(b *hclsyntax.Block, in string, names map[string]string) {
	keys := make([]string, 0, len(names))
	for n := range names {
		keys = append(keys, n)
	}
	slices.Sort(keys)
	for _, n := range keys {
		if b.Body.Attributes[n] == nil {
			d.fault(b.DefRange(), "Missing attribute", "%s needs %s: %s.", in, n, names[n])
		}
	}
}
