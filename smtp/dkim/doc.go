// Package dkim signs the mail of domains that gave the gateway a key.
//
// It follows RFC 6376 (DKIM), RFC 8301 (RSA of 2048 bits, SHA-256 only) and RFC
// 8463 (Ed25519); the signatures themselves are made by
// github.com/emersion/go-msgauth. A domain has a key of each algorithm, and mail
// gets a signature by each, since not every receiver knows the newer one.
//
// Keys are replaced in an order that no receiver notices: the next ones are made
// and published, then they take over, and those before stay published, without
// their private parts, as long as mail that they signed may be under way.
//
// What else the DNS should hold for a domain is the subject of package maildns.
package dkim
