#!/usr/bin/env bash
# All tests of the gateway: what a reviewer, a contributor and CI run.
#
#   ./test.sh            everything
#   ./test.sh quick      without the real clients, the race detector and fuzzing
#
# Needs Go. Installs the clients that the end-to-end tests use with apt-get where
# it may; where it may not it says which tests are skipped for that reason.
set -euo pipefail
cd "$(dirname "$0")"

mode=${1:-all}
case "$mode" in all|quick) ;; *) echo "usage: ./test.sh [quick]" >&2; exit 2 ;; esac

STATICCHECK=honnef.co/go/tools/cmd/staticcheck@v0.8.2
NPM_PACKAGES="basic-ftp@6.2.6 ssh2-sftp-client@12.1.1 nodemailer@10.6.1"
FUZZ_TIME=${FUZZ_TIME:-2000x}   # a number of inputs (5000x) or a time (30s) for each fuzz target
# command, or a file of one that has none:Debian package
CLIENTS="curl:curl lftp:lftp swaks:swaks /usr/share/doc/libnet-ssleay-perl:libnet-ssleay-perl sshpass:sshpass sftp:openssh-client ssh-keygen:openssh-client tnftp:tnftp inetutils-ftp:inetutils-ftp ncftpget:ncftp wget:wget busybox:busybox rclone:rclone ftp-ssl:ftp-ssl python3:python3 smtp-sink:postfix openssl:openssl psftp:putty-tools dbclient:dropbear-bin sshfs:sshfs fio:fio rsync:rsync git:git /usr/lib/python3/dist-packages/paramiko:python3-paramiko opendkim:opendkim /usr/lib/python3/dist-packages/dkim:python3-dkim msmtp:msmtp s-nail:s-nail /usr/sbin/slapd:slapd /usr/sbin/sshd:openssh-server /usr/lib/dovecot/lmtp:dovecot-lmtpd"
JSCH=/usr/share/java/jsch.jar:libjsch-java   # where there is a Java compiler

say() { printf '\n== %s\n' "$*"; }

export GATEWAY_TOOLS=${GATEWAY_TOOLS:-$PWD/.tools}
export CGO_ENABLED=1   # the race detector needs it; the gateway itself is built without

