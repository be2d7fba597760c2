package foreign

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
)

// directive is one of proftpd.conf.
type directive struct {
	at      Position
	name    string
	args    []string
	section string // the innermost, such as "Limit LOGIN"; empty outside of all
}

func (d directive) is(name string) bool { return strings.EqualFold(d.name, name) }

// The bounds of a configuration.
const (
	maxIncludes   = 8 // of which one is in another
	maxDirectives = 20_000
)

// readDirectives reads a proftpd.conf with what it includes.
func readDirectives(files Files, name string, content []byte, found *Found) ([]directive, error) {
	r := directiveReader{files: files, found: found}
	if err := r.read(name, content, 0); err != nil {
		return nil, err
	}
	if len(r.list) == 0 {
		return nil, fmt.Errorf("%s is neither a proftpd.conf, nor an AuthUserFile, nor an AuthGroupFile, nor CSV with the columns userid,passwd, nor a database of SQLite", name)
	}
	return r.list, nil
}

type directiveReader struct {
	files    Files
	found    *Found
	list     []directive
	sections []string
}

func (r *directiveReader) read(name string, content []byte, depth int) error {
	if depth > maxIncludes {
		return fmt.Errorf("%s: more than %d files include each other", name, maxIncludes)
	}
	for l := range lines(name, content, r.found) {
		words := splitWords(strings.TrimSpace(l.Text))
		switch {
		case len(words) == 0 || strings.HasPrefix(words[0], "#"):
			continue
		case len(r.list) >= maxDirectives:
			return fmt.Errorf("%s: more than %d directives", l.At, maxDirectives)
		case strings.HasPrefix(words[0], "</"):
			r.sections = r.sections[:max(0, len(r.sections)-1)]
			continue
		case strings.HasPrefix(words[0], "<"):
			section := strings.Trim(strings.Join(words, " "), "<>")
			// What depends on modules is taken as if they were there.
			r.sections = append(r.sections, section)
			words = strings.Fields(section)
			if len(words) == 0 {
				continue
			}
		}
		d := directive{at: l.At, name: words[0], args: words[1:], section: r.section()}
		if d.is("Include") && len(d.args) > 0 {
			if err := r.include(d, depth); err != nil {
				return err
			}
			continue
		}
		r.list = append(r.list, d)
	}
	return nil
}

// section is the innermost that is about more than modules.
func (r *directiveReader) section() string {
	for _, s := range slices.Backward(r.sections) {
		if word, _, _ := strings.Cut(s, " "); !slices.Contains([]string{"IfModule", "Global", "IfDefine", "IfAuthenticated"}, word) {
			return s
		}
	}
	return ""
}

// include reads a file, or those of a folder whose names match.
func (r *directiveReader) include(d directive, depth int) error {
	names := []string{d.args[0]}
	if folder, pattern := path.Split(d.args[0]); strings.ContainsAny(pattern, "*?[") || pattern == "" {
		all, err := r.files.List(path.Clean(folder))
		if err != nil {
			r.found.note("%s: Include %s is not read: %v", d.at, clip(d.args[0]), err)
			return nil
		}
		names = nil
		for _, n := range all {
			if ok, err := path.Match(pattern, n); pattern == "" || ok && err == nil {
				names = append(names, path.Join(folder, n))
			}
		}
	}
	for _, name := range names {
		content, err := r.files.Read(name)
		if err != nil {
			r.found.note("%s: Include %s is not read: %v", d.at, clip(name), err)
			continue
		}
		if err := r.read(name, content, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// splitWords divides a line at spaces that are not in quotes.
func splitWords(text string) []string {
	var words []string
	for text = strings.TrimLeft(text, " \t"); text != ""; text = strings.TrimLeft(text, " \t") {
		if inner, quoted := strings.CutPrefix(text, `"`); quoted {
			word, rest, _ := strings.Cut(inner, `"`)
			words, text = append(words, word), rest
			continue
		}
		end := strings.IndexAny(text, " \t")
		if end < 0 {
			end = len(text)
		}
		words, text = append(words, text[:end]), text[end:]
	}
	return words
}

// sqlRow is a user of mod_sql.
type sqlRow struct {
	at                             Position
	name, password, uid, gid, home string
}

// The columns of SQLUserInfo's usual table.
const (
	sqlName     = "userid"
	sqlPassword = "passwd"
	sqlUID      = "uid"
	sqlGID      = "gid"
	sqlHome     = "homedir"
)

func sqlColumns(header []string) map[string]int {
	at := make(map[string]int)
	for i, name := range header {
		at[strings.ToLower(strings.TrimSpace(name))] = i
	}
	return at
}

// isSQLHeader reports whether a line names the columns of such a table.
func isSQLHeader(text string) bool {
	at := sqlColumns(strings.Split(strings.ReplaceAll(text, `"`, ""), ","))
	_, name := at[sqlName]
	_, password := at[sqlPassword]
	return name && password
}

// readSQLRows reads a table as CSV (RFC 4180), whose first line names the columns.
func readSQLRows(name string, content []byte, found *Found) ([]sqlRow, error) {
	in := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(content, []byte("\xef\xbb\xbf"))))
	in.FieldsPerRecord = -1
	header, err := in.Read()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	at := sqlColumns(header)
	var rows []sqlRow
	for {
		fields, err := in.Read()
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		number, _ := in.FieldPos(0)
		cell := func(column string) string {
			if i, ok := at[column]; ok && i < len(fields) {
				return text([]byte(fields[i]))
			}
			return ""
		}
		r := sqlRow{at: Position{name, number}, name: cell(sqlName), password: cell(sqlPassword), uid: cell(sqlUID), home: cell(sqlHome)}
		switch {
		case len(fields) != len(header):
			found.refuse(r.at, r.name, "the line has %d columns, and the first %d", len(fields), len(header))
		case slices.ContainsFunc(fields, func(f string) bool { return len(f) > maxLineBytes || strings.Contains(f, "\x00") }):
			found.refuse(r.at, clip(r.name), "a cell is too long, or has a NUL in it")
		default:
			rows = append(rows, r)
		}
		if len(found.Refused) > maxRefusals {
			return rows, fmt.Errorf("%s: more than %d lines are not taken: is it another kind of file?", name, maxRefusals)
		}
	}
}
