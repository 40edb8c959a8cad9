"""``[conversion]``: the limits of qemu-img."""

from __future__ import annotations

from imaged.config.sections import Section, setting
from imaged.config.types import Duration, FolderPath, Size


class ConversionSection(Section):
    """Conversion of disks, by child processes in a sandbox."""

    scratch: FolderPath = setting(
        "/var/lib/imaged/scratch",
        "The folder for files of running conversions: needs room for the source and the result of "
        "each. Leftovers of a crash are removed.",
    )
    min_free: Size = setting(
        "1GiB",
        "Space that must stay free there, because the catalog is often on the same disk; a "
        "conversion that would need it fails.",
    )
    memory: Size = setting("1GiB", "The maximum memory of one qemu-img process.")
    cpu_time: Duration = setting("1h", "The maximum processor time of one conversion.")
    time: Duration = setting("4h", "The maximum duration of one conversion.")
