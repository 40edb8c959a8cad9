#!/usr/bin/env bash
# glance_store 5.7.0, its S3 driver, an image whose data comes faster than S3 takes it.
#
# Guess: s3_store_thread_pools (here 2) parts of s3_store_large_object_chunk_size (here 5 MiB) are in
# memory, and reading waits for them.
# Seen: reading never waits. Each part is put into the unbounded queue of a thread pool, with its
# bytes, so that memory grows to the size of the image: by more than 128 MiB for one of 160 MiB.
# Needs Python 3.11 and a package index. Exits 0 if this version still behaves so.
set -euo pipefail

folder="$(mktemp -d)"
servers=()
trap 'for one in "${servers[@]}"; do kill "$one"; done; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  'glance_store[s3]==5.7.0' 'boto3==1.44.8' 'moto[server]==5.2.5' 'setuptools<81' \
  2>"$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }

"$folder/venv/bin/moto_server" -H 127.0.0.1 -p 0 >"$folder/moto.log" 2>&1 &
servers+=("$!")

cat >"$folder/run.py" <<'PYTHON'
import re
import resource
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import boto3
import glance_store
from oslo_config import cfg

SIZE = 160 << 20


class Data:
    """As the body of a request: it is made when it is read."""

    def __init__(self, size):
        self.left = size

    def read(self, count):
        count = min(count, self.left)
        self.left -= count
        return b"\x5a" * count


def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def moto(log):
    """Where the server listens, as soon as it has said so."""
    for _ in range(600):
        if found := re.search(r"127\.0\.0\.1:(\d+)", log.read_text()):
            return int(found[1])
        time.sleep(0.1)
    raise SystemExit(log.read_text())


def open_store(url, **options):
    conf = cfg.ConfigOpts()
    conf([], project="finding")
    glance_store.register_opts(conf)
    options |= {
        "stores": ["s3"],
        "default_store": "s3",
        "s3_store_host": url,
        "s3_store_access_key": "key",
        "s3_store_secret_key": "of-no-use",
        "s3_store_bucket": "images",
        "s3_store_bucket_url_format": "path",
        "s3_store_region_name": "us-east-1",
    }
    for name, value in options.items():
        conf.set_override(name, value, "glance_store")
    glance_store.create_stores(conf)
    return glance_store.get_store_from_scheme("s3")


def make_bucket(url):
    boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id="key",
        aws_secret_access_key="of-no-use",
        region_name="us-east-1",
    ).create_bucket(Bucket="images")


def slow_proxy(port):
    """Hand connections over to the server, 16 MiB of requests a second in all; returns its port."""
    lock = threading.Lock()

    def copy(source, target, is_slow):
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if is_slow:
                    with lock:
                        time.sleep(len(data) / (16 << 20))
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def accept():
        while True:
            near, _ = listener.accept()
            far = socket.create_connection(("127.0.0.1", port))
            threading.Thread(target=copy, args=(near, far, True), daemon=True).start()
            threading.Thread(target=copy, args=(far, near, False), daemon=True).start()

    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


folder = Path(sys.argv[1])
port = moto(folder / "moto.log")
make_bucket(f"http://127.0.0.1:{port}")
if len(sys.argv) == 2:  # the proxy, in a process of its own
    print(slow_proxy(port), flush=True)
    threading.Event().wait()
store = open_store(
    f"http://127.0.0.1:{sys.argv[2]}",
    s3_store_large_object_size=10,
    s3_store_large_object_chunk_size=5,
    s3_store_thread_pools=2,
)
store.add("first", Data(1 << 20), 1 << 20, "sha512")
before = peak_mib()
_, stored, *_ = store.add("image", Data(SIZE), SIZE, "sha512")
grown = peak_mib() - before
print(f"{stored >> 20} MiB stored, memory grew by {grown} MiB")
assert stored == SIZE
assert grown > 128, "reading waits for the parts now"
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/run.py" "$folder" >"$folder/proxy" &
servers+=("$!")
until [ -s "$folder/proxy" ]; do kill -0 "$!"; sleep 0.1; done
"$folder/venv/bin/python" -W ignore "$folder/run.py" "$folder" "$(cat "$folder/proxy")"
