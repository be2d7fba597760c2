#!/bin/bash
# Makes the vectors beside it by the programs that the hashes come from. On Debian:
#
#   apt-get install whois apache2-utils argon2 dovecot-core pure-ftpd proftpd-core slapd slapd-contrib perl python3
#
# Each line of a file is SCHEME, PASSWORD as a Go string, HASH, separated by tabs. SCHEME
# is what hashes.Hash.Scheme is to say. Salts are random, so every run gives others.
set -euo pipefail
cd "$(dirname "$0")"

plain='correct horse'
accents='pässwörd'
long="$(printf 'a%.0s' {1..72})tail"

line() { printf '%s\t"%s"\t%s\n' "$1" "$2" "$3"; }

# mkpasswd is of whois, and asks libxcrypt.
libxcrypt() {
	local p
	for p in "$plain" "$accents" "$long" x; do
		line yescrypt "$p" "$(mkpasswd -m yescrypt -- "$p")"
		line scrypt7 "$p" "$(mkpasswd -m scrypt -- "$p")"
		line bcrypt "$p" "$(mkpasswd -m bcrypt -R 5 -- "$p")"
		line bcrypt "$p" "$(mkpasswd -m bcrypt-a -R 5 -- "$p")"
		line sha512-crypt "$p" "$(mkpasswd -m sha512crypt -- "$p")"
		line sha512-crypt "$p" "$(mkpasswd -m sha512crypt -R 1234 -S shortsal -- "$p")"
		line sha256-crypt "$p" "$(mkpasswd -m sha256crypt -- "$p")"
		line sha256-crypt "$p" "$(mkpasswd -m sha256crypt -R 1000 -- "$p")"
		line md5-crypt "$p" "$(mkpasswd -m md5crypt -- "$p")"
		line des-crypt "$p" "$(mkpasswd -m descrypt -- "$p")"
		line bsdi-crypt "$p" "$(mkpasswd -m bsdicrypt -- "$p")"
	done
	line yescrypt "$plain" "$(mkpasswd -m yescrypt -R 1 -- "$plain")"
	line yescrypt "$plain" "$(mkpasswd -m yescrypt -R 7 -- "$plain")"
	line bcrypt "$plain" "$(mkpasswd -m bcrypt -R 10 -- "$plain")"
	line nt "$plain" "$(mkpasswd -m nt -- "$plain")"
	# Forms that mkpasswd does not make, by crypt(3) itself.
	perl -e 'use utf8; for $s ("zz", "./", "_/...", "_J9..rasm", "\$1\$\$", "\$5\$rounds=1000\$", "\$6\$rounds=1000\$0123456789abcdefXX", "\$3\$\$") {
		$p = "correct horse"; $h = crypt($p, $s) or next; next if $h =~ /^\*/;
		$n = {"_" => "bsdi-crypt", "\$1" => "md5-crypt", "\$5" => "sha256-crypt", "\$6" => "sha512-crypt", "\$3" => "nt"};
		$k = substr($h, 0, 1) eq "_" ? "_" : substr($h, 0, 2);
		printf "%s\t\"%s\"\t%s\n", $n->{$k} // "des-crypt", $p, $h }'
}

apache() {
	local p
	for p in "$plain" "$accents" x; do
		line apr1 "$p" "$(htpasswd -nbm u "$p" | cut -d: -f2- | head -1)"
		line sha "$p" "$(htpasswd -nbs u "$p" | cut -d: -f2- | head -1)"
		line bcrypt "$p" "$(htpasswd -nbB u "$p" | cut -d: -f2- | head -1)"
		line sha256-crypt "$p" "$(htpasswd -nb2 u "$p" | cut -d: -f2- | head -1)"
		line sha512-crypt "$p" "$(htpasswd -nb5 u "$p" | cut -d: -f2- | head -1)"
	done
	line des-crypt x "$(htpasswd -nbd u x | cut -d: -f2- | head -1)"
}

dovecot() {
	local p s h
	for p in "$plain" "$accents" x; do
		while read -r name s; do
			h=$(doveadm pw -s "$s" -u joe@example.com -p "$p")
			# The name is in the hash, which does not say so.
			line "$name" "$p" "${h/#'{DIGEST-MD5}'/{DIGEST-MD5\}joe:example.com:}"
		done <<-'END'
			sha SHA
			sha SHA1
			sha SHA.HEX
			sha256 SHA256
			sha256 SHA256.HEX
			sha512 SHA512
			sha512 SHA512.b64
			sha512 SHA512.HEX
			ssha SSHA
			ssha SSHA.HEX
			ssha256 SSHA256
			ssha512 SSHA512
			ssha512 SSHA512.HEX
			smd5 SMD5
			md5 PLAIN-MD5
			md5 PLAIN-MD5.b64
			md5 LDAP-MD5
			md4 PLAIN-MD4
			md5-crypt MD5
			md5-crypt MD5-CRYPT
			cram-md5 CRAM-MD5
			cram-md5 HMAC-MD5
			digest-md5 DIGEST-MD5
			scram-sha-1 SCRAM-SHA-1
			scram-sha-256 SCRAM-SHA-256
			pbkdf2-sha1 PBKDF2
			des-crypt DES-CRYPT
			bcrypt BLF-CRYPT
			bcrypt CRYPT
			sha256-crypt SHA256-CRYPT
			sha512-crypt SHA512-CRYPT
			argon2i ARGON2I
			argon2id ARGON2ID
			argon2id PLAIN
			argon2id CLEAR
			argon2id CLEARTEXT
		END
	done
}

