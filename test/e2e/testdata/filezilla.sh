#!/usr/bin/env bash
# Drives the FileZilla client, which has no command line, against a gateway: it
# uploads seven files on one connection, lists them, and fetches them back. A check
# by hand and no test of CI: it clicks at fixed places of a window.
#
#   apt-get install filezilla xvfb xauth xdotool openssl
#   testdata/filezilla.sh ftpes://alice:password@localhost:2121/folder    explicit TLS
#   testdata/filezilla.sh ftps://alice:password@localhost:2990/folder     implicit TLS
#
# PASSIVE=0 makes its data connections active. The folder must exist and be empty.
# Where data connections must resume their TLS session, success shows that those of
# FileZilla do. Seen with 3.63.0 of Debian 12, in all four ways.
set -euo pipefail

drive() { # in the X server
  filezilla -a "$HOME/local" "$url" >/dev/null 2>&1 &
  trap 'kill $!' EXIT
  await() { # await NUMBER TEXT: that many lines of the log hold it
    for _ in $(seq 120); do
      [ "$(grep -a -c -- "$2" "$log")" -ge "$1" ] && return 0
      sleep 0.5
    done
    echo "did not happen: $1 times $2" >&2
    return 1
  }
  await 1 'Directory listing of .* successful'
  sleep 2
  xdotool windowfocus "$(xdotool search --onlyvisible --name ' - FileZilla' | head -1)"
  all() { # all X: select what is in the list there, and move it
    xdotool mousemove "$1" 341; sleep 0.3
    xdotool click 1; sleep 0.5
    xdotool key ctrl+a; sleep 0.5
    xdotool key Return
  }
  all 45 && await 7 'File transfer successful' && await 2 'Directory listing of .* successful'
  rm "$HOME/local/"*
  sleep 1
  all 650 && await 14 'File transfer successful'
}
if [ "${1:-}" = inside ]; then drive; exit; fi

url=${1:?an URL like ftpes://user:password@localhost:2121/folder}
[[ $url =~ ^(ftpes|ftps)://([^:]+):([^@]+)@([^:/]+):([0-9]+)(/.*)$ ]] || { echo "cannot read $url" >&2; exit 2; }
scheme=${BASH_REMATCH[1]} host=${BASH_REMATCH[4]} port=${BASH_REMATCH[5]}

HOME=$(mktemp -d) && export HOME LC_ALL=C.UTF-8
trap 'rm -rf "$HOME"' EXIT
config=$HOME/.config/filezilla log=$HOME/filezilla.log
mkdir -p "$config" "$HOME/sent" "$HOME/local"
touch "$log"

starttls=(-starttls ftp)
[ "$scheme" = ftpes ] || starttls=()
certificate=$(openssl s_client -connect "$host:$port" -servername "$host" "${starttls[@]}" </dev/null 2>/dev/null |
  openssl x509 -outform DER | od -An -v -tx1 | tr -d ' \n')
cat >"$config/trustedcerts.xml" <<XML
<?xml version="1.0" encoding="UTF-8"?>
<FileZilla3><TrustedCerts><Certificate><Data>$certificate</Data><ActivationTime>1</ActivationTime>
<ExpirationTime>9999999999</ExpirationTime><Host>$host</Host><Port>$port</Port><TrustSANs>0</TrustSANs>
</Certificate></TrustedCerts></FileZilla3>
XML
cat >"$config/filezilla.xml" <<XML
<?xml version="1.0" encoding="UTF-8"?>
<FileZilla3><Settings>
<Setting name="Greeting version">99.0.0</Setting>
<Setting name="Update Check">0</Setting>
<Setting name="Logging file">$log</Setting>
<Setting name="Use Pasv mode">${PASSIVE:-1}</Setting>
<Setting name="Number of Transfers">1</Setting>
<Setting name="Show Tree Local">0</Setting>
<Setting name="Show Tree Remote">0</Setting>
<Setting name="Language Code">en</Setting>
</Settings></FileZilla3>
XML
for size in 0 1 16384 100000 1000000 3000017 20000000; do
  head -c "$size" /dev/urandom >"$HOME/sent/$size é.bin"
done
cp "$HOME/sent/"* "$HOME/local/"

export url log
status=0
timeout 200 xvfb-run -a -s '-screen 0 1200x900x24' "$0" inside || status=1
grep -a -E 'Command: (STOR|RETR|MLSD|LIST)|Response: (226|4|5)|Error:|File transfer' "$log" | cut -d' ' -f5- || true
diff -r "$HOME/sent" "$HOME/local" && [ "$status" = 0 ] && echo "all the same"
