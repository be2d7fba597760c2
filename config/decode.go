package config

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"

	"gateway/session"
)

// A section is what may stand in the file at one level: settings and blocks.
// The file is read by it and its reference is printed from it, so that the two
// cannot differ.
type section struct {
	settings []setting
	blocks   []block
}

// A setting is one name = value.
type setting struct {
	name, kind, def, doc string
	required             bool
	secret               bool // must come from file() or env()
	set                  func(d *decoder, v cty.Value) error
}

// A block is a nested section. open is called for each block found, with its
// labels, and returns what is in it.
type block struct {
	name, label, doc string
	many             bool // may occur more than once
	beside           bool // it has a label, and there is one of that name without
	open             func(d *decoder, at hcl.Range, label string) (section, error)
}

// decoder reads one file.
type decoder struct {
	dir   string // of the file: relative paths begin here
	eval  *hcl.EvalContext
	diags hcl.Diagnostics
}

func (d *decoder) fault(at hcl.Range, summary, detail string) {
	d.diags = append(d.diags, &hcl.Diagnostic{Severity: hcl.DiagError, Summary: summary, Detail: detail, Subject: &at})
}

// kind is the block's name, and another one for a block with a label beside one without:
// a schema tells blocks apart by their names only.
func (b block) kind() string {
	if b.beside {
		return b.name + " with a label"
	}
	return b.name
}

// tellApart gives blocks with a label their kind.
func (s section) tellApart(body hcl.Body) {
	written, ok := body.(*hclsyntax.Body)
	if !ok {
		return
	}
	for _, b := range s.blocks {
		for _, found := range written.Blocks {
			if b.beside && found.Type == b.name && len(found.Labels) > 0 {
				found.Type = b.kind()
			}
		}
	}
}

// decode reads body as s says. Everything wrong is collected.
func (d *decoder) decode(body hcl.Body, s section) {
	s.tellApart(body)
	content, diags := body.Content(s.schema())
	d.diags = append(d.diags, diags...)
	if content == nil {
		return
	}
	for _, st := range s.settings {
		if attr := content.Attributes[st.name]; attr != nil {
			d.setting(attr, st)
		}
	}
	for _, b := range s.blocks {
		var first *hcl.Block
		for _, found := range content.Blocks.OfType(b.kind()) {
			if first != nil && !b.many {
				d.fault(found.DefRange, "Duplicate "+b.name+" block",
					fmt.Sprintf("There is one already, at %s:%d; put all settings there.", filepath.Base(first.DefRange.Filename), first.DefRange.Start.Line))
				continue
			}
			first = found
			d.block(found, b)
		}
	}
}

func (d *decoder) setting(attr *hcl.Attribute, st setting) {
	v, diags := attr.Expr.Value(d.eval)
	d.diags = append(d.diags, diags...)
	if diags.HasErrors() {
		return
	}
	v, marks := v.UnmarkDeep()
	if _, referred := marks[reference{}]; st.secret && !referred {
		d.fault(attr.Expr.Range(), "A secret in the configuration", fmt.Sprintf("Write the secret by reference: %s = file(\"path\") or env(\"NAME\").", st.name))
		return
	}
	if v.IsNull() || !v.IsWhollyKnown() {
		d.fault(attr.Expr.Range(), "No value for "+st.name, "Give a value or leave the setting out.")
		return
	}
	if err := st.set(d, v); err != nil {
		d.fault(attr.Expr.Range(), "Invalid value for "+st.name, sentence(err.Error()))
	}
}

func (d *decoder) block(found *hcl.Block, b block) {
	label := ""
	if len(found.Labels) > 0 {
		label = found.Labels[0]
	}
	s, err := b.open(d, found.DefRange, label)
	if err != nil {
		d.fault(found.DefRange, "Invalid "+b.name+" block", sentence(err.Error()))
		return
	}
	d.decode(found.Body, s)
}

func (s section) schema() *hcl.BodySchema {
	schema := &hcl.BodySchema{}
	for _, st := range s.settings {
		schema.Attributes = append(schema.Attributes, hcl.AttributeSchema{Name: st.name, Required: st.required})
	}
	for _, b := range s.blocks {
		h := hcl.BlockHeaderSchema{Type: b.kind()}
		if b.label != "" {
			h.LabelNames = []string{b.label}
		}
		schema.Blocks = append(schema.Blocks, h)
	}
	return schema
}

func sentence(s string) string {
	if s == "" {
		return s
	}
	s = strings.ToUpper(s[:1]) + s[1:]
	if !strings.HasSuffix(s, ".") {
		s += "."
	}
	return s
}

// The kinds of settings. Each takes where the value goes, the default as it is
// shown in the reference, and what the setting means.

func text(name string, to *string, def, doc string) setting {
	return setting{name: name, kind: "text", def: def, doc: doc, set: func(_ *decoder, v cty.Value) error {
		s, err := str(v)
		if err == nil {
			*to = s
		}
		return err
	}}
}

// parsed is a text that parse must accept.
func parsed[T any](name, kind string, to *T, parse func(string) (T, error), def, doc string) setting {
	return setting{name: name, kind: kind, def: def, doc: doc, set: func(_ *decoder, v cty.Value) error {
		s, err := str(v)
		if err != nil {
			return err
		}
		value, err := parse(s)
		if err == nil {
			*to = value
		}
		return err
	}}
}

// secret is a text that must not stand in the file itself.
func secret(name string, to *session.Secret, doc string) setting {
	s := parsed(name, "file() or env()", to, func(s string) (session.Secret, error) {
		if s == "" || strings.ContainsAny(s, "\r\n\x00") {
			return session.Secret{}, fmt.Errorf("it is empty or has several lines")
		}
		return session.NewSecret(s), nil
	}, "", doc)
	s.secret = true
	return s
}

