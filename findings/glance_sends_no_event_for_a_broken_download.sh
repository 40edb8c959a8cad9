#!/usr/bin/env bash
# Glance 33.0.0, its notification image.send, which billing counts downloads by.
#
# Guess: a client that leaves in the middle of a download is told of too, with bytes_sent and the
# priority ERROR: the code compares the bytes that were sent with the size of the image.
# Seen: nothing is sent. The comparison comes after the loop over the data, and a client that leaves
# ends the generator within it. So a client that reads all but the last chunk is never counted; ERROR
# means that the store had less data than it should have.
# Needs Python 3.11 and a package index. Exits 0 if this version still behaves so.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  'glance==33.0.0' 'glance_store==5.7.0' 2>"$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }

cat >"$folder/run.py" <<'PYTHON'
from importlib.metadata import version
from types import SimpleNamespace

from glance.notifier import ImageProxy

CHUNKS = [b"x" * 1000] * 10


class Published:
    """Takes what Glance would give to the message bus."""

    def __init__(self):
        self.events = []

    def info(self, event, payload):
        self.events.append(("INFO", event, payload["bytes_sent"]))

    def error(self, event, payload):
        self.events.append(("ERROR", event, payload["bytes_sent"]))


def download(chunks, stored):
    """The events of a download of which this many chunks are read."""
    published = Published()
    image = SimpleNamespace(
        image_id="i", owner="o", size=len(CHUNKS) * 1000, get_data=lambda **_: iter(CHUNKS[:stored])
    )
    context = SimpleNamespace(project_id="p", user_id="u")
    data = ImageProxy(image, context, published).get_data()
    for _ in range(chunks):
        next(data, None)
    data.close()  # as a server does when its client is gone, or has read all
    return published.events


print("glance", version("glance"))
cases = {
    "all is read": download(11, 10),
    "all is read but the last chunk": download(9, 10),
    "the store has half": download(11, 5),
}
for name, events in cases.items():
    print(f"{name}: {events}")
assert cases == {
    "all is read": [("INFO", "image.send", 10_000)],
    "all is read but the last chunk": [],
    "the store has half": [("ERROR", "image.send", 5000)],
}
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/run.py"
