# The devices of the dialogues. {past}, {soon} and {later} are days.
allow "mail" {
  protocol = "relay"
  group    = "users"
}
require "encrypted-login" {
  channel = "encrypted"
  reply   = "Use TLS."
}
device "mfp" {
  from       = "127.0.0.1"
  listener   = "mfp"
  allow      = "no-auth"
  sender     = "scan@example.com"
  recipients = ["example.com", "example.net"]
  messages   = "2/hour"
  size       = "2KiB"
  expires    = "{later}"
  owner      = "facilities@example.com"
  because    = "firmware"
}
device "plc" {
  from         = "127.0.0.1"
  listener     = "plc"
  allow        = "no-auth"
  sender       = "plc@example.com"
  recipients   = "*"
  line_endings = "repair"
  expires      = "{soon}"
  owner        = "facilities@example.com"
  because      = "firmware"
}
device "gone" {
  from       = "127.0.0.1"
  listener   = "gone"
  allow      = "no-auth"
  sender     = "gone@example.com"
  recipients = "*"
  expires    = "{past}"
  owner      = "facilities@example.com"
  because    = "firmware"
}
device "clear" {
  from         = "127.0.0.1"
  listener     = "clear"
  allow        = ["plaintext-auth", "tls-1.0"]
  user         = "alice"
  recipients   = "example.com"
  line_endings = "refuse"
  expires      = "{later}"
  owner        = "facilities@example.com"
  because      = "firmware"
}
