#!/usr/bin/env bash
# keystoneauth1 5.18.1 and python-glanceclient 4.13.0, on the list of versions of an image service.
# Glance without image_cache_dir lists v2.15 and v2.13, and no v2.14 (the calls of its cache).
#
# Guess: both find that 2.14 is not there.
# Seen: keystoneauth answers 2.14 with the entry of the next higher version: minor versions are a
# ladder to it. glanceclient looks for the very id, so to it the same list says that 2.14 is missing.
# A service can announce each version honestly for the one, and not for the other.
# Needs Python 3.11 and a package index. Exits 0 if these versions still behave so.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  'keystoneauth1==5.18.1' 'python-glanceclient==4.13.0' 'setuptools<81' \
  2>"$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }

cat >"$folder/run.py" <<'PYTHON'
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from glanceclient.common.http import HTTPClient
from glanceclient.common.utils import has_version
from keystoneauth1.discover import Discover
from keystoneauth1.noauth import NoAuth
from keystoneauth1.session import Session


class Versions(BaseHTTPRequestHandler):
    """What Glance 33 answers, without a cache and with several stores."""

    def do_GET(self):
        url = f"http://127.0.0.1:{self.server.server_port}/v2/"
        links = [{"rel": "self", "href": url}]
        status = {17: "CURRENT"}
        minors = (17, 15, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)
        listed = [
            {"id": f"v2.{minor}", "status": status.get(minor, "SUPPORTED"), "links": links}
            for minor in minors
        ]
        body = json.dumps({"versions": listed}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Versions)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"
found = Discover(Session(auth=NoAuth()), url).data_for("2.14")
print("keystoneauth, asked for 2.14, finds", found and found["version"])
known = {version: has_version(HTTPClient(url), version) for version in ("v2.13", "v2.14", "v2.15")}
print("glanceclient finds", known)
server.shutdown()
assert found and found["version"] > (2, 14), "keystoneauth says now that 2.14 is missing"
assert known == {"v2.13": True, "v2.14": False, "v2.15": True}
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/run.py"
