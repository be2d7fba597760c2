#!/bin/sh
# Makes the sources of mail servers with their own tools: dovecot-core, sasl2-bin,
# db5.3-util, slapd. The password is always "correct horse".
#
#	./make-mail.sh dovecot | sasldb | ldif
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
password='correct horse'

dovecot() {
	for scheme in SSHA512 BLF-CRYPT ARGON2ID PLAIN PLAIN-MD5 CRAM-MD5 DIGEST-MD5 SCRAM-SHA-256 PBKDF2 SHA256.HEX SMD5.b64 MD5-CRYPT; do
		name=$(echo "$scheme" | tr A-Z. a-z-)@example.com
		echo "$name:$(doveadm pw -s "$scheme" -u "$name" -p "$password"):5000:5000::/var/mail/vhosts/$name::"
	done
	# Without a scheme it is CRYPT.
	echo "crypt:$(doveadm pw -s SHA512-CRYPT -p "$password" | sed 's/^{[^}]*}//'):vmail:vmail::/var/mail/crypt/./mail:/bin/false:"
	echo "des:$(doveadm pw -s DES-CRYPT -p "$password" | sed 's/^{[^}]*}//')"
}

sasldb() {
	printf %s "$password" | saslpasswd2 -p -c -f "$work/db" -u example.com joe
	printf %s "$password" | saslpasswd2 -p -c -f "$work/db" -u example.com ann
	printf 'two\\parts é' | saslpasswd2 -p -c -f "$work/db" -u "${1:-example.com}" bob
	db5.3_dump -p "$work/db"
}

ldif() {
	mkdir "$work/db"
	cat >"$work/slapd.conf" <<CONF
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/nis.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
database mdb
suffix "dc=example,dc=com"
rootdn "cn=admin,dc=example,dc=com"
directory $work/db
CONF
	ssha=$(slappasswd -h '{SSHA}' -s "$password")
	crypt=$(slappasswd -h '{CRYPT}' -c '$6$%.16s' -s "$password")
	cat >"$work/in.ldif" <<LDIF
dn: dc=example,dc=com
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: cn=admin,dc=example,dc=com
objectClass: simpleSecurityObject
objectClass: organizationalRole
cn: admin
userPassword: $ssha

dn: ou=people,dc=example,dc=com
objectClass: organizationalUnit
ou: people

dn: uid=joe,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
objectClass: posixAccount
objectClass: shadowAccount
uid: joe
cn: Joe Müller with a name that is long enough for slapcat to break the line in two
sn: Müller
mail: joe@example.com
uidNumber: 2001
gidNumber: 3001
homeDirectory: /home/joe
loginShell: /bin/bash
shadowExpire: 21000
userPassword: $ssha
userPassword: $crypt
description: it has two passwords

dn: uid=ann,ou=people,dc=example,dc=com
objectClass: account
objectClass: posixAccount
uid: ann
cn: Ann
uidNumber: 2002
gidNumber: 3001
homeDirectory: /home/ann
loginShell: /usr/sbin/nologin
userPassword: $password

dn: uid=bob,ou=people,dc=example,dc=com
objectClass: account
objectClass: simpleSecurityObject
uid: bob
userPassword: {SASL}bob@example.com

dn: uid=toor,ou=people,dc=example,dc=com
objectClass: account
objectClass: posixAccount
uid: toor
cn: toor
uidNumber: 0
gidNumber: 0
homeDirectory: /root
userPassword: $ssha

dn: cn=Card Only,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
cn: Card Only
sn: Only

dn: cn=staff,dc=example,dc=com
objectClass: posixGroup
cn: staff
gidNumber: 3001

dn: cn=upload,dc=example,dc=com
objectClass: posixGroup
cn: upload
gidNumber: 3002
memberUid: joe

dn: cn=partners,dc=example,dc=com
objectClass: groupOfNames
cn: partners
member: uid=ann,ou=people,dc=example,dc=com
LDIF
	slapadd -f "$work/slapd.conf" -l "$work/in.ldif"
	slapcat -f "$work/slapd.conf"
}

"$@"
