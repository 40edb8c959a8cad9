#!/usr/bin/env bash
# openstacksdk 4.22.0, image upload, a connection that breaks in the middle of the body.
#
# Guess: with `image_connect_retries` the client rewinds its file and sends the whole image again, or
# gives up.
# Seen: it repeats the PUT with the same open file where the first attempt left it, so only the rest is
# sent, as a request that is complete in itself. Its header X-OpenStack-Image-Size has the size of the
# whole file all the same. A server that does not compare the two stores the rest as the whole image,
# and the client reports success.
#
# Needs Python 3.11 and a package index. Exits 0 if this version still behaves so.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  'openstacksdk==4.22.0' 'keystoneauth1==5.18.1' 'setuptools<81' 2>"$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }

cat >"$folder/run.py" <<'PYTHON'
import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from keystoneauth1 import noauth, session
from openstack import connection, exceptions

SIZE, TAKEN = 9_000_000, 5_000_000
IMAGE = {"id": "5a2dbfcf-9b4a-4b7e-8ba8-7cf1a4a7c0e5", "name": "n", "status": "queued"}
uploads = []


class Service(BaseHTTPRequestHandler):
    """Breaks the first upload off, and takes the second one as it comes."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        here = f"http://127.0.0.1:{self.server.server_port}/v2/"
        links = [{"rel": "self", "href": here}]
        versions = {"versions": [{"id": "v2.17", "status": "CURRENT", "links": links}]}
        body = json.dumps(IMAGE if "/images/" in self.path else versions).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self):
        is_first = not uploads
        uploads.append([self.headers["X-OpenStack-Image-Size"], 0])
        for count in self.pieces():
            uploads[-1][1] += count
            if is_first and uploads[-1][1] >= TAKEN:
                self.close_connection = True
                self.connection.close()
                return
        self.send_response(204)
        self.end_headers()

    def pieces(self):
        """The sizes of what is read of the body, in bytes."""
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while size := int(self.rfile.readline(), 16):
                yield len(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers["Content-Length"])
        while left:
            left -= (count := len(self.rfile.read(min(left, 65536))))
            yield count


server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"
cloud = connection.Connection(
    session=session.Session(auth=noauth.NoAuth(endpoint=url)),
    image_endpoint_override=url,
    image_api_version="2",
    region_name="here",
    image_connect_retries=3,
    image_status_code_retries=3,
)
path = os.path.join(sys.argv[1], "disk.raw")
with open(path, "wb") as file:
    file.write(os.urandom(SIZE))
image = cloud.image.get_image(IMAGE["id"])
with open(path, "rb") as file:
    image.data = file
    try:
        exceptions.raise_from_response(image.upload(cloud.image))
        said = "success"
    except Exception as error:  # what the client says is what is looked at
        said = type(error).__name__
for number, (announced, received) in enumerate(uploads, 1):
    print(f"upload {number}: X-OpenStack-Image-Size {announced}, {received} bytes received")
print(f"the client says: {said}")
assert len(uploads) == 2, uploads
assert uploads[1][0] == str(SIZE), uploads
assert 0 < uploads[1][1] < SIZE - TAKEN + 1_000_000, uploads
assert said == "success", said
PYTHON

"$folder/venv/bin/python" "$folder/run.py" "$folder"
