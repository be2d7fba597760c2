package foreign

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sqlite makes a database by statements, and returns it as a file.
func sqlite(t testing.TB, statements ...string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "proftpd.db")
	db, err := sql.Open("sqlite", name)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

const (
	usualUsers  = "CREATE TABLE users (userid TEXT, passwd TEXT, uid INTEGER, gid INTEGER, homedir TEXT, shell TEXT)"
	usualGroups = "CREATE TABLE groups (groupname TEXT, gid INTEGER, members TEXT)"
	sqlConf     = "SQLAuthTypes Crypt\n"
)

func TestSQLite(t *testing.T) {
	t.Parallel()
	usual := sqlite(t, usualUsers, usualGroups,
		`INSERT INTO users VALUES ('joe', '$6$salt$hash', 2001, 300, '/srv/joe', ''), ('root', '$6$a$b', 0, 0, '/', ''), ('open', '', 2002, 300, '/srv', ''), ('null', NULL, 2003, NULL, NULL, NULL)`,
		`INSERT INTO groups VALUES ('clients', 300, ''), ('press', 301, 'ann, joe')`)
	other := sqlite(t, `CREATE TABLE "ftp users" (login TEXT, pw TEXT)`, `INSERT INTO "ftp users" VALUES ('ann', '$6$x$y')`)
	wal := sqlite(t, "PRAGMA journal_mode = wal", usualUsers, `INSERT INTO users VALUES ('joe', '$6$salt$hash', 2001, 300, '/srv/joe', '')`)
	for name, tc := range map[string]struct {
		db, conf string
		want     []string // in what is found
	}{
		"usual":           {usual, sqlConf, []string{"account joe", "[clients press]", "home /srv/joe", `refused "root" at db:2`, `refused "open" at db:3`, `refused "null" at db:4`}},
		"other names":     {other, sqlConf + `SQLUserInfo "ftp users" login pw NULL NULL NULL NULL` + "\n", []string{"account ann", "hash $6$x$y"}},
		"too few names":   {other, sqlConf + `SQLUserInfo "ftp users" login pw` + "\n", []string{"error", "names a table and 5 columns"}},
		"no such column":  {usual, sqlConf + "SQLUserInfo users userid password uid gid homedir shell\n", []string{"error", "no such column", "SQLUserInfo in proftpd.conf"}},
		"no such table":   {other, sqlConf, []string{"error", "no such table: users"}},
		"queries":         {usual, sqlConf + "SQLUserInfo custom:/get-user-by-name\n", []string{"error", "asks by a query of its own"}},
		"with a clause":   {usual, sqlConf + "SQLUserWhereClause \"active = 1\"\n", []string{"account joe", "SQLUserWhereClause is not asked"}},
		"changes beside":  {wal, sqlConf, []string{"account joe", "db-wal, if there is one, is not read"}},
		"cut off":         {usual[:len(usual)/2], sqlConf, []string{"error"}},
		"the magic only":  {sqliteMagic, sqlConf, []string{"error"}},
		"overwritten":     {usual[:100] + strings.Repeat("\xff", len(usual)-100), sqlConf, []string{"error"}},
		"a long cell":     {sqlite(t, usualUsers, `INSERT INTO users VALUES ('joe', hex(zeroblob(100000)), 2001, 300, '', '')`), sqlConf, []string{`refused "joe" at db:1`, "too long"}},
		"a blob for text": {sqlite(t, usualUsers, `INSERT INTO users VALUES (x'6a6fff', '$6$a$b', 'x', 3.5, '', '')`), sqlConf, []string{`at db:1: its number "x" is none`}},
		"a view": {sqlite(t, usualUsers, "ALTER TABLE users RENAME TO accounts", `INSERT INTO accounts VALUES ('joe', '$6$a$b', 2001, 300, '', '')`,
			"CREATE VIEW users AS SELECT * FROM accounts"), sqlConf, []string{"account joe"}},
	} {
		found, err := read("proftpd", memory{"proftpd.conf": tc.conf, "db": tc.db}, []string{"proftpd.conf", "db"})
		got := render(found, err)
		for _, want := range tc.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: no %q in\n%s", name, want, got)
			}
		}
	}
}

// A view that makes rows without end is given up: at the bound of rows, or where those take
// too long, as by the race detector, at that of time.
func TestSQLiteViewWithoutEnd(t *testing.T) {
	t.Parallel()
	db := sqlite(t, `CREATE VIEW users AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
		SELECT 'u' || i AS userid, '$6$a$b' AS passwd, i + 1000 AS uid, 1 AS gid, '' AS homedir, '' AS shell FROM n`)
	_, err := read("proftpd", memory{"proftpd.conf": sqlConf, "db": db}, []string{"proftpd.conf", "db"})
	if err == nil || !strings.Contains(err.Error(), "more than 250000 rows") && !strings.Contains(err.Error(), "takes longer than") {
		t.Errorf("got %v, want a bound", err)
	}
}

func FuzzSQLite(f *testing.F) {
	f.Add([]byte(sqlite(f, usualUsers, usualGroups, `INSERT INTO users VALUES ('joe', '$6$a$b', 2001, 300, '/srv/joe', '')`)))
	f.Add([]byte(sqliteMagic))
	f.Fuzz(func(t *testing.T, content []byte) {
		found, err := read("proftpd", memory{"proftpd.conf": sqlConf, "db": string(content)}, []string{"proftpd.conf", "db"})
		if err == nil && len(found.Accounts) > maxSQLRows {
			t.Errorf("%d accounts", len(found.Accounts))
		}
	})
}
