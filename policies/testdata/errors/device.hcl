network "printers" { cidrs = ["10.20.3.0/28"] }

device "nothing" {}
device "third floor, left" {
  from       = "10.20.3.17"
  allow      = ["no-auth"]
  sender     = "scan@example.com"
  recipients = ["example.com"]
  expires    = "2027-06-30"
  owner      = "facilities@example.com"
  because    = "b"
}
device "eternal" {
  from       = "10.20.3.18"
  allow      = ["no-auth"]
  sender     = "Scanner <scan@example.com>"
  recipients = ["*", "example.com"]
  expires    = "2027-09-30"
  owner      = "facilities"
  because    = "b"
}
device "public" {
  from       = ["10.20.3.19", "198.51.100.7"]
  allow      = ["no-auth"]
  recipients = ["@example.com"]
  messages   = ["200/week", "20/hour", "30/hour"]
  size       = "25MB"
  listener   = ["ftp", "relais"]
  expires    = "2027-06-30"
  owner      = "facilities@example.com"
  because    = "b"
}
device "nobody's password" {
  from         = "10.20.3.20"
  allow        = ["plaintext-auth", "ssl-3.0"]
  recipients   = ["example.com"]
  line_endings = "fix"
  stage        = "off"
  expires      = "tomorrow"
  owner        = "facilities@example.com"
  because      = "b"
}
device "user" {
  from       = "10.20.3.21"
  allow      = ["no-auth"]
  user       = "scanner-7"
  sender     = "scan@example.com"
  recipients = ["example.com"]
  expires    = "2027-06-30"
  owner      = "facilities@example.com"
  because    = "b"
}
device "needless" {
  from       = "198.51.100.7"
  allow      = ["public-address"]
  user       = "scanner-7"
  recipients = ["example.com"]
  stage      = "observe"
  warn       = "2027-05-01"
  expires    = "2027-06-30"
  owner      = "facilities@example.com"
  because    = "b"
}
device "late" {
  from       = "10.20.3.22"
  allow      = ["no-auth"]
  sender     = "scan@example.com"
  recipients = ["*"]
  warn       = "2027-07-01"
  expires    = "2027-06-30"
  owner      = "facilities@example.com"
  because    = "b"
}
device "first" {
  from       = "printers"
  allow      = ["no-auth"]
  sender     = "scan@example.com"
  recipients = ["*"]
  expires    = "2027-06-30"
  owner      = "facilities@example.com"
  because    = "b"
}
device "second" {
  from       = "10.20.3.2"
  allow      = ["no-auth", "tls-1.0"]
  sender     = "scan@example.com"
  recipients = ["*"]
  expires    = "2027-03-01"
  owner      = "facilities@example.com"
  because    = "b"
}
