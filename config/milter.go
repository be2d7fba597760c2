package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"gateway/session"
	"gateway/smtp/milter"
)

// maxMilters bounds the content filters of a node.
const maxMilters = 16

func (c *Config) milter(_ *decoder, at hcl.Range, name string) (section, error) {
	if name == "" || strings.ContainsAny(name, " \t\r\n\"") {
		return section{}, fmt.Errorf("the name of a milter is a word without spaces")
	}
	if slices.ContainsFunc(c.Milters, func(m milter.Config) bool { return m.Name == name }) {
		return section{}, fmt.Errorf("there is a milter %q already; each needs a name of its own", name)
	}
	// Room for all, so that the pointers taken below stay good.
	if c.Milters == nil {
		c.Milters = make([]milter.Config, 0, maxMilters)
	}
	if len(c.Milters) == maxMilters {
		return section{}, fmt.Errorf("there are more than %d milters", maxMilters)
	}
	c.Milters = append(c.Milters, milter.Config{Name: name})
	m := &c.Milters[len(c.Milters)-1]
	address := parsed("address", "inet:HOST:PORT | unix:/PATH", &m.Address, milter.ParseAddress, "", "Where the filter listens.")
	address.required = true
	return section{settings: []setting{
		address,
		parsed("on_fault", "defer | refuse | accept", &m.OnFault, milter.ParseFault, "defer", "What becomes of a message when the filter is down, too slow, or answers nonsense: deferred (451), refused (550), or accepted unseen, with a warning in the log."),
		duration("timeout", &m.Timeout, "30s", "Time for the connection and for each answer. All milters together have 5 minutes for a message."),
	}}, nil
}

// checkMilters wants the filters of a listener to be there.
func (c *Config) checkMilters(d *decoder, l Listener) {
	if len(l.Milters) > 0 && l.Protocol != session.Submission && l.Protocol != session.Relay {
		d.fault(l.at, "Milters without mail", "Only submission and relay listeners take mail for milters to look at; leave milters out.")
		return
	}
	for _, name := range l.Milters {
		if !slices.ContainsFunc(c.Milters, func(m milter.Config) bool { return m.Name == name }) {
			d.fault(l.at, "Unknown milter", fmt.Sprintf("There is no milter %q: add milter %[1]q { address = \"inet:127.0.0.1:11332\" }.", name))
		}
	}
}

// parseMilterName takes a name; whether there is such a milter is checked when all
// of the file was read.
func parseMilterName(s string) (string, error) {
	if s == "" {
		return "", fmt.Errorf("the name of a milter is empty")
	}
	return s, nil
}
