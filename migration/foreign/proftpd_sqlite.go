package foreign

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

const (
	// sqliteMagic begins a database (sqlite.org/fileformat2.html, section 1.3).
	sqliteMagic = "SQLite format 3\x00"
	// walVersion is the read and write version, at walAt and behind it, of one whose last changes may
	// be in a file beside it; deleteVersion that of all others.
	walAt         = 18
	walVersion    = 2
	deleteVersion = 1
	// maxSQLRows is how many rows a table may have.
	maxSQLRows = 250_000
	// sqlTime is for all that is asked of a database: a view may be made so that it never ends.
	sqlTime = 30 * time.Second
)

// A database is a file of SQLite that was given, to be read when proftpd.conf is known.
type database struct {
	name    string
	content []byte
}

// sqlTable is a table with its columns, as SQLUserInfo and SQLGroupInfo name them
// (proftpd.org/docs/contrib/mod_sql.html): "NULL" is a column that there is not.
type sqlTable struct {
	name    string
	columns []string
}

// userTable and groupTable are the tables that the configuration names, or the usual ones. Where
// queries of its own take their place, they are an error.
func (p *proFTPD) userTable() (sqlTable, error) {
	return p.sqlTable("SQLUserInfo", sqlTable{"users", []string{sqlName, sqlPassword, sqlUID, sqlGID, sqlHome}})
}

func (p *proFTPD) groupTable() (sqlTable, error) {
	return p.sqlTable("SQLGroupInfo", sqlTable{"groups", []string{"groupname", "gid", "members"}})
}

func (p *proFTPD) sqlTable(directive string, usual sqlTable) (sqlTable, error) {
	out := usual
	for _, d := range p.conf {
		switch {
		case !d.is(directive):
		case len(d.args) > 0 && strings.HasPrefix(d.args[0], "custom:"):
			return out, fmt.Errorf("%s: %s asks by a query of its own, which is not run: give the users as CSV with the columns userid,passwd,uid,gid,homedir", d.at, d.name)
		case len(d.args) > len(usual.columns):
			out = sqlTable{d.args[0], slices.Clone(d.args[1 : 1+len(usual.columns)])}
		default:
			return out, fmt.Errorf("%s: %s names a table and %d columns", d.at, d.name, len(usual.columns))
		}
	}
	return out, nil
}

// readDatabases takes in the users of the databases that were given.
func (p *proFTPD) readDatabases() error {
	for _, d := range p.databases {
		if err := p.readDatabase(d); err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
	}
	return nil
}

func (p *proFTPD) readDatabase(d database) error {
	users, err := p.userTable()
	if err != nil {
		return err
	}
	groups, err := p.groupTable()
	if err != nil {
		return err
	}
	content := slices.Clone(d.content)
	if len(content) > walAt+1 && content[walAt] == walVersion {
		p.found.note("%s: what stands in %s-wal, if there is one, is not read: import a copy that is made by: sqlite3 %s '.backup copy.db'", d.name, d.name, d.name)
		content[walAt], content[walAt+1] = deleteVersion, deleteVersion
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), sqlTime, fmt.Errorf("it takes longer than %v to read", sqlTime))
	defer cancel()
	db, err := sql.Open("sqlite", ":memory:?_pragma=trusted_schema(off)")
	if err != nil {
		return err
	}
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := load(conn, content); err != nil {
		return err
	}
	if _, err := conn.ExecContext(ctx, "PRAGMA query_only = on"); err != nil {
		return err
	}
	err = p.sqlRows(ctx, conn, d.name, users)
	if err == nil {
		err = p.sqlGroups(ctx, conn, d.name, groups)
	}
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return err
}

// load puts a database into memory, so that no file is written or locked.
func load(conn *sql.Conn, content []byte) error {
	return conn.Raw(func(driver any) error {
		d, can := driver.(interface{ Deserialize([]byte) error })
		if !can {
			return errors.New("this build cannot read databases: give the users as CSV")
		}
		return d.Deserialize(content)
	})
}

