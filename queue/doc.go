// Package queue keeps mail that was accepted and not yet handed on.
//
// Its promise is in two halves. When Draft.Commit returns nil, content and
// envelope are on stable storage and survive a power cut. From then on each
// recipient is delivered to at least once, or its sender gets a bounce: a crash
// between the remote's 250 and our own commit may deliver a message twice (with
// the same Message-ID), and never loses one.
//
// Messages lie in Config.Dir, in the log of package spool. In memory there is little
// more than when each is due; envelopes and replies are read when they are wanted. A
// message goes by the route of its sender's account, by that of the recipient's
// domain, or else by the default one: to the domain's mail exchangers or a smart host
// by SMTP, to a mail store by LMTP, or into a maildir. Package relay speaks the first
// three. The recipients of one message that go to one destination are one delivery.
// Each destination has its own backlog and its own back-off, so that one that is away
// holds up no other.
//
// It follows RFC 5321 (addresses, retries: section 4.5.4.1), RFC 3461 and RFC
// 3464 (notifications of what became of a message) and RFC 6533 (the same for
// internationalised addresses).
package queue
