allow "files" {
  protocol = upper("ftp")
}