// reference marks values that come from file() or env().
type reference struct{}

func choice(name string, to *string, choices []string, def, doc string) setting {
	return parsed(name, strings.Join(choices, " | "), to, func(s string) (string, error) {
		for _, c := range choices {
			if s == c {
				return s, nil
			}
		}
		return "", fmt.Errorf("%q is not one of: %s", s, strings.Join(choices, ", "))
	}, def, doc)
}

// file is a path; relative ones begin at the folder of the configuration file.
func file(name string, to *string, def, doc string) setting {
	return setting{name: name, kind: "path", def: def, doc: doc, set: func(d *decoder, v cty.Value) error {
		s, err := str(v)
		if err != nil {
			return err
		}
		if s == "" {
			return fmt.Errorf("the path is empty")
		}
		*to = d.path(s)
		return nil
	}}
}

func (d *decoder) path(s string) string {
	if filepath.IsAbs(s) {
		return filepath.Clean(s)
	}
	return filepath.Join(d.dir, s)
}

func duration(name string, to *time.Duration, def, doc string) setting {
	return parsed(name, "duration", to, parseDuration, def, doc)
}

func size[T ~int | ~int64](name string, to *T, def, doc string) setting {
	return parsed(name, "size", to, func(s string) (T, error) {
		n, err := ParseSize(s)
		return T(n), err
	}, def, doc)
}

// kib is a size that is kept in KiB.
func kib(name string, to *int, def, doc string) setting {
	return parsed(name, "size", to, func(s string) (int, error) {
		n, err := ParseSize(s)
		if err == nil && n < 1<<10 {
			err = fmt.Errorf("%q is less than 1KiB", s)
		}
		return int(n >> 10), err
	}, def, doc)
}

// ParseSize reads a number of bytes such as "512", "64KiB", "35MiB" or "2GiB".
func ParseSize(s string) (int64, error) {
	units := []struct {
		suffix string
		bytes  int64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"B", 1}, {"", 1}}
	for _, u := range units {
		number, found := strings.CutSuffix(s, u.suffix)
		if !found {
			continue
		}
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil || n <= 0 || n > (1<<62)/u.bytes {
			break
		}
		return n * u.bytes, nil
	}
	return 0, fmt.Errorf("%q is not a size such as \"64KiB\", \"35MiB\" or \"2GiB\"", s)
}

// count is a whole number from 1 to most.
func count(name string, to *int, most int, def, doc string) setting {
	return setting{name: name, kind: "number", def: def, doc: doc, set: func(_ *decoder, v cty.Value) error {
		if v.Type() != cty.Number {
			return fmt.Errorf("a number is expected, not %s", v.Type().FriendlyName())
		}
		n, exact := v.AsBigFloat().Int64()
		if exact != 0 || n < 1 || n > int64(most) {
			return fmt.Errorf("a whole number from 1 to %d is expected", most)
		}
		*to = int(n)
		return nil
	}}
}

func flag(name string, to *bool, def, doc string) setting {
	return setting{name: name, kind: "true | false", def: def, doc: doc, set: func(_ *decoder, v cty.Value) error {
		if v.Type() != cty.Bool {
			return fmt.Errorf("true or false is expected, not %s", v.Type().FriendlyName())
		}
		*to = v.True()
		return nil
	}}
}

// list is a list of texts that parse must accept, or one of them alone.
func list[T any](name, kind string, to *[]T, parse func(string) (T, error), def, doc string) setting {
	return setting{name: name, kind: "list of " + kind, def: def, doc: doc, set: func(_ *decoder, v cty.Value) error {
		if v.Type() == cty.String {
			v = cty.TupleVal([]cty.Value{v})
		}
		if !v.CanIterateElements() || v.Type().IsMapType() || v.Type().IsObjectType() {
			return fmt.Errorf("a list such as [\"a\", \"b\"] is expected, not %s", v.Type().FriendlyName())
		}
		var values []T
		for it := v.ElementIterator(); it.Next(); {
			_, element := it.Element()
			s, err := str(element)
			if err != nil {
				return err
			}
			value, err := parse(s)
			if err != nil {
				return err
			}
			values = append(values, value)
		}
		*to = values
		return nil
	}}
}

func str(v cty.Value) (string, error) {
	if v.IsNull() || v.Type() != cty.String {
		return "", fmt.Errorf("a text in quotes is expected, not %s", v.Type().FriendlyName())
	}
	return v.AsString(), nil
}

// parseNetwork reads a network, or an address as the network of itself.
func parseNetwork(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is not a network such as \"192.0.2.0/24\"", s)
	}
	if prefix != prefix.Masked() {
		return netip.Prefix{}, fmt.Errorf("%q has bits beyond its mask; did you mean %q", s, prefix.Masked())
	}
	return prefix, nil
}

// functions are what a value may call: secrets and what differs between hosts
// come by reference.
func (d *decoder) functions() map[string]function.Function {
	one := []function.Parameter{{Name: "name", Type: cty.String}}
	return map[string]function.Function{
		"file": function.New(&function.Spec{Params: one, Type: function.StaticReturnType(cty.String),
			Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
				content, err := os.ReadFile(d.path(args[0].AsString()))
				if err != nil {
					return cty.NilVal, err
				}
				return cty.StringVal(strings.TrimRight(string(content), "\r\n")).Mark(reference{}), nil
			}}),
		"env": function.New(&function.Spec{Params: one, Type: function.StaticReturnType(cty.String),
			Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
				value, found := os.LookupEnv(args[0].AsString())
				if !found {
					return cty.NilVal, fmt.Errorf("the environment variable %s is not set", args[0].AsString())
				}
				return cty.StringVal(value).Mark(reference{}), nil
			}}),
	}
}
