#!/usr/bin/env python3
"""A program that knows accounts, for a source "..." { type = "http" } of gateway.hcl.

accounts_hook.py PORT SECRET_FILE ACCOUNTS_FILE

ACCOUNTS_FILE is read at each question: {"joe": {"password": "...", "groups": ["users"]}}.
What is asked and answered is in docs/operations.md. Put your own look-up in account(),
and compare a hash instead of a password.
"""

import hashlib
import hmac
import http.server
import json
import sys

PORT, SECRET_FILE, ACCOUNTS_FILE = sys.argv[1:]
SECRET = open(SECRET_FILE, "rb").read().strip()


def account(name):
    with open(ACCOUNTS_FILE, encoding="utf-8") as file:
        return json.load(file).get(name)


def answer(question):
    found = account(question["user"])
    said = {"id": question["id"], "user": question["user"], "exists": found is not None}
    if found is None:
        return said
    if question["ask"] == "password":
        said["right"] = hmac.compare_digest(question["password"].encode(), found["password"].encode())
    for key in ("groups", "addresses", "home", "disabled"):
        if key in found:
            said[key] = found[key]
    return said


class Hook(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        signature = "sha256=" + hmac.new(SECRET, body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(signature, self.headers.get("Gateway-Signature", "")):
            self.send_error(403)
            return
        said = json.dumps(answer(json.loads(body))).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)


http.server.ThreadingHTTPServer(("127.0.0.1", int(PORT)), Hook).serve_forever()
