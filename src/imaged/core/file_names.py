"""Rules for the names of exported files, relative to their destination.

A name consists of parts separated by "/".
Rule 1: it never leads out of the destination.
Rule 2: it is neither one of the service's names (``.imaged-…``) nor otherwise hidden.
Rule 3: it reads as it is: it has no invisible characters and none that reverse the text.
"""

from __future__ import annotations

import unicodedata

MAX_FILE_NAME_PART_BYTES = 255  # the limit of common filesystems
MAX_FILE_NAME_BYTES = 512
INVISIBLE_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # Unicode's categories


def why_file_name_refused(name: str) -> str:
    """Why a file may not have this name, as the end of a sentence; "" if it may."""
    if any(unicodedata.category(character) in INVISIBLE_CATEGORIES for character in name):
        return "has invisible characters"
    if len(name.encode()) > MAX_FILE_NAME_BYTES:
        return f"is longer than {MAX_FILE_NAME_BYTES} bytes"
    if "\\" in name:
        return 'has a "\\": folders are separated by "/"'
    for part in name.split("/"):
        if why := _why_part_refused(part):
            return why
    return ""


def _why_part_refused(part: str) -> str:
    if not part:
        return 'has an empty part: it must not be absolute, nor end with "/"'
    if part.startswith("."):
        return 'has a part that begins with "."'
    if part != part.strip():
        return "has a part that begins or ends with a space"
    if len(part.encode()) > MAX_FILE_NAME_PART_BYTES:
        return f"has a part that is longer than {MAX_FILE_NAME_PART_BYTES} bytes"
    return ""


def default_file_name(image_id: str, disk_format: str) -> str:
    """The name of a file if the task's input gives none."""
    return f"{image_id}.{disk_format}"