openldap() {
	local p s
	for p in "$plain" "$accents" x; do
		while read -r name s module; do
			line "$name" "$p" "$(slappasswd ${module:+-o module-load=$module} -h "{$s}" -s "$p")"
		done <<-'END'
			ssha SSHA
			sha SHA
			smd5 SMD5
			md5 MD5
			sha256 SHA256 pw-sha2
			ssha256 SSHA256 pw-sha2
			sha384 SHA384 pw-sha2
			ssha384 SSHA384 pw-sha2
			sha512 SHA512 pw-sha2
			ssha512 SSHA512 pw-sha2
			pbkdf2-sha1 PBKDF2 pw-pbkdf2
			pbkdf2-sha1 PBKDF2-SHA1 pw-pbkdf2
			pbkdf2-sha256 PBKDF2-SHA256 pw-pbkdf2
			pbkdf2-sha512 PBKDF2-SHA512 pw-pbkdf2
			argon2i ARGON2 argon2
		END
	done
	line sha512-crypt "$plain" "$(slappasswd -h '{CRYPT}' -c '$6$%.16s' -s "$plain")"
}

proftpd() {
	local s
	while read -r name s; do
		line "$name" "$plain" "$(printf '%s' "$plain" | ftpasswd --hash --stdin "$s" | sed -n 's/^ftpasswd: //p')"
	done <<-'END'
		md5-crypt --md5
		sha256-crypt --sha256
		sha512-crypt --sha512
		des-crypt --des
	END
}

# pure-pw looks how much this machine can do in a second or so.
pureftpd() {
	local f; f=$(mktemp)
	rm "$f"
	printf '%s\n%s\n' "$plain" "$plain" | pure-pw useradd joe -f "$f" -u 1001 -g 1001 -d /srv/joe >/dev/null
	line argon2id "$plain" "$(cut -d: -f2 "$f")"
	rm "$f"
}

# Formats of programs that do not run here, computed by another implementation.
independent() {
	python3 - <<'END'
import base64, hashlib, os
plain, accents = "correct horse", "pässwörd"
def line(scheme, p, h): print(f'{scheme}\t"{p}"\t{h}')
raw = lambda b: base64.b64encode(b).decode().rstrip("=")
for p in plain, accents:
    b = p.encode()
    salt = raw(os.urandom(48))  # FileZilla's is text of 64 characters
    line("ssha512", p, "{FILEZILLA-SHA512}" + hashlib.sha512(b + salt.encode()).hexdigest().upper() + ":" + salt)
    s = os.urandom(32)
    line("pbkdf2-sha256", p, "{FILEZILLA-PBKDF2}100000$" + raw(s) + "$" + raw(hashlib.pbkdf2_hmac("sha256", b, s, 100000, 32)))
    line("mysql41", p, "{MYSQL41}*" + hashlib.sha1(hashlib.sha1(b).digest()).hexdigest().upper())
    line("servu", p, "{SERVU}qz" + hashlib.md5(b"qz" + b).hexdigest().upper())
    s = os.urandom(12)
    for alg, n in ("sha1", 20), ("sha256", 32), ("sha512", 64):
        out = base64.b64encode(hashlib.pbkdf2_hmac(alg, b, b"somesalt", 1000, n)).decode()
        line("pbkdf2-" + alg, p, f"$pbkdf2-{alg}$1000$somesalt${out}")  # SFTPGo: the salt is its text
        out = base64.b64encode(hashlib.pbkdf2_hmac(alg, b, s, 1000, n)).decode()
        line("pbkdf2-" + alg, p, f"$pbkdf2-b64salt-{alg}$1000${base64.b64encode(s).decode()}${out}")
    for alg in "md5", "sha256", "sha512":  # SFTPGo, with hex
        line(alg, p, "{" + alg.upper() + "}" + hashlib.new(alg, b).hexdigest())
END
}

# argon2 is the reference implementation's own.
reference() {
	local kind
	for kind in i d id; do
		line "argon2$kind" "$plain" "$(printf '%s' "$plain" | argon2 saltsaltsalt "-$kind" -t 3 -k 4096 -p 2 -e)"
	done
}

for f in libxcrypt reference apache dovecot openldap proftpd pureftpd independent; do
	"$f" >"$f.txt.new"
	mv "$f.txt.new" "$f.txt"
done
