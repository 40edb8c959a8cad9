"""``[downloads]``: what is made sure of before bytes leave."""

from __future__ import annotations

from imaged.config.sections import Section, setting


class DownloadsSection(Section):
    """Downloads of images."""

    verify: bool = setting(
        default=True,
        reason="Compare each block of 4 MiB with the checksum that was recorded when it was "
        "written, before any of its bytes leave; a wrong one ends the answer and marks the image. "
        "Blobs of earlier versions have no checksums until a `verify` task has read them.",
        reloadable=True,
    )
