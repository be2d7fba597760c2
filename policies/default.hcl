# Who may come in, and how. `gateway policy check` reads this file and says what is
# wrong with it; `gateway policy explain` says why somebody is let in or refused.
#
# Order never matters. Somebody is let in if some "allow" matches and every
# "require" that applies holds or is exempted. What is not allowed is refused.
#
# Attributes, in all statements: protocol, channel, listener, group, user, from,
# method, and more that docs/policy.md lists. Each takes a text or a list of texts, of
# which one must match.

# Files, over FTP, FTPS and SFTP, for members of the group "users".
allow "files" {
  protocol = ["ftp", "sftp"]
  group    = "users"
}

# Sending mail (ports 587 and 465, and the relay port for devices that log in), for
# members of the group "mail".
allow "mail" {
  protocol = ["submission", "relay"]
  group    = "mail"
}

# Nobody's password crosses the network in clear: plain FTP is refused at USER,
# before the password is sent, and the connection stays open for AUTH TLS. SMTP does
# not offer AUTH before STARTTLS.
require "encrypted-login" {
  channel = "encrypted"
  reply   = "Use FTPS or SFTP: sftp://{hostname}"
}

# To move people over in steps, say from when on it is recorded whom the requirement
# would refuse, from when on they are told, refused for some minutes each hour, and
# refused for good:
#
#   require "encrypted-login" {
#     channel = "encrypted"
#     reply   = "Use FTPS or SFTP: sftp://{hostname}"
#     rollout "everybody" {
#       everybody = true # or a group, networks, listeners
#       observe   = "2027-01-11"
#       warn      = "2027-02-01"
#       brownout "2027-03-01" {
#         every = "1h"
#         for   = "5m"
#       }
#       enforce = "2027-04-01"
#     }
#   }
#
# Meanwhile, whoever has used encryption does not go back, and passwords that crossed
# in clear have to be changed:
#
#   require "ratchet" { channel = "at least the account's own floor" }
#   require "rotated" { exposed = "no, or for less than 14d" }
#
# A device that cannot encrypt gets an exemption: for one account, from one place,
# until a day, with somebody who answers for it. All of that must be there.
#
#   network "plant" { cidrs = ["10.20.0.0/16"] }
#
#   exempt "encrypted-login" "scanner-7" {
#     user    = "scanner-7"
#     from    = "plant"
#     until   = "2027-06-30" # the last day, UTC
#     owner   = "facilities@example.com"
#     because = "MFP firmware, replacement ordered"
#   }

# With these, the gateway proves of the rules that no password crosses in clear from a day
# on, and refuses to load them where that is not so (docs/policy.md, What is proven):
#
#   assert "no plaintext" {
#     no          = "credential over plain"
#     after       = "2027-04-01"
#     except_from = "plant"
#   }

# What must be true of the rules above. A policy that does not do what it expects of
# itself is not loaded.
expect "plain FTP is refused" {
  user     = "alice"
  group    = "users"
  protocol = "ftp"
  channel  = "plain"
  verdict  = "refuse"
}

expect "the same account may use FTPS" {
  user     = "alice"
  group    = "users"
  protocol = "ftp"
  channel  = "tls"
  verdict  = "allow"
}

expect "mail needs the group mail" {
  user     = "alice"
  group    = "users"
  protocol = "submission"
  channel  = "tls"
  verdict  = "refuse"
}
