settings { time_zone = "Berlin" }
settings "x" { zone = "UTC" }

profile "a" { tls = "1.4" }

profile "b" {
  dated   = "yesterday"
  tls     = "1.2"
  ciphers = "AES"
  groups  = ["x25519", "ffdhe2048"]
}

require "c" {
  profile = "d"
  when { channel = "plain" }
}

require "e" {
  profile = "b"
  when { channel = "plain" }
}

require "f" {
  channel = "encrypted"
  when { key = "rsa" }
}

require "g" { channel = "encrypted" }

exempt "g" "x" {
  from    = "10.0.0.0/8"
  key     = "dsa"
  until   = "2027-06-30"
  owner   = "o"
  because = "b"
}

exempt "g" "y" {
  from    = "10.0.0.0/8"
  key     = "rsa"
  until   = "2027-06-30"
  owner   = "o"
  because = "b"
}

require "h" {
  time         = ["8-18", "08:00-08:00", "25:00-26:00"]
  weekday      = "mon"
  exposed      = ["maybe", "for less than 2h", "less than 14d"]
  password_age = ["no", "for less than 14d", "less than 0d"]
  client       = "winscq"
  resumed      = true
}

expect "i" {
  user     = "joe"
  protocol = "ftp"
  channel  = "tls"
  floor    = "ssh"
  exposed  = "soon"
  weekday  = "monday"
  key      = "rsa"
  verdict  = "allow"
}