have() { # have COMMAND, or FILE by its whole path
  case "$1" in /*) [ -e "$1" ] ;; *) PATH=$PATH:/usr/sbin command -v "$1" >/dev/null 2>&1 ;; esac
}

install_clients() {
  local missing="" packages="" pair
  ! command -v javac >/dev/null 2>&1 || CLIENTS="$CLIENTS $JSCH"
  for pair in $CLIENTS; do
    have "${pair%%:*}" || {
      missing="$missing ${pair%%:*}"; packages="$packages ${pair##*:}"; }
  done
  [ -n "$missing" ] || return 0
  say "clients missing:$missing"
  local sudo=""
  [ "$(id -u)" = 0 ] || sudo="sudo -n"
  if command -v apt-get >/dev/null 2>&1 && { [ -z "$sudo" ] || $sudo true 2>/dev/null; }; then
    echo "installing:$packages"
    $sudo apt-get update -qq &&
      $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null ||
      echo "apt-get failed: the tests that need these clients are skipped"
  else
    echo "no apt-get here, or not allowed: the tests that need these clients are skipped"
    echo "on Debian:  sudo apt-get install$packages"
  fi
}

# Mail servers that Debian lets nobody install beside Postfix are unpacked, with the libraries and the
# users that they need, where those users can read them. OpenSMTPD finds its helpers and its spool only
# at fixed places.
SERVERS=/usr/local/lib/gateway-tests
install_mail_servers() {
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 || { echo "not root on Debian: the tests with Exim and OpenSMTPD are skipped"; return 0; }
  local pair package dir
  for pair in exim4:exim4-daemon-light opensmtpd:opensmtpd; do
    package=${pair##*:} dir=$SERVERS/${pair%%:*}
    [ ! -d "$dir" ] || continue
    rm -rf "$dir.new" && mkdir -p "$dir.new" && ( cd "$dir.new" && apt-get download -qq "$package" >/dev/null 2>&1 && dpkg -x ./*.deb . && rm ./*.deb ) && mv "$dir.new" "$dir" ||
      { rm -rf "$dir.new"; echo "$package could not be fetched: its test is skipped"; }
  done
  apt-get install -y -qq --no-install-recommends libevent-2.1-7 libgnutls-dane0 libidn12 libnsl2 >/dev/null || echo "apt-get failed: Exim or OpenSMTPD may lack a library"
  for user in Debian-exim opensmtpd opensmtpq; do
    id "$user" >/dev/null 2>&1 || useradd --system --no-create-home --shell /usr/sbin/nologin "$user"
  done
  [ -d "$SERVERS/opensmtpd" ] || return 0
  mkdir -p /var/lib/opensmtpd/empty /usr/libexec
  ln -sfn "$SERVERS/opensmtpd/usr/libexec/opensmtpd" /usr/libexec/opensmtpd
  [ -d /var/spool/smtpd ] || mkdir -m 711 /var/spool/smtpd
}

# FTP servers that people come from. Debian lets nobody install two of them, so they are unpacked, and
# the libraries that they need are installed.
install_ftp_servers() {
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 || { echo "not root on Debian: the tests with vsftpd, ProFTPD and Pure-FTPd are skipped"; return 0; }
  local package dir libraries=""
  for package in vsftpd proftpd-core proftpd-mod-crypto pure-ftpd pure-ftpd-common; do
    dir=$SERVERS/$package
    [ ! -d "$dir" ] || continue
    rm -rf "$dir.new" && mkdir -p "$dir.new" && ( cd "$dir.new" && apt-get download -qq "$package" >/dev/null 2>&1 && dpkg -x ./*.deb . && rm ./*.deb ) && mv "$dir.new" "$dir" ||
      { rm -rf "$dir.new"; echo "$package could not be fetched: its test is skipped"; continue; }
    libraries="$libraries $(apt-cache depends "$package" | awk '$1 == "Depends:" && $2 ~ /^lib/ { print $2 }')"
  done
  [ -z "$libraries" ] || apt-get install -y -qq --no-install-recommends db5.3-util $libraries >/dev/null || echo "apt-get failed: an FTP server may lack a library"
  [ -d /var/run/vsftpd/empty ] || mkdir -p /var/run/vsftpd/empty
}

# The race detector needs a C compiler.
install_compiler() {
  command -v gcc >/dev/null 2>&1 || CLIENTS="$CLIENTS gcc:gcc cc:libc6-dev"
}

tool() { # tool NAME MODULE@VERSION: builds a tool once
  [ -x "$GATEWAY_TOOLS/$1-${2##*@}" ] && return 0
  mkdir -p "$GATEWAY_TOOLS"
  GOBIN=$GATEWAY_TOOLS/bin go install "$2" && mv "$GATEWAY_TOOLS/bin/$1" "$GATEWAY_TOOLS/$1-${2##*@}"
}

# Client libraries of npm, where npm is: Debian's packages of them are too large to install for one test each.
install_npm_packages() {
  local package dir
  for package in $NPM_PACKAGES; do
    dir=$GATEWAY_TOOLS/${package/@/-}
    [ ! -d "$dir" ] || continue
    command -v npm >/dev/null 2>&1 && command -v node >/dev/null 2>&1 || {
      echo "no node or no npm here: the tests with $package are skipped"; continue; }
    npm install --no-audit --no-fund --ignore-scripts --omit=optional --loglevel=error --prefix "$dir.new" "$package" >/dev/null && mv "$dir.new" "$dir" ||
      { rm -rf "$dir.new"; echo "npm failed: the tests with $package are skipped"; }
  done
}

fuzz() {
  local pkg target
  for pkg in $(go list ./...); do
    for target in $(go test -list '^Fuzz' "$pkg" | grep '^Fuzz' || true); do
      echo "$pkg $target"
      go test -run '^$' -fuzz "^$target\$" -fuzztime "$FUZZ_TIME" -fuzzminimizetime 10x "$pkg" >"$GATEWAY_TOOLS/fuzz.log" 2>&1 || {
        cat "$GATEWAY_TOOLS/fuzz.log"; return 1; }
    done
  done
}

mkdir -p "$GATEWAY_TOOLS"
if [ "$mode" = all ]; then install_compiler; install_clients; install_mail_servers; install_ftp_servers; install_npm_packages; fi

say "gofmt"
unformatted=$(gofmt -l .)
[ -z "$unformatted" ] || { echo "run gofmt -w on:"; echo "$unformatted"; exit 1; }

say "go.mod"
go mod tidy -diff

say "go vet"
go vet ./...

say "build without cgo"
CGO_ENABLED=0 go build -trimpath -o "$GATEWAY_TOOLS/gateway" ./cmd/gateway

if [ "$mode" = quick ]; then
  say "tests"
  go test -short ./...
  exit 0
fi

say "staticcheck"
tool staticcheck "$STATICCHECK"
"$GATEWAY_TOOLS/staticcheck-${STATICCHECK##*@}" ./...

say "tests with the race detector, and real clients"
go test -race -count=1 -timeout 20m $(go list ./... | grep -v /test/e2e)
# The end-to-end tests wait for other programs most of the time. The gateway that they
# build is no input that go test would see change.
go test -race -count=1 -timeout 20m -parallel 6 ./test/e2e

say "fuzzing each parser, $FUZZ_TIME"
fuzz

say "all passed"
