#!/usr/bin/env bash
# python-glanceclient 4.13.0, an error of the Image API in JSON.
#
# Guess: it raises HTTPNotFound with the message; Glance writes such errors for `Accept:
# application/json` as one object with three texts: message, code and title.
# Seen: it looks for "message" in each member of the body as if all were objects, so exactly the form
# of Glance raises AttributeError in place of HTTPNotFound. It is never seen with Glance, because the
# client asks with `Accept: */*`, which Glance answers by HTML; a service, or a proxy, that prefers
# JSON there breaks `glance`, and Nova and Cinder, which wait for HTTPNotFound.
# Needs Python 3.11 and a package index. Exits 0 if this version still behaves so.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  'python-glanceclient==4.13.0' 'keystoneauth1==5.18.1' 'setuptools<81' \
  2>"$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }

cat >"$folder/run.py" <<'PYTHON'
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from glanceclient import Client, exc

FACTS = {"message": "No image found", "code": "404 Not Found", "title": "Not Found"}
FORMS = {
    "three texts, as Glance": (json.dumps(FACTS), "application/json"),
    "an object": (json.dumps({"error": FACTS}), "application/json"),
    "HTML": ("<html>\n<h1>404 Not Found</h1>\nNo image found\n</html>", "text/html"),
}
seen = {}


class Service(BaseHTTPRequestHandler):
    def do_GET(self):
        seen["accept"] = self.headers["Accept"]
        body, kind = FORMS[form]
        self.send_response(404)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = Client("2", endpoint=f"http://127.0.0.1:{server.server_port}", token="made-up")
raised = {}
for form in FORMS:
    try:
        client.images.get("e2b1dc4e-2f4f-4f0a-9f3e-0a6a2b3c4d5e")
    except Exception as error:
        raised[form] = type(error).__name__
        print(f"{form}: {type(error).__name__}: {error}")
assert seen["accept"] == "*/*", "it asks for something else now"
assert raised == {
    "three texts, as Glance": "AttributeError",
    "an object": "HTTPNotFound",
    "HTML": "HTTPNotFound",
}, "errors are read in another way now"
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/run.py"