// query reads the columns of a table, each as text; of one that is named NULL nothing.
func (t sqlTable) query(ctx context.Context, conn *sql.Conn, row func(number int, cells []sql.NullString) error) error {
	var names []string
	for _, c := range t.columns {
		if strings.EqualFold(c, "NULL") {
			names = append(names, "NULL")
			continue
		}
		// In quotes and with its table, so that a name that is no column is not taken for a text.
		names = append(names, "CAST("+quoted(t.name)+"."+quoted(c)+" AS TEXT)")
	}
	rows, err := conn.QueryContext(ctx, fmt.Sprintf("SELECT %s FROM %s LIMIT %d", strings.Join(names, ", "), quoted(t.name), maxSQLRows+1))
	if err != nil {
		return err
	}
	defer rows.Close()
	for number := 1; rows.Next(); number++ {
		if number > maxSQLRows {
			return fmt.Errorf("table %s has more than %d rows", t.name, maxSQLRows)
		}
		cells := make([]sql.NullString, len(t.columns))
		into := make([]any, len(cells))
		for i := range cells {
			into[i] = &cells[i]
		}
		if err := rows.Scan(into...); err != nil {
			return err
		}
		if err := row(number, cells); err != nil {
			return err
		}
	}
	return rows.Err()
}

// quoted is a name as SQL has it.
func quoted(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// sqlRows takes in the table of users.
func (p *proFTPD) sqlRows(ctx context.Context, conn *sql.Conn, file string, t sqlTable) error {
	err := t.query(ctx, conn, func(number int, cells []sql.NullString) error {
		r := sqlRow{at: Position{file, number}, name: cells[0].String, password: cells[1].String, uid: cells[2].String, gid: cells[3].String, home: cells[4].String}
		if slices.ContainsFunc(cells, func(c sql.NullString) bool { return len(c.String) > maxLineBytes || strings.Contains(c.String, "\x00") }) {
			p.found.refuse(r.at, clip(r.name), "a cell is too long, or has a NUL in it")
		} else {
			r.name, r.password, r.home = text([]byte(r.name)), text([]byte(r.password)), text([]byte(r.home))
			p.rows = append(p.rows, r)
		}
		if len(p.found.Refused) > maxRefusals {
			return fmt.Errorf("more than %d rows are not taken: is it another kind of table?", maxRefusals)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read the users of table %s, with the columns %s: %w; others are named by SQLUserInfo in proftpd.conf: give that file too",
			t.name, strings.Join(t.columns, ", "), err)
	}
	if p.rows == nil {
		p.rows = []sqlRow{}
	}
	return nil
}

// sqlGroups takes in the table of groups, if there is one: a user is in a group by its number, or
// as one of its members.
func (p *proFTPD) sqlGroups(ctx context.Context, conn *sql.Conn, file string, t sqlTable) error {
	var there bool
	if err := conn.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = ? COLLATE NOCASE)", t.name).Scan(&there); err != nil || !there {
		return err
	}
	p.sqlGroup, p.sqlMember = make(map[string]string), make(map[string][]string)
	err := t.query(ctx, conn, func(_ int, cells []sql.NullString) error {
		name, gid := clip(text([]byte(cells[0].String))), cells[1].String
		if name == "" {
			return nil
		}
		if gid != "" {
			p.sqlGroup[gid] = name
		}
		for member := range strings.SplitSeq(cells[2].String, ",") {
			if member = strings.TrimSpace(member); member != "" && !slices.Contains(p.sqlMember[member], name) {
				p.sqlMember[member] = append(p.sqlMember[member], name)
			}
		}
		return nil
	})
	if err != nil {
		p.found.note("%s: groups are not taken: table %s with the columns %s: %v", file, t.name, strings.Join(t.columns, ", "), err)
	}
	return nil
}

// groupsOf are the groups of a user of mod_sql.
func (p *proFTPD) groupsOf(r sqlRow) []string {
	out := slices.Clone(p.sqlMember[r.name])
	if g := p.sqlGroup[r.gid]; g != "" {
		out = append(out, g)
	}
	slices.SortFunc(out, cmp.Compare[string])
	return slices.Compact(out)
}

// isDatabase reports whether a file is one of SQLite.
func isDatabase(content []byte) bool { return bytes.HasPrefix(content, []byte(sqliteMagic)) }
