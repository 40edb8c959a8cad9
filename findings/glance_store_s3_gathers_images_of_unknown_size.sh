#!/usr/bin/env bash
# glance_store 5.7.0, its S3 driver, an image of unknown size (a chunked upload to Glance).
#
# Guess: it becomes a multipart upload, in parts of s3_store_large_object_chunk_size (10 MiB).
# Seen: size 0 counts as small, so the data is gathered in one bytes object and sent by one PUT: for
# an image of 48 MiB memory grows by nearly twice that, and S3's limit for one PUT (5 GiB) is that
# of the image. With its size told, the same data becomes a multipart upload of ten parts.
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
import sys
import time
from pathlib import Path

import boto3
import glance_store
from oslo_config import cfg

SIZE = 48 << 20


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


folder = Path(sys.argv[1])
url = f"http://127.0.0.1:{moto(folder / 'moto.log')}"
make_bucket(url)
store = open_store(url, s3_store_large_object_size=10, s3_store_large_object_chunk_size=5, s3_store_thread_pools=1)
store.add("first", Data(1 << 20), 1 << 20, "sha512")
grown = {}
for name, size in (("told", SIZE), ("unknown", 0)):
    before = peak_mib()
    _, stored, *_ = store.add(name, Data(SIZE), size, "sha512")
    assert stored == SIZE
    grown[name] = peak_mib() - before
    print(f"size {name}: {stored >> 20} MiB stored, memory grew by {grown[name]} MiB")
client = boto3.client("s3", endpoint_url=url, aws_access_key_id="key", aws_secret_access_key="of-no-use", region_name="us-east-1")
tags = {name: client.head_object(Bucket="images", Key=name)["ETag"] for name in ("told", "unknown")}
print("ETags:", tags)
assert "-" in tags["told"], "an upload of told size is no multipart upload"
assert "-" not in tags["unknown"], "an upload of unknown size is a multipart upload now"
assert grown["unknown"] > SIZE >> 20, "memory stays flat now"
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/run.py" "$folder"
