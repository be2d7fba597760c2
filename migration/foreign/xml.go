package foreign

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// The bounds of XML.
const (
	maxXMLDepth = 32
	// maxXMLElements is of one element that is looked at, such as an account.
	maxXMLElements = 20_000
)

// element is one of XML, with what is in it. Names are without their namespaces.
type element struct {
	at         Position
	name       string
	attributes map[string]string
	text       string
	children   []*element
}

// all are the children of a name.
func (e *element) all(name string) []*element {
	var out []*element
	for _, c := range e.children {
		if c.name == name {
			out = append(out, c)
		}
	}
	return out
}

// child is the first of a name, or an empty one.
func (e *element) child(name string) *element {
	for _, c := range e.children {
		if c.name == name {
			return c
		}
	}
	return &element{at: e.at, name: name}
}

// readXML calls each with every element for which wanted is true of the names that lead to
// it, from the root on, and with what is in it, as long as each returns true. Nothing refers to other files: entities
// that a document defines itself are an error of encoding/xml.
func readXML(name string, content []byte, wanted func(path []string) bool, each func(*element) bool) error {
	r := xmlReader{name: name}
	if bytes.HasPrefix(content, []byte("\xff\xfe")) || bytes.HasPrefix(content, []byte("\xfe\xff")) {
		return fmt.Errorf("%s is in UTF-16: save it as UTF-8 (iconv -f UTF-16 -t UTF-8), with that in its first line", name)
	}
	content = bytes.TrimPrefix(content, []byte("\xef\xbb\xbf"))
	if !utf8.Valid(content) {
		content = []byte(text(content))
	}
	r.in = xml.NewDecoder(bytes.NewReader(content))
	r.in.CharsetReader = func(charset string, input io.Reader) (io.Reader, error) {
		switch strings.ToLower(charset) {
		case "us-ascii", "ascii", "iso-8859-1", "windows-1252": // made UTF-8 above
			return input, nil
		}
		return nil, fmt.Errorf("it says that it is in %s: save it as UTF-8", clip(charset))
	}
	err := r.walk(wanted, each)
	if err == nil {
		return nil
	}
	line, _ := r.in.InputPos()
	said := err.Error()
	if syntax := new(xml.SyntaxError); errors.As(err, &syntax) {
		line, said = syntax.Line, syntax.Msg+": it is not whole, or no XML"
	}
	return fmt.Errorf("%v: %s", Position{name, line}, clipLong(said))
}

// clipLong shortens what another package says.
func clipLong(s string) string {
	const limit = 300
	if len(s) > limit {
		return strings.ToValidUTF8(s[:limit], "") + "..."
	}
	return s
}

// xmlReader reads one document.
type xmlReader struct {
	name string
	in   *xml.Decoder
	path []string
}

func (r *xmlReader) walk(wanted func(path []string) bool, each func(*element) bool) error {
	rooted := false
	for {
		token, err := r.in.Token()
		if errors.Is(err, io.EOF) {
			if !rooted {
				return errors.New("it has no element: it is no XML")
			}
			return nil
		}
		if err != nil {
			return err
		}
		switch token := token.(type) {
		case xml.StartElement:
			rooted = true
			if len(r.path) >= maxXMLDepth {
				return errTooDeep()
			}
			r.path = append(r.path, token.Name.Local)
			if !wanted(r.path) {
				continue
			}
			left := maxXMLElements
			e, err := r.element(token, &left, len(r.path))
			if err != nil || !each(e) {
				return err
			}
			r.path = r.path[:len(r.path)-1]
		case xml.EndElement:
			r.path = r.path[:len(r.path)-1]
		}
	}
}

func errTooDeep() error {
	return fmt.Errorf("elements are more than %d deep: it is no file of accounts", maxXMLDepth)
}

// element reads up to the end of one that has begun.
func (r *xmlReader) element(start xml.StartElement, left *int, depth int) (*element, error) {
	line, _ := r.in.InputPos()
	e := &element{at: Position{r.name, line}, name: start.Name.Local, attributes: make(map[string]string)}
	for _, a := range start.Attr {
		if len(a.Value) > maxLineBytes {
			return nil, fmt.Errorf("attribute %s is longer than %d bytes", clip(a.Name.Local), maxLineBytes)
		}
		e.attributes[a.Name.Local] = a.Value
	}
	if *left--; *left < 0 {
		return nil, fmt.Errorf("<%s> has more than %d elements in it", clip(r.path[len(r.path)-1]), maxXMLElements)
	}
	if depth > maxXMLDepth {
		return nil, errTooDeep()
	}
	var inside strings.Builder
	for {
		token, err := r.in.Token()
		if err != nil {
			return nil, err
		}
		switch token := token.(type) {
		case xml.StartElement:
			c, err := r.element(token, left, depth+1)
			if err != nil {
				return nil, err
			}
			e.children = append(e.children, c)
		case xml.CharData:
			if inside.Write(token); inside.Len() > maxLineBytes {
				return nil, fmt.Errorf("the text of <%s> is longer than %d bytes", clip(e.name), maxLineBytes)
			}
		case xml.EndElement:
			e.text = inside.String()
			return e, nil
		}
	}
}
