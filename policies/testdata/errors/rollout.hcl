allow "files" { protocol = "ftp" }

require "a" {
  channel = "encrypted"
  rollout "one" {
    observe = "2027-02-01"
    warn    = "2027-01-01"
    enforce = ["2027-04-01 50%", "2027-03-01 25%"]
  }
  rollout "two" {
    brownout "2027-03-01" {
      every = "1h"
      for   = "1h"
    }
    brownout "2027-03-02" {
      every = "1y"
      for   = "5m"
    }
  }
  rollout "three" {
    brownout "2027-03-01" {
      every = "1h"
      for   = "10m"
    }
    brownout "2027-03-08" {
      every = "2h"
      for   = "10m"
    }
    enforce = "2027-03-05"
  }
  rollout "four" {}
  rollout "five" {
    everybody = true
    group     = "g"
    enforce   = "soon"
  }
  rollout "six" {
    user    = "alice"
    enforce = "2027-03-05"
  }
  rollout "six" {
    everybody = "yes"
    enforce   = "2027-03-05 0%"
    begin     = "2027-03-05"
    window {}
  }
  rollout {}
  rollout "two months" {
    observe = "2027-02-01"
    enforce = "2027-01-01"
  }
}

require "b" {
  tls_resumption = "required"
  notice         = "Ends on {day}"
  rollout "users" { enforce = "2027-03-05" }
}

require "c" {
  channel  = "encrypted"
  absolute = true
}

exempt "c" "x" {
  from    = "10.0.0.0/8"
  until   = "2027-06-30"
  owner   = "o"
  because = "b"
}

rollout "users" { enforce = "2027-03-05" }
