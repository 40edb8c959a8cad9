#!/usr/bin/env bash
# openstacksdk 4.22.0 (keystoneauth1 5.18.1), a cloud with 'auth_type: none' and an endpoint.
#
# Guess: requests have no token, since there is none.
# Seen: discovery has none, and each other request has 'X-Auth-Token: notused'. A service or a proxy that
# looks each token up, and lets requests without one pass, refuses this client after it has
# answered its discovery.
#
# Needs Python 3.11 and a package index. Exits 0 if these versions still behave so.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  'openstacksdk==4.22.0' 'keystoneauth1==5.18.1' 'setuptools<81' 2>"$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }

cat >"$folder/run.py" <<'PYTHON'
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import openstack

requests = []


class Service(BaseHTTPRequestHandler):
    """An image service without images."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        requests.append((self.path, self.headers["X-Auth-Token"]))
        links = [{"rel": "self", "href": f"http://127.0.0.1:{self.server.server_port}/v2/"}]
        versions = {"versions": [{"id": "v2.17", "status": "CURRENT", "links": links}]}
        body = json.dumps({"images": []} if "/images" in self.path else versions).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
threading.Thread(target=server.serve_forever, daemon=True).start()
cloud = openstack.connect(
    auth_type="none",
    endpoint=f"http://127.0.0.1:{server.server_port}",
    load_yaml_config=False,
    load_envvars=False,
)
assert list(cloud.image.images()) == []
print(requests)
assert requests == [("/", None), ("/v2/images", "notused")], "other tokens are sent now"
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/run.py"
