require "a" {
  channel = ["at least the account's own floor", "tls"]
  days    = 3
}

require "b" {
  channel = "at least the account's own floor"
  days    = "3"
  quiet   = "30"
  scope   = "network"
}

require "c" {
  channel = "at least the account's own floor"
  days    = 0
  quiet   = "9999d"
}

require "e" {
  channel = "at least the account's own floor"
  method  = "publickey"
}

allow "d" { channel = "at least the account's own floor" }
