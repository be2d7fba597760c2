# The gateway on this node. The rules are in policy.hcl; accounts and keys are in
# state/, see 'gateway user'. Every setting: docs/config.md, or 'gateway config
# reference'. After a change:  gateway check, then send the gateway a SIGHUP
# (policy and certificates), or restart it (listeners).

hostname = "vm"

listener "ftp" {
  protocol = "ftp"
  address  = ":2121"
  tls      = "explicit" # AUTH TLS; whether plain logins are let in says policy.hcl
  # public_address = "203.0.113.7"   # behind NAT: what PASV tells clients
}

listener "ftps" {
  protocol = "ftp"
  address  = ":2990"
  tls      = "implicit"
}

listener "sftp" {
  protocol = "sftp"
  address  = ":2222"
}

listener "relay" {
  protocol = "relay"
  address  = "127.0.0.1:2525"
  tls      = "explicit"
}

listener "submission" {
  protocol = "submission"
  address  = ":2587"
  tls      = "explicit" # STARTTLS
}

listener "submissions" {
  protocol = "submission"
  address  = ":2465"
  tls      = "implicit"
}

listener "metrics" {
  protocol = "metrics" # /metrics for Prometheus, without login: for this host only
  address  = "127.0.0.1:9100"
}

ftp {
  passive_ports = "42000-42099"
}

storage {
  type = "local"
  path = "files" # one folder per account
}

mail {
  # Where accepted mail goes unless the account has a route of its own:
  #   smtp://mail.example.com:25   lmtp://127.0.0.1:24   maildir://folder
  route = "maildir://mail"
}

# Without this block the gateway uses a certificate of its own authority, which
# clients can trust by 'gateway cert show --ca'.
#
# certificates {
#   files { cert = "/etc/ssl/files.pem"  key = "/etc/ssl/files.key" }
# }
# certificates {
#   acme { email = "ops@example.com"  directory = "https://acme-v02.api.letsencrypt.org/directory" }
# }
