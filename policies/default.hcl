# Who may come in, and how. `gateway policy check` reads this file and says what is
# wrong with it; `gateway policy explain` says why somebody is let in or refused.
#
# Order never matters. Somebody is let in if some "allow" matches and every
# "require" that applies holds or is exempted. What is not allowed is refused.
#
# Attributes, in all statements: protocol, channel, listener, group, user, from,
# method. Each takes a text or a list of texts, of which one must match.

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

# To move people over in steps, let the requirement apply to some networks or
# listeners first, and widen it until "when" can be removed:
#
#   network "office" { cidrs = ["192.0.2.0/24", "2001:db8:1::/48"] }
#
#   require "encrypted-login" {
#     channel = "encrypted"
#     reply   = "Use FTPS or SFTP: sftp://{hostname}"
#     when { from = "office" }
#   }
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
