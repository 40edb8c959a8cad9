#!/usr/bin/env bash
# libqcow-python 20260703, a qcow2 of version 3 (the default) with compressed clusters, as written by
# 'qemu-img convert -c -O qcow2' (7.2).
#
# Guess: it reads the same bytes as qemu-img, or refuses what it does not know.
# Seen: each compressed cluster that begins at an odd byte of the file reads as zeros, without an
# error. The last bit of an entry means "all zeros" for plain clusters only; for compressed ones it is
# a part of the address. The same disk as version 2 ('compat=0.10') reads right, and so does the
# version 3 by dissect.hypervisor 3.21. A digest or a listing of files made by such a reader is
# that of another disk.
#
# The disks are eight clusters of 64 KiB, filled with A to H.
# Needs Python 3.11 and a package index. Exits 0 if these versions still behave so.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  'libqcow-python==20260703' 'dissect.hypervisor==3.21' 2>"$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }

base64 -d <<'DISK' | xz -d >"$folder/version3.qcow2"
/Td6WFoAAATm1rRGAgAhARwAAAAQz1jM5QP/AXRdACiRhVzYhNkaVV/L1K0JCjaKON0o2EDQjA2v2+gijgwNUV1WXYDwkysWSBpQ
UetD6n+Slc+smJlHJ8y39K78B5R28wbeO9tgYXqSAgJ4rn4sUqH/ocibSDMdXyqv9R5AhhPCEegxkJ7QUj5oimoyKLqWByWrpbFb
DL6/3OPrelBiw4Oc7RgEGMJysz1R6XNiH9Hypv9Pw0cR5lepYfa7tD3JYvLO30UADmHQ0lN/EecUpxvT9b97v2RfYBE7jLSvMlNX
haOwbdcUCjIeJSFkHDM15zPqgK5JpYQ7tUlzRcZK0S/NRmZLIkjERrejfWZLdBmH0l3jK/iWvGQc3kZC204BKpdNg1MGPB6S7Ixo
7T9BLObfjJZbQyQ3f24WnsuVrVzXeI500Dad4cCwK8CQ1raCK+8lkoDbFB+TFfWh10+4uXZZdZ3k97BZs7XtsDeQ2Xwp0biiIbW8
iXR0XlW4C801mq1j5V/ufYvYrvL8YRRPG9G+AAD1NrCOBtMA0wABkAOAiBQAGJNCtbHEZ/sCAAAAAARZWg==
DISK
base64 -d <<'DISK' | xz -d >"$folder/version2.qcow2"
/Td6WFoAAATm1rRGAgAhARwAAAAQz1jM5QP/APNdACiRhVzYhNkWOX/L1K0JCjaKON2w6oN1SPJZPMoVhH09NuKrZ5yqVZbcfeEZ
g65P9h/BJk8S6MBuOfAJtf9BP2fCwC8PeKBUCyHCHIbmpdCAPaNC8+8NDNroN7TTU3A9tjavP+ickuOCNx3dTbpPRP5nNWfNP5yR
jM+QOo8rnfYlRh+rTzQXrLS0nGG91YfOj6Sbau2zC1U5sMO31WDbiywzml3nJ4qxOXaIxcQrJfmj5iyslRSWiyLy7BKyQ4WBxuEY
iUwtCzp3g0yO9F5JmUn2p5FPJI8Pshcb+uzpOch8rOPX3tth8V5F0wy0XzOzVoBeAAAA0wkuRhbjwqQAAY8CgIgUAOYKonqxxGf7
AgAAAAAEWVo=
DISK

cat >"$folder/run.py" <<'PYTHON'
import sys
from pathlib import Path

import pyqcow
from dissect.hypervisor.disk.qcow2 import QCow2

CLUSTER = 65536


def by_libqcow(path):
    disk = pyqcow.file()
    disk.open(str(path))
    return [disk.read_buffer_at_offset(CLUSTER, n * CLUSTER) for n in range(8)]


def by_dissect(path):
    with path.open("rb") as file:
        disk = QCow2(file).open()
        return [disk.read(CLUSTER) for _ in range(8)]


def shown(clusters):
    assert all(len(set(one)) == 1 for one in clusters)
    return "".join(chr(one[0]) if one[0] else "0" for one in clusters)


folder = Path(sys.argv[1])
seen = {
    (name, reader.__name__): shown(reader(folder / name))
    for name in ("version3.qcow2", "version2.qcow2")
    for reader in (by_libqcow, by_dissect)
}
for (name, reader), what in seen.items():
    print(f"{name} {reader}: {what}")
assert seen == {
    ("version3.qcow2", "by_libqcow"): "A0C0E0G0",
    ("version3.qcow2", "by_dissect"): "ABCDEFGH",
    ("version2.qcow2", "by_libqcow"): "ABCDEFGH",
    ("version2.qcow2", "by_dissect"): "ABCDEFGH",
}, "libqcow or dissect.hypervisor behaves otherwise now"
PYTHON
"$folder/venv/bin/python" "$folder/run.py" "$folder"
