network "plant" { cidrs = ["10.20.0.0/16"] }
allow "files" {
  protocol = "ftp"
  group    = "users"
}
require "encrypted-login" { channel = "encrypted" }
exempt "encrypted-login" "scanner" {
  user    = "scanner"
  from    = "plant"
  until   = "2027-06-30"
  owner   = "o"
  because = "b"
}

expect "joe is refused" {
  user     = "joe"
  group    = "users"
  protocol = "ftp"
  channel  = "tls"
  verdict  = "refuse"
}
expect "the scanner is let in" {
  user     = "scanner"
  group    = "users"
  protocol = "ftp"
  channel  = "plain"
  from     = "plant"
  verdict  = "allow"
}
expect "the scanner must encrypt in July" {
  user     = "scanner"
  group    = "users"
  protocol = "ftp"
  channel  = "plain"
  from     = "10.20.0.7"
  at       = "2027-07-01"
  verdict  = "refuse"
}
