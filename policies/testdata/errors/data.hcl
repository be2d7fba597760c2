allow "legacy" {
  protocol       = "ftp"
  tls_resumption = "of"
  grants         = ["clear-data", "clear-kontrol", "prot-c"]
}
allow "only grants" {
  grants = "clear-data"
}
allow "two at once" {
  protocol       = "ftp"
  tls_resumption = ["preferred", "off"]
  grants         = []
}
allow "misspelt" {
  protocol      = "ftp"
  tls_resumtion = "off"
  grant         = "clear-data"
}
require "bound" {
  tls_resumption = true
  grants         = "clear-data"
}
require "always" {
  tls_resumption = "always"
}
require "wrong place" {
  when { tls_resumption = "required" }
}
exempt "bound" "old" {
  from           = "192.0.2.0/24"
  tls_resumption = "off"
  until          = "2027-06-30"
  owner          = "o"
  because        = "b"
}
expect "bound" {
  user           = "alice"
  protocol       = "ftp"
  channel        = "tls"
  tls_resumption = "required"
  verdict        = "allow"
}
