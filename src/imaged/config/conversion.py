"""``[conversion]``: what qemu-img may use."""

from __future__ import annotations

from imaged.config.sections import Section, setting
from imaged.config.types import Duration, FolderPath, Size


class ConversionSection(Section):
    """How disks are converted: by confined children, in a folder for scratch files."""

    scratch: FolderPath = setting(
        "/var/lib/imaged/scratch",
        "Where images lie while they are converted: needs room for the source and the result of "
        "each conversion that runs. What is left there by a crash is removed.",
    )
    min_free: Size = setting(
        "1GiB",
        "Room that must stay free there, because the catalog is often on the same disk; what would "
        "need it fails.",
    )
    memory: Size = setting("1GiB", "The most memory that one qemu-img may have.")
    cpu_time: Duration = setting("1h", "Processor time that one conversion may take.")
    time: Duration = setting("4h", "How long one conversion may take in all.")
