network "plant" { cidrs = ["10.20.0.1/16", "::ffff:10.0.0.0/104", "nowhere"] }
network "plant" { cidrs = [] }
network "10.0.0.1" { cidr = "10.0.0.0/8" }

alow "files" { protocol = "ftp" }
allow "files" {
  protocol = ["ftp", "ftps", "ftp"]
  chanel   = "tls"
}
allow "everybody" {}
allow { protocol = "ftp" }

require "encrypted" {
  channel = "encripted"
  reply   = "Use {host}"
}
require "empty" {
  when { protocol = "ftp" }
}
require "twice" {
  channel = 1
  when {}
  when { listener = "sfpt" }
  rollout "x" { warn = "2027-01-01" }
}

exempt "encrypted-login" "x" {
  user  = "scanner"
  from  = "plnat"
  until = "30.6.2027"
}
exempt "encrypted" "y" {
  user    = "scanner"
  until   = "2027-06-30"
  owner   = "o"
  because = "b"
}

assert "no plaintext" { no = "credential over plain" }
expect "joe" {
  user    = ["joe"]
  channel = "encrypted"
  verdict = "deny"
}
hostname = "x"
