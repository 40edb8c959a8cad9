#!/usr/bin/env bash
# openstacksdk 4.22.0, an image of 128 MiB that is downloaded into a file.
#
# Guess: 'download_image(..., output=FILE)' writes the bytes as they come, since it has a chunk_size.
# Seen: without 'stream=True' the whole body is read first, and memory grows by more than the size of
# the image (here by twice); 'Connection.download_image(output_path=FILE)' does the same, and cannot
# be told otherwise. With 'stream=True' memory stays flat. Whichever way: if the digest differs, an
# error is raised and the wrong bytes stay in the file.
#
# Needs Python 3.11 and a package index. Exits 0 if this version still behaves so.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  'openstacksdk==4.22.0' 'keystoneauth1==5.18.1' 'setuptools<81' 2>"$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }

cat >"$folder/run.py" <<'PYTHON'
import hashlib
import json
import multiprocessing
import resource
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from keystoneauth1 import noauth, session
from openstack import connection, exceptions

BLOCK, COUNT = b"\x5a" * (1 << 20), 128
SIZE = len(BLOCK) * COUNT
WRONG = "2b9c5a0e-7d0b-4d0c-9a53-6a5d3d1c1f10"
IMAGE = "5a2dbfcf-9b4a-4b7e-8ba8-7cf1a4a7c0e5"


def digest():
    found = hashlib.sha512()
    for _ in range(COUNT):
        found.update(BLOCK)
    return found.hexdigest()


DIGESTS = {IMAGE: digest(), WRONG: hashlib.sha512(b"other bytes").hexdigest()}


class Service(BaseHTTPRequestHandler):
    """Two active images with the same bytes; the digest of one is that of other bytes."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        if self.path.endswith("/file"):
            self.answer("application/octet-stream", SIZE)
            for _ in range(COUNT):
                self.wfile.write(BLOCK)
            return
        here = f"http://127.0.0.1:{self.server.server_port}/v2/"
        links = [{"rel": "self", "href": here}]
        said = {"versions": [{"id": "v2.17", "status": "CURRENT", "links": links}]}
        for name, found in DIGESTS.items():
            if name in self.path:
                said = {"id": name, "name": "n", "status": "active", "size": SIZE}
                said |= {"os_hash_algo": "sha512", "os_hash_value": found}
        body = json.dumps(said).encode()
        self.answer("application/json", len(body))
        self.wfile.write(body)

    def answer(self, kind, length):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.end_headers()


def measure(how, url, file, results):
    """In a process of its own, whose peak is that of one way."""
    signed_in = session.Session(auth=noauth.NoAuth(endpoint=url))
    cloud = connection.Connection(
        session=signed_in, image_endpoint_override=f"{url}/v2/", auth_type="none"
    )
    cloud.image.get_image(IMAGE)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    {
        "output": lambda: cloud.image.download_image(IMAGE, output=file),
        "output_path": lambda: cloud.download_image(IMAGE, output_path=file),
        "stream": lambda: cloud.image.download_image(IMAGE, output=file, stream=True),
    }[how]()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    try:
        cloud.image.download_image(WRONG, output=f"{file}.wrong", stream=True)
        error = None
    except exceptions.SDKException as raised:
        error = type(raised).__name__
    results.put((grown, Path(file).stat().st_size, error, Path(f"{file}.wrong").stat().st_size))


server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
context = multiprocessing.get_context("fork")
serving = context.Process(target=server.serve_forever, daemon=True)
serving.start()
grown = {}
for how in ("output", "output_path", "stream"):
    results = context.Queue()
    url = f"http://127.0.0.1:{server.server_port}"
    context.Process(target=measure, args=(how, url, f"{sys.argv[1]}/{how}", results)).start()
    grown[how], stored, error, left = results.get(timeout=120)
    print(f"{how}: {stored >> 20} MiB stored, memory grew by {grown[how]} MiB;", end=" ")
    print(f"a wrong digest: {error}, {left >> 20} MiB left")
    assert (stored, left) == (SIZE, SIZE)
    assert error == "SDKException"
assert grown["output"] > COUNT and grown["output_path"] > COUNT, "it is streamed now"
assert grown["stream"] < COUNT // 4
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/run.py" "$folder"
