"""The filesystem of a path, by the kernel's list of mounts (proc(5), mountinfo)."""

from __future__ import annotations

import re
from pathlib import Path

MOUNTINFO = Path("/proc/self/mountinfo")
NETWORK_FILESYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "ceph", "glusterfs", "fuse.sshfs", "9p", "afs"}
)

_OCTAL = re.compile(r"\\([0-7]{3})")


def filesystem_of(path: Path, mounts: str | None = None) -> str:
    """The type, such as ext4; "" if it is unknown."""
    try:
        text = MOUNTINFO.read_text("utf-8", "surrogateescape") if mounts is None else mounts
    except OSError:
        return ""
    place = path.resolve()
    best, kind = -1, ""
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        point = Path(_OCTAL.sub(lambda found: chr(int(found[1], 8)), fields[4]))
        if place.is_relative_to(point) and len(point.parts) >= best:  # later mounts are on top
            best, kind = len(point.parts), after.split(" ")[0]
    return kind
