#!/usr/bin/env bash
# libvmdk-python 20260714, a VMDK with a zeroed grain, as 'qemu-img convert -O vmdk -o zeroed_grain=on'
# (7.2) and a write of zeros make it.
#
# Guess: the grain reads as zeros, as by qemu-img, or the file is refused.
# Seen: the entry 1 in the table of grains, which means zeros where the header says so, is taken for
# a place in the file: the disk reads the text of the file's own descriptor there, without an error.
# dissect.hypervisor 3.21 reads zeros.
#
# The disk is eight grains of 64 KiB, filled with A to H, the second of them zeroed.
# Needs Python 3.11 and a package index. Exits 0 if these versions still behave so.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  'libvmdk-python==20260714' 'dissect.hypervisor==3.21' 2>"$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }

base64 -d <<'DISK' | xz -d >"$folder/zeroed.vmdk"
/Td6WFoAAATm1rRGAgAhARwAAAAQz1jM6P//AeVdACWRBd4YQwO90JOvdzEm99dh8rCLDWmnPbRkLm5yLhRjQvdp9i9bUFFSyVm5
DA0GVrwbiQ1iurobzFOM4FL9UwvNx3H36Zu02jpZHEjfzYI2MuKtyL8WhE6qVRttDSgdnQDI4M2DwlxNw2uw70NIj3ex1A08D5dE
oEana1PSCmNdoWc4fXmMdYfAffcLg6N1NoByUuL/mfY09OJ+P8SDkUtGdxTzfb6sGlFW2h8WXFChDVwPNjzGuJO9nect1a6MG7Wj
5YXWd43TiWb3pIQ87FMHFToojm/p8YbJzXDCpWIXuSfuAm4tmEO2rKmT6PL4lnaTZhdE4CANVL4RZXui3UhH6ewn9/9gVpPg1S/3
s/5UBFTgq/hLeC9gbnteqz2dlj0zB3Xiz16ALJzHimbqjeoLzt+b1wHpOmkZpeD1Fix3TEVKg6xbqvmg0ell/p1xoqoIHzH1JUne
h9wHZ0zwA7mS8vN87PziLVP2BaLWPV/XLZ/Fz3PRji7ssgcbe0LADOXz7tHnfT/snyjtc4RFXByvmTfkOuVisdYtKcP1f/VayLSx
7bA+r6QjIjN8idk6Zd4HRfqBcJP76gm4AxkkccbapKjwkn59im9yVaXbp2L2mhW1KtjInwWH0JtYGhm9vHEdjIlwAAAAAP8TQSQ3
mNIuAAGBBICAJAB9+b0escRn+wIAAAAABFla
DISK

cat >"$folder/run.py" <<'PYTHON'
import sys
from pathlib import Path

import pyvmdk
from dissect.hypervisor.disk.vmdk import VMDK

GRAIN = 65536


def by_libvmdk(path):
    disk = pyvmdk.handle()
    disk.open(str(path))
    disk.open_extent_data_files()
    return [disk.read_buffer_at_offset(GRAIN, n * GRAIN) for n in range(8)]


def by_dissect(path):
    with path.open("rb") as file:
        disk = VMDK([file])
        return [disk.read(GRAIN) for _ in range(8)]


file = Path(sys.argv[1])
for reader in (by_libvmdk, by_dissect):
    print(reader.__name__, [one[:21] for one in reader(file)])
others = [bytes([letter]) * GRAIN for letter in b"ACDEFGH"]
libvmdk, dissect = by_libvmdk(file), by_dissect(file)
assert dissect == [others[0], bytes(GRAIN), *others[1:]]
assert [libvmdk[0], *libvmdk[2:]] == others
assert libvmdk[1].startswith(b"# Disk DescriptorFile"), "libvmdk behaves otherwise now"
PYTHON
"$folder/venv/bin/python" "$folder/run.py" "$folder/zeroed.vmdk"
