package session

import "strings"

// sends reports whether address is one of the identity's, or in a domain that
// is. Case is ignored: no mailbox in use tells Joe from joe.
func (i Identity) sends(address string) bool {
	address = strings.ToLower(address)
	at := strings.LastIndexByte(address, '@')
	if at <= 0 {
		return false
	}
	for _, own := range i.Addresses {
		if own == address || own == address[at:] {
			return true
		}
	}
	return false
}
