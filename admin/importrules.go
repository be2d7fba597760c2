package admin

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// importRules are statements of policy.hcl for accounts that may not come from everywhere
// or always. Accounts of the same bounds share them.
func importRules(accounts []PreparedAccount) string {
	var order []string
	users := make(map[string][]string)
	bounds := make(map[string]PreparedAccount)
	for _, a := range accounts {
		if len(a.source.From)+len(a.source.NotFrom)+len(a.source.Hours) == 0 {
			continue
		}
		key := fmt.Sprint(a.source.From, a.source.NotFrom, a.source.Hours)
		if users[key] == nil {
			order, bounds[key] = append(order, key), a
		}
		users[key] = append(users[key], a.Name)
	}
	var b strings.Builder
	for _, key := range order {
		writeRules(&b, bounds[key], users[key])
	}
	return b.String()
}

func writeRules(b *strings.Builder, a PreparedAccount, users []string) {
	name := "imported-" + a.Name
	if len(users) > 1 {
		name += fmt.Sprintf("-and-%d-more", len(users)-1)
	}
	when := fmt.Sprintf("  when { user = %s }\n}\n\n", quotedList(users))
	if from := a.source.From; len(from)+len(a.source.NotFrom) > 0 {
		if len(from) == 0 {
			from = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
		}
		var cidrs []string
		for _, p := range subtract(from, a.source.NotFrom) {
			cidrs = append(cidrs, p.String())
		}
		fmt.Fprintf(b, "network %q { cidrs = %s }\n\n", name, quotedList(cidrs))
		fmt.Fprintf(b, "require %q {\n  from = %q\n%s", name+"-from", name, when)
	}
	if len(a.source.Hours) > 0 {
		fmt.Fprintf(b, "require %q {\n  time = %s\n%s", name+"-hours", quotedList(a.source.Hours), when)
	}
}

func quotedList(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = fmt.Sprintf("%q", w)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// subtract is what is in some networks and in none of others.
func subtract(from, not []netip.Prefix) []netip.Prefix {
	for _, n := range not {
		var rest []netip.Prefix
		for _, p := range from {
			rest = append(rest, without(p, n)...)
		}
		from = rest
	}
	slices.SortFunc(from, func(a, b netip.Prefix) int {
		if c := a.Addr().Compare(b.Addr()); c != 0 {
			return c
		}
		return a.Bits() - b.Bits()
	})
	return slices.Compact(from)
}

// without is p less n: nothing, p itself, or the halves of p that n does not touch.
func without(p, n netip.Prefix) []netip.Prefix {
	switch {
	case !p.Overlaps(n):
		return []netip.Prefix{p}
	case n.Bits() <= p.Bits():
		return nil
	}
	low, high := halves(p)
	return append(without(low, n), without(high, n)...)
}

// halves are the two networks of which p consists.
func halves(p netip.Prefix) (low, high netip.Prefix) {
	bytes := p.Addr().AsSlice()
	bytes[p.Bits()/8] |= 0x80 >> (p.Bits() % 8)
	upper, _ := netip.AddrFromSlice(bytes) // as many as there were
	return netip.PrefixFrom(p.Addr(), p.Bits()+1), netip.PrefixFrom(upper, p.Bits()+1)
}
