"""Moves one file each way with paramiko, and lists the folder. A fetched file is
prefetched: all of it is asked for before any of it is read.

    move_paramiko.py {"host": …, "port": …, …}
"""
import json
import sys

import paramiko

o = json.loads(sys.argv[1])
client = paramiko.SSHClient()
client.load_host_keys(o["known"])
client.set_missing_host_key_policy(paramiko.RejectPolicy())
client.connect(o["host"], o["port"], o["user"], key_filename=o["identity"], timeout=20, allow_agent=False, look_for_keys=False)
sftp = client.open_sftp()
sftp.get_channel().settimeout(40)
sftp.chdir(o["folder"])
with sftp.open(o["up"], "wb") as f, open(o["local"], "rb") as local:
    f.set_pipelined(True)
    f.write(local.read())
sftp.get(o["down"], o["got"])
with sftp.open(o["down"], "rb") as f, open(o["got"], "rb") as got:
    size = f.stat().st_size
    for at in (size - 10, 70_000, 0):
        f.seek(at)
        got.seek(at)
        assert f.read(100_000) == got.read(100_000), f"the part at {at} differs"
    parts = [(70_000, 100_000), (5, 7), (size - 3, 3)]
    for (at, n), part in zip(parts, f.readv(parts)):
        got.seek(at)
        assert part == got.read(n), f"the part at {at} of readv differs"
print("\n".join(sftp.listdir()))
assert sorted(e.filename for e in sftp.listdir_iter()) == sorted(sftp.listdir())
client.close()
