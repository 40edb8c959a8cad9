"""``imaged`` with a catalog whose clock is ahead by so many seconds as a file says.

    python -m support.shifted_clock FILE serve --config …

Everything else is as it is, and the file may be written at any time. Only for SQLite: there the
clock is that of the process.
"""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection

from imaged.catalogs import dialects
from imaged.cli import main

now = dialects.now


def run(file: str, *arguments: str) -> None:
    """Run the command."""

    def set_clock(db: Connection) -> datetime:
        return now(db) + timedelta(seconds=float(Path(file).read_text()))

    dialects.now = set_clock
    sys.argv[1:] = arguments
    main()


if __name__ == "__main__":
    run(*sys.argv[1:])
