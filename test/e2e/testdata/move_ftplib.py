"""Moves one file each way with Python's ftplib, and lists the folder.

    move_ftplib.py channel mode session host port ca user password folder local up down got

session is "resumed" for a client that passes session= when it wraps its data
connection, as the documentation of servers tells people to, and "fresh" for
FTP_TLS as it comes.
"""
import ftplib
import os
import ssl
import sys

channel, mode, session, host, port, ca, user, password, folder, local, up, down, got = sys.argv[1:]


class Resuming(ftplib.FTP_TLS):
    def ntransfercmd(self, cmd, rest=None):
        conn, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        if self._prot_p:
            conn = self.context.wrap_socket(conn, server_hostname=self.host, session=self.sock.session)
        return conn, size


base = Resuming if session == "resumed" else ftplib.FTP_TLS


class Implicit(base):
    """ftplib knows no implicit TLS; this is the recipe that people use."""

    _socket = None

    @property
    def sock(self):
        return self._socket

    @sock.setter
    def sock(self, value):
        if value is not None and not isinstance(value, ssl.SSLSocket):
            value = self.context.wrap_socket(value, server_hostname=self.host)
        self._socket = value


if channel == "plain":
    ftp = ftplib.FTP(timeout=20)
else:
    ftp = (Implicit if channel == "implicit" else base)(context=ssl.create_default_context(cafile=ca), timeout=20)
ftp.connect(host, int(port))
ftp.set_pasv(mode == "passive")
ftp.login(user, password)
if channel != "plain":
    ftp.prot_p()
ftp.cwd(folder)
have = os.path.getsize(got) if os.path.exists(got) else None
if have is None:
    with open(local, "rb") as f:
        ftp.storbinary("STOR " + up, f)
with open(got, "ab") as f:
    ftp.retrbinary("RETR " + down, f.write, rest=have)
print("\n".join(ftp.nlst()))
print("\n".join(name for name, facts in ftp.mlsd() if facts["type"] == "file"))
ftp.quit()
