package foreign

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"gateway/session"
)

func csvFormat() Format {
	return Format{
		Name: "csv", Files: "FILE.CSV", Short: "a table whose first line names its columns: " + strings.Join(csvColumns(), ","),
		Read: ofOneFile(readCSV),
	}
}

func csvColumns() []string {
	return []string{"name", "password", "hash", "groups", "home", "addresses", "keys", "quota_bytes", "quota_files", "bandwidth", "expires", "disabled", "from"}
}

// readCSV reads a table (RFC 4180), with commas or semicolons.
func readCSV(name string, content []byte) (Found, error) {
	var found Found
	content = bytes.TrimPrefix(content, []byte("\xef\xbb\xbf"))
	in := csv.NewReader(strings.NewReader(text(content)))
	first, _, _ := bytes.Cut(content, []byte("\n"))
	if !bytes.Contains(first, []byte(",")) && bytes.Contains(first, []byte(";")) {
		in.Comma = ';'
	}
	in.FieldsPerRecord = -1
	header, err := in.Read()
	if errors.Is(err, io.EOF) {
		return found, fmt.Errorf("%s is empty: the first line names the columns, such as name,hash,home", name)
	}
	if err != nil {
		return found, fmt.Errorf("%s: %w", name, err)
	}
	if err := csvHeader(header); err != nil {
		return found, fmt.Errorf("%s:1: %w", name, err)
	}
	for {
		cells, err := in.Read()
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil { // what follows cannot be told apart
			return Found{}, fmt.Errorf("%s: %w", name, err)
		}
		number, _ := in.FieldPos(0)
		at := Position{name, number}
		csvRow(at, header, cells, &found)
		if found.full(at) {
			return found, nil
		}
	}
}

// csvHeader cleans the names of columns and checks them.
func csvHeader(header []string) error {
	for i, h := range header {
		header[i] = strings.ToLower(strings.TrimSpace(h))
		if !slices.Contains(csvColumns(), header[i]) {
			return fmt.Errorf("column %q is not known%s; there are %s", clip(h), csvSuggestion(header[i]), strings.Join(csvColumns(), ","))
		}
		if slices.Contains(header[:i], header[i]) {
			return fmt.Errorf("column %q comes twice", header[i])
		}
	}
	if !slices.Contains(header, "name") {
		return errors.New("there is no column name")
	}
	return nil
}

// csvSuggestion is the column that is meant by a word that other programs use.
func csvSuggestion(word string) string {
	meant := map[string]string{
		"user": "name", "username": "name", "user_name": "name", "login": "name", "account": "name", "userid": "name", "uid": "name",
		"passwd": "hash", "password_hash": "hash", "crypt": "hash", "pass": "password", "secret": "password",
		"group": "groups", "homedir": "home", "home_dir": "home", "home_directory": "home", "directory": "home", "path": "home",
		"email": "addresses", "mail": "addresses", "address": "addresses", "key": "keys", "public_key": "keys", "public_keys": "keys", "ssh_key": "keys",
		"quota": "quota_bytes", "quota_size": "quota_bytes", "size": "quota_bytes", "files": "quota_files", "speed": "bandwidth", "rate": "bandwidth",
		"expiry": "expires", "expiration": "expires", "expiration_date": "expires", "enabled": "disabled", "active": "disabled", "locked": "disabled",
		"ip": "from", "ips": "from", "network": "from", "networks": "from", "allowed_ip": "from",
	}
	switch column := meant[word]; {
	case column == "disabled" && word != "locked":
		return ` (did you mean "disabled", with yes and no the other way round?)`
	case column != "":
		return fmt.Sprintf(" (did you mean %q?)", column)
	}
	for _, column := range csvColumns() {
		if len(word) > 2 && (strings.HasPrefix(column, word) || strings.HasPrefix(word, column)) {
			return fmt.Sprintf(" (did you mean %q?)", column)
		}
	}
	return ""
}

func csvRow(at Position, header, cells []string, found *Found) {
	if len(cells) == 1 && cells[0] == "" {
		return
	}
	a := Account{At: at}
	if i := slices.Index(header, "name"); i < len(cells) {
		a.Name = cells[i]
	}
	switch {
	case len(cells) != len(header):
		found.refuse(at, clip(a.Name), "the line has %d columns, and the first %d: put a cell with a comma in it in quotes", len(cells), len(header))
		return
	case a.Name == "":
		found.refuse(at, "", "it has no name")
		return
	case slices.ContainsFunc(cells, func(c string) bool { return len(c) > maxLineBytes || strings.Contains(c, "\x00") }):
		found.refuse(at, clip(a.Name), "a cell is longer than %d bytes, or has a NUL in it", maxLineBytes)
		return
	}
	for i, column := range header {
		if err := a.setColumn(column, cells[i]); err != nil {
			found.refuse(at, clip(a.Name), "%s: %v", column, err)
			return
		}
	}
	switch {
	case a.Hash != "" && !a.Plain.Empty():
		found.refuse(at, clip(a.Name), "it has a password and a hash: leave one empty")
	case a.Hash == "" && a.Plain.Empty() && len(a.Keys) == 0:
		found.refuse(at, clip(a.Name), "it has no password, no hash and no key: it could not log in")
	default:
		found.add(a)
	}
}

// setColumn reads one cell. An empty one says nothing.
func (a *Account) setColumn(column, cell string) (err error) {
	if cell == "" {
		return nil
	}
	switch column {
	case "password":
		a.Plain = session.NewSecret(cell)
	case "hash":
		a.Hash = cell
	case "groups":
		a.Groups = strings.Fields(cell)
	case "home":
		a.Home = cell
	case "addresses":
		a.Addresses = strings.Fields(cell)
	case "keys":
		for key := range strings.Lines(cell) {
			if key = strings.TrimSpace(key); key != "" {
				a.Keys = append(a.Keys, key)
			}
		}
	case "quota_bytes":
		a.Quota.Bytes, err = csvNumber(cell)
	case "quota_files":
		a.Quota.Files, err = csvNumber(cell)
	case "bandwidth":
		a.Bandwidth, err = csvNumber(cell)
	case "expires":
		a.Expires, err = csvTime(cell)
	case "disabled":
		a.Disabled, err = csvBool(cell)
	case "from":
		a.From, err = networks(strings.Fields(cell))
	}
	return err
}

func csvNumber(cell string) (int64, error) {
	n, err := strconv.ParseInt(cell, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q is no number; bytes are written out, 1 GiB as 1073741824", clip(cell))
	}
	return n, nil
}

// csvTime reads a day, at whose beginning in UTC the account ends, or a moment.
func csvTime(cell string) (time.Time, error) {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, cell); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no day such as 2027-01-31, and no moment such as 2027-01-31T18:00:00Z", clip(cell))
}

func csvBool(cell string) (bool, error) {
	switch strings.ToLower(cell) {
	case "yes", "true", "1":
		return true, nil
	case "no", "false", "0":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither yes nor no", clip(cell))
}
