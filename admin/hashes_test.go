package admin

import (
	"reflect"
	"testing"
	"time"
)

func TestHashReport(t *testing.T) {
	t.Parallel()
	day := time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)
	ours := StoredPassword{Scheme: "argon2id", WorkMicros: 32_000, MemoryKiB: 19456}
	with := func(p StoredPassword, user, imported string, proven time.Time) StoredPassword {
		p.User, p.Imported, p.Proven = user, imported, proven
		return p
	}
	dear := StoredPassword{Scheme: "argon2id", WorkMicros: 4_000_000, MemoryKiB: 8192, Heavy: true}
	cut := ours
	cut.CutAt = 8
	list := []StoredPassword{
		with(ours, "ann", "", time.Time{}),
		with(ours, "bob", "md5-crypt", day),
		with(cut, "cid", "des-crypt", day),
		with(dear, "dee", "argon2id", time.Time{}),
		with(dear, "eve", "argon2id", time.Time{}),
		{User: "fay", Unusable: true},
	}
	want := HashReport{
		Rows: []HashRow{
			{Scheme: "argon2id", Accounts: 2, WorkMicros: 4_000_000, MemoryKiB: 8192, Class: "heavy", PerSecond: 0.25, Never: 2},
			{Scheme: "argon2id", Accounts: 2, WorkMicros: 32_000, MemoryKiB: 19456, Class: "normal", PerSecond: 31.25},
			{Scheme: "argon2id", Accounts: 1, WorkMicros: 32_000, MemoryKiB: 19456, Class: "normal", PerSecond: 31.25, CutAt: 8},
		},
		Never: []string{"dee", "eve"}, Unusable: []string{"fay"},
	}
	if got := Hashes(list, nil); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	some := Hashes(list, func(user string) bool { return user == "dee" })
	if len(some.Rows) != 1 || some.Rows[0].Accounts != 1 || len(some.Unusable) != 0 {
		t.Errorf("of one account: got %+v", some)
	}
}
