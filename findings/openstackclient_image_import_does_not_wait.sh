#!/usr/bin/env bash
# python-openstackclient 10.5.0, `openstack image import --wait`.
#
# Guess: it returns when the image is active, and fails if the import does.
# Seen: the option is taken and never read. It returns at once with exit code 0, while the image is
# importing: a script that goes on to boot from the image is too early, and a failed import is a
# success. The image is not even asked for again after the import was ordered.
# Needs Python 3.11 and a package index. Exits 0 if this version still behaves so.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  'python-openstackclient==10.5.0' 'openstacksdk==4.22.0' 'setuptools<81' \
  2>"$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }

cat >"$folder/run.py" <<'PYTHON'
import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ID = "e2b1dc4e-2f4f-4f0a-9f3e-0a6a2b3c4d5e"
asked = []


class Images(BaseHTTPRequestHandler):
    """One image, whose import is ordered and never ends."""

    def do_GET(self):
        link = {"rel": "self", "href": f"http://127.0.0.1:{server.server_port}/v2/"}
        status = "importing" if ("POST", f"/v2/images/{ID}/import") in asked else "uploading"
        image = {"id": ID, "status": status, "disk_format": "raw", "container_format": "bare"}
        bodies = {
            "/v2/info/import": {"import-methods": {"type": "array", "value": ["glance-direct"]}},
            f"/v2/images/{ID}": image,
        }
        versions = {"versions": [{"id": "v2.15", "status": "CURRENT", "links": [link]}]}
        self.answer(200, bodies.get(self.path, versions))

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(202, {})

    def answer(self, status, body):
        asked.append((self.command, self.path))
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Images)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"
options = ["--os-auth-type", "none", "--os-endpoint", url]
command = [sys.argv[1], *options, "image", "import", "--method", "glance-direct", "--wait", ID]
done = subprocess.run(command, capture_output=True, text=True, timeout=60)
print("exit code", done.returncode, done.stderr.strip()[-300:])
print("requests:", *[" ".join(one) for one in asked], sep="\n  ")
assert done.returncode == 0, "it fails, or waits, now"
assert asked[-1] == ("POST", f"/v2/images/{ID}/import"), "it asks for the image again now"
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/run.py" "$folder/venv/bin/openstack"
