package queue

import (
	"errors"
	"fmt"
	"strings"

	"gateway/queue/relay"
)

// NamedRoute is a route with all that belongs to it.
type NamedRoute struct {
	Name string
	// To is where it leads; not another name.
	To Route
	// Domains are the domains of recipients that go this way: example.com, or
	// .example.org for everything below it.
	Domains []string
	// TLS is what is asked of the connection; Auth how to log in, zero for not at all.
	// A maildir has neither.
	TLS  relay.TLSPolicy
	Auth relay.Auth
}

// CheckRoutes reports all that is wrong with DefaultRoute and Routes.
func (c Config) CheckRoutes() error {
	_, err := newRoutes(c)
	return err
}

// ErrNoRoute is mail for which neither its account nor the configuration names a
// route.
var ErrNoRoute = errors.New("no mail route is configured")

// routes says where mail goes.
type routes struct {
	byDefault Route
	maildirs  bool
	names     map[string]NamedRoute
	domains   map[string]Route // by domain, or by what is below one, with a dot before it
}

func newRoutes(c Config) (routes, error) {
	r := routes{byDefault: c.DefaultRoute, maildirs: c.MaildirDir != "", names: make(map[string]NamedRoute), domains: make(map[string]Route)}
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, n := range c.Routes {
		as := Route{scheme: schemeName, path: n.Name}
		switch _, twice := r.names[n.Name]; {
		case !ValidRouteName(n.Name):
			bad("%q is not the name of a route: small letters, digits and hyphens", n.Name)
		case twice:
			bad("there are two routes %q", n.Name)
		case n.To.IsZero() || n.To.IsName():
			bad("route %q leads nowhere", n.Name)
		case n.To.maildir() && (!n.Auth.IsZero() || n.TLS != relay.Opportunistic):
			bad("route %q: nothing is connected to for a maildir, so it has neither tls nor auth", n.Name)
		}
		r.names[n.Name] = n
		for _, d := range n.Domains {
			d = strings.ToLower(d)
			if other, taken := r.domains[d]; taken {
				bad("the domain %s belongs to two routes, %s and %s", d, other, n.Name)
			}
			if _, err := checkDomain(strings.TrimPrefix(d, "."), true); err != nil {
				bad("route %q: domain %q: %w", n.Name, d, err)
			}
			r.domains[d] = as
		}
	}
	if r.byDefault.IsName() {
		if _, found := r.names[r.byDefault.path]; !found {
			bad("there is no route %q", r.byDefault.path)
		}
	}
	return r, errors.Join(errs...)
}

// find is where mail for an address goes, whose sender has a route of its own or
// none. A maildir needs a folder for maildirs.
func (r routes) find(own Route, address string) (destinationKey, error) {
	domain := domainOf(address)
	key := destinationKey{route: own}
	if own.IsZero() {
		key.route = r.byDomain(domain)
	}
	if key.route.IsZero() {
		return key, ErrNoRoute
	}
	to, err := r.resolve(key.route)
	switch {
	case err != nil:
		return key, err
	case to.To.maildir() && !r.maildirs:
		return key, refuseRoute("no folder for maildirs is configured")
	case to.To.scheme == schemeMX:
		key.domain = domain
	}
	return key, nil
}

// resolve is all that belongs to a route.
func (r routes) resolve(route Route) (NamedRoute, error) {
	if !route.IsName() {
		return NamedRoute{To: route}, nil
	}
	n, found := r.names[route.path]
	if !found {
		return n, fmt.Errorf("%w: the configuration has no route %q", ErrNoRoute, route.path)
	}
	return n, nil
}

// byDomain is the route of a domain: its own, that of what it is below, the default.
func (r routes) byDomain(domain string) Route {
	if route, found := r.domains[domain]; found {
		return route
	}
	for rest := domain; ; {
		_, below, found := strings.Cut(rest, ".")
		if !found {
			return r.byDefault
		}
		if route, found := r.domains["."+below]; found {
			return route
		}
		rest = below
	}
}

// domainOf is the domain of an address in wire form, in small letters.
func domainOf(address string) string {
	return strings.ToLower(address[strings.LastIndexByte(address, '@')+1:])
}

// plan makes the deliveries of a message, one for each destination that its waiting
// recipients go to. A recipient without a route (the configuration has changed) has
// a destination all the same, whose attempts say what is missing.
func (q *Queue) plan(m *message) (first *delivery) {
	numbers := make(map[destinationKey][]int)
	var order []destinationKey
	for _, n := range m.waiting() {
		key := q.keyOf(m, n)
		if numbers[key] == nil {
			order = append(order, key)
		}
		numbers[key] = append(numbers[key], n)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, key := range order {
		first = &delivery{
			entry: m.entry, to: q.schedule.destination(key), next: nextOf(m, numbers[key]), sibling: first, place: -1, held: m.Held,
		}
	}
	return first
}

// keyOf is the destination of a recipient.
func (q *Queue) keyOf(m *message, number int) destinationKey {
	own, _ := ParseRoute(m.Route) // "" is none
	key, _ := q.routes.find(own, m.envelope.To[number].Address)
	return key
}
