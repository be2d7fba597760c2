package main

import (
	"fmt"
	"strings"
	"testing"

	"gateway/admin"
)

func TestHashSheet(t *testing.T) {
	t.Parallel()
	r := admin.HashReport{Rows: []admin.HashRow{
		{Scheme: "argon2id(des-crypt)", Accounts: 30, WorkMicros: 32_304, MemoryKiB: 19456, Class: "normal", PerSecond: 30.95, CutAt: 8, Never: 30},
	}}
	for i := range 30 {
		r.Never = append(r.Never, fmt.Sprint("user", i))
	}
	s := hashSheet(r)
	var out strings.Builder
	if err := s.WriteText(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"SCHEME ", "argon2id(des-crypt)  30        32.3ms  19456 KiB  normal  30.95       8       30",
		"\nNever logged in with the imported password: user0, user1, ", "user19 and 10 more",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}
