"""Workers that do not work: ``python -m support.fake_worker VERSION``, IMAGED_TEST_ODD says how."""

from __future__ import annotations

import faulthandler
import os
import signal
import struct
import sys
from pathlib import Path


def main() -> None:
    """Be odd."""
    faulthandler.enable()
    how = os.environ["IMAGED_TEST_ODD"]
    with Path(os.environ["IMAGED_TEST_ODD_LOG"]).open("a") as log:
        log.write(f"{how} {' '.join(sys.argv[1:])}\n")
    if how == "reports and dies":
        report = b'{"type":"report"}'
        os.write(0, struct.pack("!I", len(report)) + report)
    if "dies" in how:
        sys.exit(3)
    if how == "babbles":
        os.write(0, b"\0\0\0\3{}}")
    if how == "announces 4 GiB":
        os.write(0, b"\xff\xff\xff\xff")
    while True:  # silent, and deaf
        signal.pause()


if __name__ == "__main__":
    main()
