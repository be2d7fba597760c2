// Package policies reads the rules of the gateway (policy.hcl) and decides by
// them. It implements session.Policy.
//
// A policy is a set of statements whose order never matters:
//
//	network "plant"   { cidrs = ["10.20.0.0/16", "2001:db8:20::/48"] }
//	allow   "files"   { protocol = ["ftp", "sftp"]  group = "users" }
//	require "encrypted-login" {
//	  channel = "encrypted"                  # what must hold
//	  reply   = "Use FTPS or SFTP: sftp://{hostname}"
//	  when { protocol = ["ftp"] }            # for whom; without it, for everybody
//	}
//	exempt "encrypted-login" "scanner-7" {
//	  user = "scanner-7"  from = "plant"  until = "2027-06-30"
//	  owner = "facilities@example.com"  because = "MFP firmware, replacement ordered"
//	}
//	expect "joe is refused" { user = "joe" group = "users" protocol = "ftp" channel = "plain" verdict = "refuse" }
//
// Somebody is let in if some allow matches and every require that applies holds
// or is exempted. So a further require only ever restricts, and a further allow
// or exempt only ever permits. What is not said is refused.
//
// # Conditions
//
// allow, require, when, exempt and rollout take attributes, each of which looks at one
// fact of a request: protocol, channel, listener, group, user, from, method, and those
// of the files dimension.go and scale.go. A value is a text or a list of texts,
// of which one must match; all attributes that are given must match. channel
// takes "plain", "tls", "ssh", and "encrypted" for the last two. from takes names
// of networks, networks (192.0.2.0/24) and addresses. A fact that is not known
// matches no allow and no exempt, meets no requirement, and counts as matching in
// a when: what is not known is refused.
//
// A condition is a box in the space of facts: for each dimension, a fact with few
// values, a set of them; for each scale, a fact that is a number, spans of it; for names
// a list, for addresses networks. Every fact is known from a phase on.
//
// # Rollouts
//
// A rollout in a require says for whom it comes into force in steps, by dates, in
// windows of a brownout, and for a part of the accounts. A requirement that it does not
// yet enforce refuses nobody: the verdict lists it in WouldRefuse and may have a Notice
// for the client. In a brownout the refusal has the time to Retry.
//
// # Floors
//
// A require whose channel or factors is "at least the account's own floor" is made into
// ordinary requirements, each for those who were seen to reach a level on so many days
// (session.Floors). They share its name, its exempts and its rollouts.
//
// # Data connections
//
// An allow may take tls_resumption and grants, and a require tls_resumption: what
// holds for the connections of an FTP session after its login. They are no
// conditions and change nothing of who is let in; a require that has nothing else
// refuses no login. Every allow that matches grants, and the loosest counts; every
// require that applies and is not exempted demands, and the strictest counts:
//
//	allow "zos" {
//	  user           = "zos-batch"
//	  from           = "mainframe"
//	  tls_resumption = "preferred"                  # required, preferred or off
//	  grants         = ["clear-control", "clear-data"] # CCC, PROT C
//	}
//	require "bound" {
//	  tls_resumption = "required"
//	  when { from = "partners" }
//	}
//
// The verdict carries them as session.DataRules, at PhaseVerified and when it
// allows; what they make of a listener is session.DataRules.Resumption.
//
// The word enrol-keys of grants is of SFTP: whoever logged in by password may bring
// keys for their own account (session.Session.MayEnrol). With enrol-offered the keys
// that their client offered before are taken (session.Session.MayEnrolOffered).
//
// # Copies of mail
//
// A require may take journal, a folder into which a copy of each message goes that
// is sent in a session to which it applies (session.ParseJournalRule). Mail of which
// no copy can be kept is not accepted. It refuses no login, and every require that
// applies and is not exempted counts:
//
//	require "archive" {
//	  journal = "archive:/mail/{date}"
//	  when { protocol = "submission"  group = "traders" }
//	}
//
// # What sessions do
//
// A require may look at what is done after a login: operation, path, request, data_channel,
// sender_domain, recipient_domain. It is decided at PhaseSession, before each such thing, and of
// the others at the login only whether it may come to that (session.DataRules.Acts). See act.go
// for what moves a file from under one rule to under another.
//
// # Algorithms of SSH
//
// A require may take ssh_profile, "modern" or "compatible": at most that list of
// algorithms is offered. An exempt from it may take "compatible" or "legacy", which
// is offered in its place:
//
//	require "ssh algorithms" { ssh_profile = "compatible" }
//	exempt "ssh algorithms" "scanner-7" {
//	  from        = "10.20.3.4"
//	  until       = "2027-06-30"
//	  ssh_profile = "legacy"
//	  owner       = "facilities@example.com"
//	  because     = "MFP firmware, replacement ordered"
//	}
//
// It is settled before the key exchange, when nothing is known but the peer, so that
// neither when nor exempt may look at more. The verdict at PhaseConnect carries it as
// session.SSHRules. It is no condition and changes nothing of who is let in.
//
// # Proofs
//
// A require may take factors, the sets of proofs of which a login must show one:
//
//	require "two factors" {
//	  factors = ["publickey+password", "password+code"]
//	  when { group = "admins" }
//	}
//
// It is no condition: it refuses nobody at PhaseNamed, and says in Verdict.Lacking
// what is not enough. At PhaseVerified a Request that has proven too little is
// refused. Of several that apply, each must be met.
//
// # Devices
//
// A device is a peer that is let in otherwise than anybody else, on a relay listener,
// until a day that is at most 180 days ahead when the policy is loaded:
//
//	device "mfp-3rd-floor" {
//	  from       = "10.20.3.17"
//	  allow      = ["no-auth", "tls-1.0"]
//	  sender     = "scan-3f@example.com"
//	  recipients = "example.com"
//	  expires    = "2027-06-30"
//	  owner      = "facilities@example.com"
//	  because    = "MFP firmware, replacement ordered"
//	}
//
// A Request with session.MethodDevice asks whether the peer is one that needs no
// login; of the requirements only those of PhaseConnect are judged then. A device
// with a user is an exemption of that user from what is required of the channel. The
// verdict carries what the session is held to as a session.Device, and at
// PhaseConnect whether TLS before 1.2 may be offered.
//
// # Proofs of the policy
//
// An assert claims something of all logins that there can be from a time on:
//
//	assert "no plaintext" {
//	  no          = "credential over plain"   # or only = ..., same = ...
//	  after       = "2027-07-01"
//	  except_from = "plant"
//	}
//
// space.go cuts every fact into the values that the statements tell apart, region.go says
// by the boxes of package box what is refused, assert.go takes one from the other, and
// diff.go compares two policies in the same way. A counterexample is one that Decide was
// asked.
//
// # Phases
//
// At PhaseConnect only requirements are judged that look at nothing but the peer
// (from, listener, protocol); an exemption that may turn out to match later
// counts. At PhaseNamed all is judged, and a requirement for the channel that is
// not met makes the refusal Insecure, whatever else is wrong: unknown users,
// users of other groups and users who are refused get the same answer. So does a
// clear channel over which no allow lets anybody in. PhaseVerified judges all
// again, and refuses names that have no account.
//
// A request at PhaseNamed without a user asks whether anybody could be let in.
// It is answered by trying each kind of user whom the policy can tell from
// others: everybody whom a statement names and somebody whom none does, in up to
// two of the groups that are named. Which methods are offered depends on the
// answer, and nothing else does.
//
// The rules are compiled to tables of bits, one bit a condition: a decision is
// one look-up per attribute and allocates nothing.
package policies
