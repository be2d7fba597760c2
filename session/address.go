package session

import "strings"

// Sends reports whether mail may be sent as address: it is one of the identity's,
// and of those that its credential is good for. Case is ignored: no mailbox in use
// tells Joe from joe.
func (i Identity) Sends(address string) bool {
	address = strings.ToLower(address)
	return owns(i.Addresses, address) && (i.Senders == nil || owns(i.Senders, address))
}

// owns reports whether address, in lower case, is one of list: as it is, by its
// domain, or by a pattern of its local part.
func owns(list []string, address string) bool {
	at := strings.LastIndexByte(address, '@')
	if at <= 0 {
		return false
	}
	for _, own := range list {
		if own == address || own == address[at:] {
			return true
		}
		if local, ok := strings.CutSuffix(own, address[at:]); ok && strings.Contains(local, "*") && matches(local, address[:at]) {
			return true
		}
	}
	return false
}

// matches reports whether text is what pattern says, in which * stands for any
// text.
func matches(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	first, last := parts[0], parts[len(parts)-1]
	if len(text) < len(first)+len(last) || !strings.HasPrefix(text, first) || !strings.HasSuffix(text, last) {
		return false
	}
	text = text[len(first) : len(text)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		_, after, found := strings.Cut(text, part)
		if !found {
			return false
		}
		text = after
	}
	return true
}
