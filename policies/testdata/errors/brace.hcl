allow "files" {
  protocol = "ftp"
