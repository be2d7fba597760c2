allow "files" {
  protocol = "ftp
}
