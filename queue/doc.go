// Package queue keeps mail that was accepted and not yet handed on.
//
// Its promise is in two halves. When Draft.Commit returns nil, content and
// envelope are on stable storage and survive a power cut. From then on each
// recipient is delivered to at least once, or its sender gets a bounce: a crash
// between the remote's 250 and our own commit may deliver a message twice (with
// the same Message-ID), and never loses one.
//
// Envelopes and small contents are rows in the store; a large content is a file
// in Config.Dir, written and synced before its row. A message goes by the route
// of its sender's account or else by the default one: to a smart host by SMTP,
// to a mail store by LMTP, or into a maildir. Package relay speaks the first two.
//
// It follows RFC 5321 (addresses, retries: section 4.5.4.1), RFC 3461 and RFC
// 3464 (bounces) and RFC 6533 (bounces for internationalised addresses). There is
// no MX lookup: every route names its host.
package queue
