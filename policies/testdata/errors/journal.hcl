allow "mail" { protocol = "submission" }

require "relative" {
  journal = "mail"
}

require "unknown variable" {
  journal = "/mail/{time}"
}

allow "wrong place" {
  protocol = "submission"
  journal  = "/mail"
}

require "one" {
  journal = "/1"
}
require "two" {
  journal = "/2"
}
require "three" {
  journal = "/3"
}
require "four" {
  journal = "/4"
}
require "five" {
  journal = "/5"
}
