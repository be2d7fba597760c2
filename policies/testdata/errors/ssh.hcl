allow "files" { protocol = "sftp" }

require "old for good" { ssh_profile = "legacy" }
require "unknown" { ssh_profile = "mordern" }
require "too late" {
  ssh_profile = "modern"
  when { group = "finance" }
}
require "ssh" { ssh_profile = "compatible" }
require "encrypted" { channel = "encrypted" }

exempt "ssh" "by name" {
  user        = "scanner-7"
  from        = "10.20.3.4"
  until       = "2027-06-30"
  ssh_profile = "legacy"
  owner       = "o"
  because     = "b"
}
exempt "ssh" "stricter" {
  from        = "10.20.3.4"
  until       = "2027-06-30"
  ssh_profile = "modern"
  owner       = "o"
  because     = "b"
}
exempt "encrypted" "of something else" {
  from        = "10.20.3.4"
  until       = "2027-06-30"
  ssh_profile = "legacy"
  owner       = "o"
  because     = "b"
}
